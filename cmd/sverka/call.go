package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sverka/cdr"
	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
	"sverka/internal/report"
)

// callCommand tells everything known about one call.
type callCommand struct{ *app }

func newCallCommand(a *app) *cobra.Command {
	c := &callCommand{app: a}
	return &cobra.Command{
		Use:   "call ID",
		Short: "Tell everything known about one call",
		Long: `Tells everything known about one call: its rows on the PBX, who rang and talked, how far each part has come into Bitrix24, the portal's
row, the recording. ID is a linkedid, an EXTERNAL_CALL_ID or a CALL_ID of Bitrix24.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
}

func (c *callCommand) run(ctx context.Context, id string) (err error) {
	s, err := c.openSite(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	linkedID, err := c.linkedID(ctx, s, id)
	if err != nil {
		return err
	}
	call, rows, onPBX, err := s.survey.Call(ctx, linkedID)
	if err != nil {
		return err
	}
	held, err := s.ledger.Parts(ctx, s.config.Site, []string{linkedID})
	if err != nil {
		return err
	}
	if !onPBX && len(held) == 0 {
		return fmt.Errorf("call %s: neither the PBX nor the ledger knows it; give a linkedid, an EXTERNAL_CALL_ID or a CALL_ID", id)
	}
	if onPBX {
		c.showCall(call)
		c.showRows(rows)
	} else {
		c.printf("Call %s is not on the PBX (any more); this is what the ledger holds of it.\n", linkedID)
	}
	return c.showParts(ctx, s, call, onPBX, held)
}

// linkedID gives the call that an identifier belongs to.
func (c *callCommand) linkedID(ctx context.Context, s *site, id string) (string, error) {
	held, err := s.ledger.Find(ctx, s.config.Site, id)
	if err != nil {
		return "", err
	}
	if len(held) > 0 {
		return held[0].LinkedID, nil
	}
	external := id
	if strings.HasPrefix(id, "externalCall.") {
		rows, err := s.portal.StatisticsByCallID(ctx, []portal.CallID{portal.CallID(id)})
		if err != nil {
			return "", err
		}
		if len(rows) == 0 || rows[0].ExternalID == "" {
			return "", fmt.Errorf("call %s: the portal has no call of this CALL_ID that came from a PBX", id)
		}
		external = rows[0].ExternalID
	}
	if linkedID, _, ok := cdr.ParseExternalID(external); ok {
		return linkedID, nil
	}
	return external, nil
}

func (c *callCommand) showCall(call cdr.Call) {
	phone := call.Phone
	if phone == "" {
		phone = fmt.Sprintf("%q (no phone number)", call.RawPhone)
	}
	c.printf("Call %s: %s, %s\n", call.LinkedID, call.Direction, call.Status)
	c.printf("  client   %s\n", phone)
	if call.DID != "" || call.Line != "" {
		c.printf("  line     %s (DID %s)\n", orDash(call.Line), orDash(call.DID))
	}
	c.printf("  time     %s to %s %s\n", clock(call.Start), call.End.Format("15:04:05"), call.Start.Format("MST"))
	for _, p := range call.Problems {
		c.printf("  problem  %s\n", p)
	}
	c.printf("\nPhones\n")
	for _, leg := range call.Legs {
		who := leg.Extension
		if who == "" {
			who = leg.Phone
		}
		if leg.Via != "" {
			who += " (forwarded by " + leg.Via + ")"
		}
		line := fmt.Sprintf("  %-22s rang %s", who, moment(leg.RangAt))
		if !leg.AnsweredAt.IsZero() {
			line += fmt.Sprintf(", answered %s, ended %s, talked %s", moment(leg.AnsweredAt), moment(leg.EndedAt), time.Duration(leg.Talk)*time.Second)
		} else {
			line += ", " + strings.ToLower(orDash(leg.Disposition))
		}
		c.printf("%s\n", line)
	}
	if len(call.Legs) == 0 {
		c.printf("  none rang\n")
	}
}

func (c *callCommand) showRows(rows []cdr.Row) {
	c.printf("\nRows of the CDR\n")
	for _, r := range rows {
		c.printf("  %s  %4d s, billed %4d s  %-10s  %s → %s  %s → %s  %s", clock(r.Start), r.Duration, r.BillSec, r.Disposition,
			orDash(r.Src), orDash(r.Dst), orDash(r.Channel), orDash(r.DstChannel), orDash(r.LastApp))
		if r.Recording != "" {
			c.printf("  %s", r.Recording)
		}
		c.printf("\n")
	}
}

// showParts tells what should be in the portal, what is there, and what lies between.
func (c *callCommand) showParts(ctx context.Context, s *site, call cdr.Call, onPBX bool, held []ledger.Part) error {
	byN := make(map[int]ledger.Part, len(held))
	for _, p := range held {
		byN[p.N] = p
	}
	if !onPBX {
		for _, p := range held {
			c.printf("\nPart %d\n", p.N)
			if err := c.showLedger(ctx, s, p); err != nil {
				return err
			}
		}
		return nil
	}
	wants, ignored := s.survey.Policy.Want(call, c.now())
	if ignored != "" {
		c.printf("\nNot sent to Bitrix24: %s.\n", ignored)
		return nil
	}
	ids := make([]string, len(wants))
	for i, w := range wants {
		ids[i] = w.Call.ExternalID
	}
	rows, err := s.portal.StatisticsByExternalID(ctx, ids)
	if err != nil {
		return err
	}
	states := make(map[ledger.Key]reconcile.RecordState)
	var gaps []string
	for _, w := range wants {
		c.printf("\nPart %d: %s\n", w.Key.N, describe(w))
		if w.Unmapped != "" {
			c.printf("  employee   %s\n", w.Unmapped)
		}
		if w.Blocked != "" {
			c.printf("  cannot be delivered: %s\n", w.Blocked)
		}
		attached := c.showPortal(w, rows)
		if w.Record != nil && !attached {
			states[w.Key] = s.staged.State(w)
			c.showRecord(w, states[w.Key])
		}
		part, ok := byN[w.Key.N]
		if !ok {
			c.printf("  ledger     knows nothing of it\n")
			continue
		}
		if err := c.showLedger(ctx, s, part); err != nil {
			return err
		}
	}
	plan := reconcile.Diff(reconcile.Input{Wants: wants, Rows: rows, Ledger: byKey(held), Records: states, Zone: s.config.Timezone})
	for _, gap := range plan.Gaps {
		gaps = append(gaps, fmt.Sprintf("  %s %s: %s", report.Symbol(gap.Kind), gap.Kind, gap.Detail))
	}
	if len(gaps) == 0 {
		c.printf("\nBoth sides agree.\n")
		return nil
	}
	c.printf("\nGaps\n%s\n", strings.Join(gaps, "\n"))
	return errGaps
}

// showPortal tells what the portal has of a part, and whether that is with a recording.
func (c *callCommand) showPortal(want reconcile.Want, rows []portal.Row) (attached bool) {
	found := false
	for _, r := range rows {
		if r.ExternalID != want.Call.ExternalID {
			continue
		}
		found = true
		recording := "no recording"
		if r.RecordFileID != 0 {
			attached = true
			recording = fmt.Sprintf("recording is file %d", r.RecordFileID)
		}
		c.printf("  portal     row %d, %s, user %d, %s, %d s, status %s, %s\n", r.ID, r.CallID, r.UserID, clock(r.Start), r.Duration, r.Status, recording)
	}
	if !found {
		c.printf("  portal     does not have it\n")
	}
	return attached
}

func (c *callCommand) showRecord(want reconcile.Want, state reconcile.RecordState) {
	where := "on the PBX"
	switch {
	case state.There && state.Detail != "":
		where = state.Detail
	case !state.There:
		where = "not there: " + state.Detail
	}
	c.printf("  recording  %s: %s\n", strings.Join(want.Record.Names, ", "), where)
}

func (c *callCommand) showLedger(ctx context.Context, s *site, p ledger.Part) error {
	c.printf("  ledger     %s", p.Step)
	if p.InDoubt() {
		c.printf(", in doubt: a request to %s was sent at %s", p.Intent, moment(p.IntentAt.In(s.config.Timezone)))
	}
	if p.Staged != "" {
		c.printf(", staged as %s", p.Staged)
	}
	c.printf("\n")
	if f := p.Failure; f.Text != "" {
		word := "waiting"
		if f.Dead {
			word = "failed for good"
		}
		c.printf("  %-9s  %s: %s\n", word, f.Class, f.Text)
	}
	history, err := s.ledger.History(ctx, p.Key)
	if err != nil {
		return err
	}
	for _, h := range history {
		c.printf("             %s  %s\n", clock(h.At.In(s.config.Timezone)), h.Text)
	}
	return nil
}

func byKey(parts []ledger.Part) map[ledger.Key]ledger.Part {
	m := make(map[ledger.Key]ledger.Part, len(parts))
	for _, p := range parts {
		m[p.Key] = p
	}
	return m
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Format("15:04:05")
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// retryCommand puts back what failed for good.
type retryCommand struct{ *app }

func newRetryCommand(a *app) *cobra.Command {
	c := &retryCommand{app: a}
	return &cobra.Command{
		Use:   "retry [ID]",
		Short: "Put back what failed for good",
		Long: `Puts back what failed for good, one call or all of them, so that the next backfill tries it again. A call that was delivered and that the
portal does not show any more is delivered anew when it is named.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), strings.Join(args, "")) },
	}
}

func (c *retryCommand) run(ctx context.Context, id string) (err error) {
	config, err := c.readSite()
	if err != nil {
		return err
	}
	l, err := openLedger(ctx, config, c.now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	release, err := l.Lock(ctx, func() { fmt.Fprintln(c.stderr, "Another sverka is delivering from this ledger, waiting for it …") })
	if err != nil {
		return err
	}
	defer release()
	parts, err := l.Dead(ctx, config.Site)
	if id != "" {
		parts, err = l.Find(ctx, config.Site, id)
	}
	if err != nil {
		return err
	}
	if len(parts) == 0 && id != "" {
		return fmt.Errorf("call %s: the ledger does not know it", id)
	}
	changes := make([]ledger.Change, len(parts))
	for i, p := range parts {
		changes[i] = ledger.Change{Part: putBack(p), Note: "put back by hand"}
	}
	if err := l.Save(ctx, changes...); err != nil {
		return err
	}
	c.printf("Put back %s. The next backfill of their dates tries them again.\n", count(len(parts), "part"))
	return nil
}

// putBack gives a part as the next run should find it. Its request's outcome counts as unknown, so that whoever goes on looks into the
// portal first and adopts what is there.
func putBack(p ledger.Part) ledger.Part {
	p.Revive()
	p.Step, p.Intent, p.IntentAt = ledger.Seen, ledger.ToRegister, p.UpdatedAt
	return p
}
