package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"sverka/internal/reconcile"
	"sverka/internal/report"
	"sverka/jobs"
)

// gapsCommand reports the differences between the PBX and the portal.
type gapsCommand struct {
	*app
	from, to   string
	format     string
	output     string
	recordings bool
}

func newGapsCommand(a *app) *cobra.Command {
	c := &gapsCommand{app: a}
	cmd := &cobra.Command{
		Use:   "gaps --from DATE [--to DATE]",
		Short: "Report what differs between the PBX and Bitrix24",
		Long: `Reads both sides of a period, the PBX's CDR and Bitrix24's call statistics, and reports every difference. It changes nothing.

  -  missing         on the PBX, not in Bitrix24
  ~  unfinished      registered, never finished
  +  extra           in Bitrix24 in this PBX's name, and no such call in the CDR
  2  duplicate       more than one call in Bitrix24 for one of the PBX
  *  differs         status, employee, phone, duration or start differ
  r  record_missing  the PBX has the recording, Bitrix24 does not
  ?  record_lost     the CDR names a recording that is nowhere
  u  unmapped        no employee of Bitrix24 has the extension
  !  error           tried and failed for good

` + datesHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.from, "from", "", "first `DATE` of the period")
	f.StringVar(&c.to, "to", "", "end of the period, a `DATE` (default now)")
	f.StringVar(&c.format, "format", "table", "table, json, csv or html")
	f.StringVar(&c.output, "output", "", "write the report to `FILE`")
	f.BoolVar(&c.recordings, "recordings", true, "compare recordings, too")
	return cmd
}

func (c *gapsCommand) run(ctx context.Context) (err error) {
	write, ok := map[string]func(*bytes.Buffer, report.Report) error{
		"table": func(w *bytes.Buffer, r report.Report) error { return report.Table(w, r, c.tableWidth()) },
		"json":  func(w *bytes.Buffer, r report.Report) error { return report.JSON(w, r) },
		"csv":   func(w *bytes.Buffer, r report.Report) error { return report.CSV(w, r) },
		"html":  func(w *bytes.Buffer, r report.Report) error { return report.HTML(w, r) },
	}[c.format]
	if !ok {
		return usagef("--format %s: use table, json, csv or html", c.format)
	}
	s, span, err := c.openPeriod(ctx, c.from, c.to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if c.recordings {
		s.survey.Records = s.staged
	}
	r, err := survey(ctx, s, span)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := write(&text, r); err != nil {
		return err
	}
	if err := c.write(text.Bytes()); err != nil {
		return err
	}
	if len(r.Gaps) > 0 {
		return errGaps
	}
	return nil
}

// survey reads both sides of a period into one report.
func survey(ctx context.Context, s *site, span jobs.Period) (report.Report, error) {
	r := report.Report{Site: s.config.Site, From: span.From, To: span.To}
	err := s.survey.Run(ctx, span, jobs.Filter{}, true, func(plan reconcile.Plan) error {
		r.Add(plan)
		return nil
	})
	return r, err
}

func (c *gapsCommand) tableWidth() int {
	if c.output != "" {
		return 140
	}
	return c.width()
}

// write puts the report where it is wanted; a file appears whole or not at all.
func (c *gapsCommand) write(text []byte) error {
	if c.output == "" {
		_, err := c.stdout.Write(text)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(c.output), ".sverka-gaps-*")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // no effect once it is renamed
	if _, err := f.Write(text); err != nil {
		_ = f.Close()
		return fmt.Errorf("write report: %w", err)
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return fmt.Errorf("write report: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.Rename(f.Name(), c.output); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	fmt.Fprintf(c.stderr, "Report written to %s\n", c.output)
	return nil
}
