package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sverka/internal/emulator"
	"sverka/internal/mariadbtest"
	"sverka/internal/pbxtest"
)

// builtPath is where the program lies that these tests run.
func builtPath() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("sverka-test-%d", os.Getpid()))
}

var build = sync.OnceValue(func() error {
	if out, err := exec.Command("go", "build", "-o", builtPath(), ".").CombinedOutput(); err != nil {
		return fmt.Errorf("build sverka: %w\n%s", err, out)
	}
	return nil
})

// binary builds sverka once for all tests of this process.
func binary(t *testing.T) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return builtPath()
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(builtPath()) // not there when no test needed it
	os.Exit(code)              //nolint:forbidigo // a test's main is a main
}

// rig is a whole site: a real MariaDB full of calls, recordings on disk, a portal over real HTTP, and the real program between them.
type rig struct {
	t      *testing.T
	dir    string
	config string // path of config.yaml
	pbx    *pbxtest.PBX
	db     *sql.DB
	portal *emulator.Portal
	from   string // flags of the period
	to     string
	staged func(part pbxtest.Part) ([]byte, error) // reads the staged recording of a part
}

// rigOptions say what a rig is made of. The zero value has no calls and no limits.
type rigOptions struct {
	calls, recorded int
	cel             bool
	limits          bool // the portal keeps its limits, on a clock that runs 50 times faster
	faults          emulator.Faults
	extra           string // further lines of config.yaml
	bucket          string // further keys of staging, for recordings that are staged in S3
	settle          string // recordings.settle
	keep            bool   // recordings.format: keep, for tests that are not about converting
}

// zone is the zone of the PBX's clock in these tests.
var zone = mustZone("Europe/Moscow")

func mustZone(name string) *time.Location {
	z, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return z
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.staged = r.inDirectory
	monitor := filepath.Join(r.dir, "monitor")
	if err := os.MkdirAll(monitor, 0o750); err != nil {
		t.Fatal(err)
	}
	today := time.Now().In(zone).Truncate(time.Second)
	from, to := today.AddDate(0, 0, -5), today.AddDate(0, 0, -2)
	r.from, r.to = from.Add(-time.Hour).Format(time.RFC3339), to.Add(6*time.Hour).Format(time.RFC3339)
	extensions := make([]string, 30)
	for i := range extensions {
		extensions[i] = fmt.Sprint(201 + i)
	}
	r.pbx = pbxtest.Generate(pbxtest.Options{
		Calls: o.calls, Recorded: o.recorded, Seed: 7, Zone: zone, From: from, To: to, Extensions: extensions, CEL: o.cel, Dir: monitor,
	})
	owner := mariadbtest.Start(t).Database(t)
	var err error
	if r.db, err = sql.Open("mysql", owner); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.db.Close() })
	ctx := context.Background()
	if err := r.pbx.Load(ctx, r.db); err != nil {
		t.Fatal(err)
	}
	if err := r.pbx.WriteRecordings(ctx); err != nil {
		t.Fatal(err)
	}
	r.startPortal(o)
	r.writeConfig(mariadbtest.ReadOnly(owner), monitor, o)
	return r
}

func (r *rig) startPortal(o rigOptions) {
	seed, err := emulator.ReadSeed(bytes.NewReader(r.pbx.SeedJSON()))
	if err != nil {
		r.t.Fatal(err)
	}
	r.portal, err = emulator.New(emulator.Options{
		Seed: seed, Faults: o.faults, FaultSeed: 11, Limits: emulator.Limits{Off: !o.limits}, Speed: 50, Dir: filepath.Join(r.dir, "portal"),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.portal.Close() })
}

func (r *rig) writeConfig(dsn, monitor string, o rigOptions) {
	server := httptest.NewServer(r.portal.Handler())
	r.t.Cleanup(server.Close)
	rate := "{burst: 50, per_second: 100}"
	if !o.limits {
		rate = "{burst: 1000, per_second: 1000}"
	}
	if o.settle == "" {
		o.settle = "1s"
	}
	format := "mp3"
	if o.keep {
		format = "keep"
	}
	r.config = filepath.Join(r.dir, "config.yaml")
	text := fmt.Sprintf(`site: office
timezone: Europe/Moscow
cdr: {dsn: '%s'}
recordings: {dir: '%s', settle: %s, format: %s}
staging: {dir: '%s'%s}
bitrix24: {webhook: '%s/rest/1/demo/', rate: %s}
ledger: {dsn: '%s'}
%s
`, dsn, monitor, o.settle, format, r.staging(), o.bucket, server.URL, rate, r.ledger(), o.extra)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) staging() string { return filepath.Join(r.dir, "staging") }
func (r *rig) ledger() string  { return filepath.Join(r.dir, "ledger.db") }

// result is what one run of the program did.
type result struct {
	code           int
	stdout, stderr string
}

// command gives a run of the program that has not begun.
func (r *rig) command(args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.Command(binary(r.t), append(args, "--config", r.config)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+r.t.TempDir())
	return cmd
}

// run runs the program to its end.
func (r *rig) run(args ...string) result {
	r.t.Helper()
	cmd := r.command(args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return result{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// backfill runs `sverka backfill` for the whole period and reads its JSON.
func (r *rig) backfill(code int, flags ...string) backfillJSON {
	r.t.Helper()
	got := r.run(append([]string{"backfill", "--from", r.from, "--to", r.to, "--yes", "--json"}, flags...)...)
	if got.code != code {
		r.t.Fatalf("backfill: exit code %d, want %d\n%s\n%s", got.code, code, got.stdout, got.stderr)
	}
	var out backfillJSON
	if err := json.Unmarshal([]byte(got.stdout), &out); err != nil {
		r.t.Fatalf("backfill --json: %v\n%s", err, got.stdout)
	}
	return out
}

// gapsJSON is the answer of `sverka gaps --format json`, as product.md fixes it.
type gapsJSON struct {
	Site        string         `json:"site"`
	PBXCalls    int            `json:"pbx_calls"`
	Parts       int            `json:"parts"`
	PortalCalls int            `json:"portal_calls"`
	InSync      int            `json:"in_sync"`
	Ignored     int            `json:"ignored"`
	Gaps        []gapJSON      `json:"gaps"`
	ByKind      map[string]int `json:"by_kind"`
}

type gapJSON struct {
	Kind       string `json:"kind"`
	LinkedID   string `json:"linkedid"`
	ExternalID string `json:"external_id"`
	CallID     string `json:"call_id"`
	Phone      string `json:"phone"`
	Employee   string `json:"employee"`
	Detail     string `json:"detail"`
	Fixable    bool   `json:"fixable"`
}

func (r *rig) gaps(code int) gapsJSON {
	r.t.Helper()
	got := r.run("gaps", "--from", r.from, "--to", r.to, "--format", "json")
	if got.code != code {
		r.t.Fatalf("gaps: exit code %d, want %d\n%s\n%s", got.code, code, got.stdout, got.stderr)
	}
	var out gapsJSON
	if err := json.Unmarshal([]byte(got.stdout), &out); err != nil {
		r.t.Fatalf("gaps --format json: %v\n%s", err, got.stdout)
	}
	return out
}

// check holds the portal against the truth of the PBX: each part once, as it was, and each recording byte for byte as it was staged.
func (r *rig) check() {
	r.t.Helper()
	rows := make(map[string][]emulator.Call)
	for _, c := range r.portal.Calls() {
		rows[c.ExternalID] = append(rows[c.ExternalID], c)
	}
	parts := r.pbx.Parts()
	bad, recorded := 0, 0
	for _, part := range parts {
		if problem := r.checkPart(part, rows[part.ExternalID]); problem != "" {
			if bad++; bad <= 20 {
				r.t.Errorf("part %s: %s", part.ExternalID, problem)
			}
		}
		if part.Recorded {
			recorded++
		}
	}
	if bad > 20 {
		r.t.Errorf("… %d parts are wrong", bad)
	}
	if len(rows) != len(parts) {
		r.t.Errorf("%d different calls in the portal, want %d", len(rows), len(parts))
	}
	current := 0
	for _, rec := range r.portal.Records() {
		if rec.Current {
			current++
		}
	}
	if current != recorded {
		r.t.Errorf("%d recordings in the portal, want %d", current, recorded)
	}
}

func (r *rig) checkPart(part pbxtest.Part, rows []emulator.Call) string {
	if len(rows) != 1 {
		return fmt.Sprintf("%d calls in the portal, want 1", len(rows))
	}
	row := rows[0]
	user := 1
	if part.Extension != "" {
		user = r.pbx.UserID(part.Extension)
	}
	slack := 0
	if part.Talk > 0 {
		slack = 1
	}
	switch {
	case row.Type != part.Type, row.Status != part.Status, row.UserID != user, row.Phone != part.Phone:
		return fmt.Sprintf("got type %d, status %s, user %d, phone %s; want %d, %s, %d, %s",
			row.Type, row.Status, row.UserID, row.Phone, part.Type, part.Status, user, part.Phone)
	case abs(row.Duration-part.Talk) > slack:
		return fmt.Sprintf("talked %d s, want %d", row.Duration, part.Talk)
	case row.Start.Sub(part.Start).Abs() > time.Second:
		return fmt.Sprintf("began %s, want %s", row.Start, part.Start)
	case (row.RecordFileID != 0) != part.Recorded:
		return fmt.Sprintf("recording %d in the portal, want one: %t", row.RecordFileID, part.Recorded)
	}
	if !part.Recorded {
		return ""
	}
	return r.checkRecord(part, row)
}

// checkRecord compares the portal's file with the staged one.
func (r *rig) checkRecord(part pbxtest.Part, row emulator.Call) string {
	rec, err := r.portal.Record(row.RecordFileID)
	if err != nil {
		return err.Error()
	}
	got, err := os.ReadFile(rec.Path)
	if err != nil {
		return err.Error()
	}
	want, err := r.staged(part)
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(got, want) {
		return fmt.Sprintf("the portal's file of %d bytes is not the staged one of %d", len(got), len(want))
	}
	return ""
}

// inDirectory reads a recording that is staged in a directory.
func (r *rig) inDirectory(part pbxtest.Part) ([]byte, error) {
	pattern := filepath.Join(r.staging(), "office", "*", part.LinkedID, fmt.Sprintf("%d.*", part.N))
	staged, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(staged) != 1 {
		return nil, fmt.Errorf("%d staged objects at %s, want 1", len(staged), pattern)
	}
	return os.ReadFile(staged[0])
}

func abs(n int) int { return max(n, -n) }

// wantWords fails unless a text holds all words.
func wantWords(t *testing.T, what, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
}
