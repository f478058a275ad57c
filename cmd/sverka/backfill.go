package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sverka/internal/reconcile"
	"sverka/jobs"
)

// backfillCommand delivers what the portal lacks of a period.
type backfillCommand struct {
	*app
	from, to       string
	dryRun         bool
	yes            bool
	json           bool
	noRecordings   bool
	onlyRecordings bool
	createCRM      bool
	extension      string
	phone          string
	limit          int
}

func newBackfillCommand(a *app) *cobra.Command {
	c := &backfillCommand{app: a}
	cmd := &cobra.Command{
		Use:   "backfill --from DATE [--to DATE]",
		Short: "Deliver the calls and recordings of a period that Bitrix24 lacks",
		Long: `Plans what Bitrix24 lacks of a period, shows the plan, asks, and delivers it. Nothing is sent twice: what is in the portal already is left
alone, whoever put it there. Ctrl-C is safe; the same command goes on where it was.

` + datesHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "", "first `DATE` of the period")
	f.StringVar(&c.to, "to", "", "end of the period, a `DATE` (default now)")
	f.BoolVar(&c.dryRun, "dry-run", false, "print the plan, change nothing")
	f.BoolVar(&c.yes, "yes", false, "do not ask; needed when stdin is no terminal")
	f.BoolVar(&c.json, "json", false, "print one JSON object")
	f.BoolVar(&c.noRecordings, "no-recordings", false, "deliver calls without their recordings")
	f.BoolVar(&c.onlyRecordings, "recordings-only", false, "bring recordings of calls that are in Bitrix24, deliver no calls")
	f.BoolVar(&c.createCRM, "create-crm", false, "let the portal make leads, contacts and deals for calls older than crm.create_max_age, too")
	f.StringVar(&c.extension, "extension", "", "only calls that extension `E` took part in")
	f.StringVar(&c.phone, "phone", "", "only calls with the outside number `P`")
	f.IntVar(&c.limit, "limit", 0, "deliver at most `N` calls")
	return cmd
}

// check refuses flags that contradict each other before anything is opened.
func (c *backfillCommand) check() error {
	switch {
	case c.noRecordings && c.onlyRecordings:
		return usagef("--no-recordings and --recordings-only leave nothing to do")
	case c.limit < 0:
		return usagef("--limit %d: give a number of calls", c.limit)
	case !c.yes && !c.dryRun && !c.terminal(c.stdin):
		return usagef("stdin is no terminal, so nobody can be asked: add --yes to deliver, or --dry-run to see the plan")
	}
	return nil
}

func (c *backfillCommand) run(ctx context.Context) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	s, span, err := c.openPeriod(ctx, c.from, c.to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	filter := jobs.Filter{Extension: c.extension, Phone: c.phone}
	if number := s.phones.E164(c.phone); number != "" {
		filter.Phone = number
	}
	scope := jobs.Scope{Calls: !c.onlyRecordings, Recordings: !c.noRecordings, Limit: c.limit}
	if scope.Recordings {
		s.survey.Records = s.staged
	}
	s.survey.Policy.CreateWhateverAge = c.createCRM
	return c.backfill(ctx, s, span, filter, scope)
}

func (c *backfillCommand) backfill(ctx context.Context, s *site, span jobs.Period, filter jobs.Filter, scope jobs.Scope) error {
	b := s.backfill(c.app)
	if !c.json {
		c.printf("Comparing %s with Bitrix24, %s to %s\n", s.config.Site, clock(span.From), clock(span.To))
	}
	var preview func(reconcile.Change)
	if c.dryRun && !c.json {
		preview = c.preview
	}
	plan, err := b.Plan(ctx, span, filter, scope, preview)
	if err != nil {
		return err
	}
	if !c.json {
		c.showPlan(plan)
	}
	if c.dryRun {
		return c.conclude(span, plan, plan.Planned > 0 || plan.Recordings.Planned > 0)
	}
	if plan.Planned > 0 || plan.Recordings.Planned > 0 {
		if ok, err := c.confirm(plan); err != nil || !ok {
			return err
		}
	}
	release, err := s.ledger.Lock(ctx, func() { fmt.Fprintln(c.stderr, "Another sverka is delivering from this ledger, waiting for it …") })
	if err != nil {
		return err
	}
	defer release()
	if err := jobs.Lines(ctx, s.portal, s.config.lines(), s.log); err != nil {
		return err
	}
	bar := newProgress(c.stderr, c.terminal(c.stderr), plan.Planned, plan.Recordings.Planned, c.now)
	counts, err := b.Apply(ctx, span, filter, scope, bar)
	bar.done()
	if err != nil {
		if c.json {
			return errors.Join(err, writeBackfillJSON(c.stdout, span, counts))
		}
		c.printf("Stopped: %s delivered, %s attached. Nothing is lost: the same command goes on from here.\n",
			count(counts.Delivered, "call"), count(counts.Recordings.Attached, "recording"))
		return err
	}
	if !c.json {
		c.showCounts(counts)
	}
	return c.conclude(span, counts, false)
}

// conclude prints the JSON, where it is wanted, and gives the error that the exit code is made of.
func (c *backfillCommand) conclude(span jobs.Period, counts jobs.Counts, pending bool) error {
	if c.json {
		if err := writeBackfillJSON(c.stdout, span, counts); err != nil {
			return err
		}
	}
	if pending || counts.Missing() {
		return errGaps
	}
	return nil
}

func (c *backfillCommand) preview(change reconcile.Change) {
	want := change.Want
	what := describe(want)
	if want.Record != nil && change.Verb == reconcile.Deliver && !c.noRecordings {
		what += ", with recording"
	}
	c.printf("  %-16s %s  %-14s %-30s %s\n", change.Verb, clock(want.Call.Start), want.Call.Phone, what, want.Key.LinkedID)
}

func (c *backfillCommand) showPlan(plan jobs.Counts) {
	c.printf("PBX: %s, %s in Bitrix24 (%s not sent)\n", count(plan.Calls, "call"), belong(plan.Parts), count(plan.Ignored, "call"))
	line := func(what string, calls, recordings int) {
		c.printf("  %-15s %9s %12s\n", what, number(calls), number(recordings))
	}
	c.printf("  %-15s %9s %12s\n", "", "calls", "recordings")
	line("there already", plan.Already, plan.Recordings.Already)
	line("to deliver", plan.Planned, plan.Recordings.Planned)
	if plan.Missing() {
		line("cannot be sent", plan.Failed, plan.Recordings.Failed)
	}
}

func (c *backfillCommand) showCounts(counts jobs.Counts) {
	const most = 20
	c.printf("Delivered %s and %s.", count(counts.Delivered, "call"), count(counts.Recordings.Attached, "recording"))
	if !counts.Missing() {
		c.printf(" Nothing is missing.\n")
		return
	}
	c.printf(" Not in Bitrix24: %s, %s.\n", count(counts.Failed, "call"), count(counts.Recordings.Failed, "recording"))
	for i, p := range counts.Problems {
		if i == most {
			c.printf("  … and %s more; see: sverka gaps --from %s\n", number(len(counts.Problems)-most), c.from)
			break
		}
		c.printf("  %s  %s: %s\n", p.LinkedID, p.Class, p.Message)
	}
}

// confirm asks on the terminal whether to go on.
func (c *backfillCommand) confirm(plan jobs.Counts) (bool, error) {
	if c.yes {
		return true, nil
	}
	fmt.Fprintf(c.stderr, "Deliver %s and %s? [y/N] ", count(plan.Planned, "call"), count(plan.Recordings.Planned, "recording"))
	line, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes", "д", "да":
		return true, nil
	}
	c.printf("Nothing was delivered.\n")
	return false, errGaps
}

// backfillJSON is the answer of backfill --json. Its names are fixed.
type backfillJSON struct {
	From       time.Time      `json:"from"`
	To         time.Time      `json:"to"`
	Calls      int            `json:"calls"`
	Parts      int            `json:"parts"`
	Planned    int            `json:"planned"`
	Delivered  int            `json:"delivered"`
	Already    int            `json:"already"`
	Ignored    int            `json:"ignored"`
	Failed     int            `json:"failed"`
	Recordings recordingsJSON `json:"recordings"`
	Errors     []jobs.Problem `json:"errors"`
}

type recordingsJSON struct {
	Planned  int `json:"planned"`
	Attached int `json:"attached"`
	Already  int `json:"already"`
	Failed   int `json:"failed"`
}

func writeBackfillJSON(w io.Writer, span jobs.Period, counts jobs.Counts) error {
	out := backfillJSON{
		From: span.From.Truncate(time.Second), To: span.To.Truncate(time.Second),
		Calls: counts.Calls, Parts: counts.Parts, Planned: counts.Planned, Delivered: counts.Delivered, Already: counts.Already,
		Ignored: counts.Ignored, Failed: counts.Failed, Recordings: recordingsJSON(counts.Recordings), Errors: counts.Problems,
	}
	if out.Errors == nil {
		out.Errors = []jobs.Problem{}
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
