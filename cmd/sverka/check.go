package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sverka/cdr/cdrdb"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/uploader"
)

// checkError says that a part does not work; what it is has been told on stdout. Its code is one of the exit codes.
type checkError struct {
	code   int
	failed int
}

func (e checkError) Error() string {
	if e.failed == 1 {
		return "one part needs mending"
	}
	return fmt.Sprintf("%d parts need mending", e.failed)
}

func newCheckCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and reach each part that it names",
		Long: `Check reads the configuration and tries each part that it names: the CDR database, the recordings, ffmpeg, the staging area, the ledger
and the portal with the rights that Sverka needs there. Each part is one line, ✓ or ✗ with what is wrong and how to mend it. Nothing is
changed in the portal and on the PBX.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return (&check{app: a}).run(cmd.Context()) },
	}
}

// check tries one part after the other. A part that cannot be tried because of another one is left out: its line would tell nothing new.
type check struct {
	app    *app
	failed int
	code   int
}

func (k *check) run(ctx context.Context) error {
	c, err := k.app.readSite()
	if err != nil {
		k.tell("configuration", "", "", err, exitUsage)
		return checkError{exitUsage, k.failed}
	}
	k.tell("configuration", fmt.Sprintf("site %s, time zone %s", c.Site, c.Timezone), "", nil, 0)
	k.database(ctx, c)
	k.recordings(c)
	k.converter(c)
	k.staging(ctx, c)
	if l := k.ledger(ctx, c); l != nil {
		k.portal(ctx, c, l)
		if err := l.Close(); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if k.failed > 0 {
		return checkError{k.code, k.failed}
	}
	return nil
}

// tell writes the line of one part. mend is what to do about err, when the error does not say so itself; code is the exit code that it means.
func (k *check) tell(part, good, mend string, err error, code int) {
	sign, text := "✓", good
	if err != nil {
		sign, text = "✗", err.Error()
		if mend != "" {
			text += "; " + mend
		}
		k.failed++
		if k.code == 0 || code == exitUnreachable {
			k.code = code
		}
	}
	// One line for each part, whatever others have written into their errors.
	k.app.printf("%s %-14s %s\n", sign, part, strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; "))
}

func (k *check) database(ctx context.Context, c *Config) {
	const part = "CDR database"
	db, err := cdrdb.Open(ctx, cdrdb.Config{
		Driver: c.CDR.Driver, Schema: c.CDR.Schema, DSN: c.CDR.DSN.Reveal(), Table: c.CDR.Table, CEL: c.CDR.CEL, Zone: c.Timezone,
	})
	if err != nil {
		k.tell(part, "", "", err, exitUnreachable)
		return
	}
	err = errors.Join(db.Ping(ctx), db.Close())
	k.tell(part, db.Describe(), "", err, exitUnreachable)
}

func (k *check) recordings(c *Config) {
	const mend = "set recordings.dir to the folder that the PBX records into, and let sverka's user read it"
	d, err := os.Open(c.Recordings.Dir)
	if err != nil {
		k.tell("recordings", "", mend, err, exitError)
		return
	}
	defer d.Close()
	if _, err = d.Readdirnames(1); errors.Is(err, io.EOF) {
		k.tell("recordings", c.Recordings.Dir+", empty so far", "", nil, 0)
		return
	}
	k.tell("recordings", c.Recordings.Dir, mend, err, exitError)
}

func (k *check) converter(c *Config) {
	if c.Recordings.Format == uploader.FormatKeep {
		k.tell("ffmpeg", "not needed: recordings.format is keep", "", nil, 0)
		return
	}
	path, err := exec.LookPath("ffmpeg")
	k.tell("ffmpeg", path, "install it (apt-get install ffmpeg), or set recordings.format to keep; without it wav and mp3 go as they are", err, exitError)
}

// staging writes, reads and deletes a probe.
func (k *check) staging(ctx context.Context, c *Config) {
	where := c.Staging.Dir
	if c.Staging.Driver == "s3" {
		where = c.Staging.Endpoint + "/" + c.Staging.Bucket
	}
	mend := "see staging in the configuration: sverka's user must be able to write, read and delete there"
	store, closeStore, err := openStaging(c, k.app.now)
	if err != nil {
		k.tell("staging", "", mend, err, exitError)
		return
	}
	k.tell("staging", c.Staging.Driver+" "+where, mend, errors.Join(probe(ctx, store, uploader.Prefix(c.Site)+"check/probe"), closeStore()), exitError)
}

func probe(ctx context.Context, store uploader.Store, name string) error {
	const content = "sverka check"
	if _, err := store.Put(ctx, name, strings.NewReader(content)); err != nil {
		return fmt.Errorf("write a probe: %w", err)
	}
	r, _, err := store.Open(ctx, name)
	if err != nil {
		return fmt.Errorf("read the probe: %w", err)
	}
	got, err := io.ReadAll(r)
	switch err = errors.Join(err, r.Close()); {
	case err != nil:
		return fmt.Errorf("read the probe: %w", err)
	case string(got) != content:
		return errors.New("the probe came back changed")
	}
	if err := store.Delete(ctx, name); err != nil {
		return fmt.Errorf("delete the probe: %w", err)
	}
	return nil
}

// ledger gives the open ledger, nil when it cannot be opened. Without it the portal cannot be asked: the tokens of the app are in it.
func (k *check) ledger(ctx context.Context, c *Config) *sqlite.Ledger {
	l, err := openLedger(ctx, c, k.app.now)
	if err != nil {
		k.tell("ledger", "", "", err, exitError)
		return nil
	}
	where := c.Ledger.Driver
	if where == "sqlite" {
		where += " " + c.Ledger.DSN.Reveal() // a path, with no password in it
	}
	k.tell("ledger", where, "", nil, 0)
	return l
}

// portal asks for everything that Sverka will need, each question for one right.
func (k *check) portal(ctx context.Context, c *Config, l *sqlite.Ledger) {
	const part = "portal"
	client, err := openPortal(c, l, k.app.log())
	if err != nil {
		k.tell(part, "", "", err, exitUsage)
		return
	}
	me, admin, err := client.Profile(ctx)
	if err != nil {
		k.tell(part, "", "", err, exitUnreachable)
		return
	}
	through := "webhook"
	if client.ThroughApp() {
		through = "local app"
	}
	k.tell(part, fmt.Sprintf("%s through the %s of %s (user %d)", client.Host(), through, me.Name, me.ID), "", nil, 0)
	if c.Bitrix24.App.ClientID != "" && through == "webhook" {
		k.tell("local app", "", "save it again in Bitrix24 while sverka serve runs; until then the webhook is used",
			errors.New("it is not installed: the ledger has no tokens of it"), exitError)
	}
	err = nil
	if !admin {
		err = fmt.Errorf("%s (user %d) is no administrator: calls of others may be hidden, and would look missing", me.Name, me.ID)
	}
	k.tell("administrator", me.Name, "let an administrator make the "+through, err, exitError)
	k.scopes(ctx, client, through)
	k.clock(ctx, client)
	k.rights(ctx, client)
}

// scopes that Sverka needs. Each of the names of one need is enough.
var scopes = [][]string{{"telephony"}, {"crm"}, {"user", "user_basic", "user_brief"}}

func (k *check) scopes(ctx context.Context, client *bitrix24.Client, through string) {
	got, err := client.Scope(ctx)
	if err != nil {
		k.tell("scopes", "", "", err, codeOf(err))
		return
	}
	var lacks []string
	for _, names := range scopes {
		if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(got, name) }) {
			lacks = append(lacks, names[0])
		}
	}
	if len(lacks) > 0 {
		err = fmt.Errorf("the %s lacks the scope %s", through, strings.Join(lacks, ", "))
	}
	slices.Sort(got)
	k.tell("scopes", strings.Join(got, ", "), "edit the "+through+" in Bitrix24 and tick them", err, exitError)
}

// clock compares the clocks: the portal drops what seems to come from another day, and tokens end by it.
func (k *check) clock(ctx context.Context, client *bitrix24.Client) {
	const most = 2 * time.Minute
	there, err := client.ServerTime(ctx)
	if err != nil {
		k.tell("clock", "", "", err, codeOf(err))
		return
	}
	if off := k.app.now().Sub(there); off.Abs() > most {
		err = fmt.Errorf("this machine and the portal differ by %s", off.Round(time.Second))
	}
	k.tell("clock", "that of the portal", "switch time synchronisation on (timedatectl set-ntp true)", err, exitError)
}

// rights asks one harmless question for each right.
func (k *check) rights(ctx context.Context, client *bitrix24.Client) {
	_, err := client.StatisticsByExternalID(ctx, []string{"sverka check"})
	k.tell("statistics", "can be read", "", err, codeOf(err))
	employees, err := client.Employees(ctx)
	inner := 0
	for _, e := range employees {
		if e.Inner != "" && e.Active {
			inner++
		}
	}
	k.tell("employees", fmt.Sprintf("%d, %d of them with an inner number", len(employees), inner), "", err, codeOf(err))
	lines, err := client.Lines(ctx)
	k.tell("lines", fmt.Sprintf("calls and external lines can be registered; %d lines of ours", len(lines)), "", err, codeOf(err))
}

// codeOf gives the exit code for a question that the portal did not answer as it should.
func codeOf(err error) int {
	switch portal.ClassOf(err) {
	case portal.Unreachable, portal.Unknown, portal.RateLimited, portal.OperatingTime:
		return exitUnreachable
	}
	return exitError
}
