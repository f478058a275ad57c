package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sverka/cdr"
	"sverka/internal/ledger"
	"sverka/internal/portal"
)

// Tolerance is how far start and duration of both sides may lie apart: CDR and statistics count whole seconds, and each rounds its own way.
const Tolerance = 2 * time.Second

// RecordState is what is known of a recording on the PBX's side.
type RecordState struct {
	There  bool   // on the PBX's disk or staged
	Wait   bool   // not there yet, or not finished, and it may still come
	Detail string // in words
}

// Input is both sides of a period, and what explains them.
type Input struct {
	Wants   []Want
	Rows    []portal.Row // statistics rows that carry an EXTERNAL_CALL_ID of ours or a CALL_ID of the ledger
	Ledger  map[ledger.Key]ledger.Part
	Records map[ledger.Key]RecordState // for wanted recordings that the portal lacks; nil: recordings are not compared
	// Known tells how many parts a call of the CDR has, by linkedid; 0 when the CDR has no such call. A linkedid that it does not hold is
	// another PBX's, whose calls stand in the same portal.
	Known map[string]int
	// From and To bound the period in which a row without a call counts as extra.
	From, To time.Time
	Zone     *time.Location
}

// Diff compares both sides.
func Diff(in Input) Plan {
	d := differ{Input: in, matched: make(map[int64]bool), compareRecords: in.Records != nil}
	d.plan.Parts = len(in.Wants)
	byExternal := make(map[string][]portal.Row)
	byCall := make(map[portal.CallID]portal.Row)
	for _, row := range in.Rows {
		if row.ExternalID != "" {
			byExternal[row.ExternalID] = append(byExternal[row.ExternalID], row)
		}
		byCall[row.CallID] = row
	}
	for _, want := range in.Wants {
		rows := slices.Clone(byExternal[want.Call.ExternalID])
		part := in.Ledger[want.Key]
		if row, ok := byCall[part.CallID]; ok && part.CallID != "" && row.ExternalID != want.Call.ExternalID {
			rows = append(rows, row)
		}
		slices.SortFunc(rows, func(a, b portal.Row) int { return cmp.Compare(a.ID, b.ID) })
		d.part(want, part, rows)
	}
	d.extras()
	slices.SortStableFunc(d.plan.Gaps, func(a, b Gap) int { return a.Start.Compare(b.Start) })
	return d.plan
}

type differ struct {
	Input
	plan           Plan
	matched        map[int64]bool
	compareRecords bool
}

// part compares one part with the portal's rows for it.
func (d *differ) part(want Want, part ledger.Part, rows []portal.Row) {
	before := len(d.plan.Gaps)
	for _, row := range rows {
		d.matched[row.ID] = true
	}
	if len(rows) == 0 {
		d.absent(want, part)
	} else {
		d.present(want, part, rows)
	}
	if want.Unmapped != "" && want.BlockKind != KindUnmapped {
		d.gap(want, KindUnmapped, want.Unmapped, false)
	}
	if len(d.plan.Gaps) == before {
		d.plan.InSync++
	}
}

// absent plans for a part that the portal does not have.
func (d *differ) absent(want Want, part ledger.Part) {
	switch {
	case want.Blocked != "":
		d.stuck(want, part, want.BlockKind, want.Blocked, false)
	case part.Failure.Dead:
		d.stuck(want, part, KindError, fmt.Sprintf("%s (%s, tried %s); mend it, then run: sverka retry %s", part.Failure.Text, part.Failure.Class,
			times(part.Failure.Attempts), want.Key.LinkedID), true)
	case part.Step >= ledger.Finished:
		// Sending it again could double a call that the webhook's user merely may not see.
		d.stuck(want, part, KindMissing, fmt.Sprintf("delivered before as %s (row %d), and the portal does not show it any more: "+
			"check that the webhook's user may see the calls of all employees; if the call was deleted, run: sverka retry %s",
			part.CallID, part.StatID, want.Key.LinkedID), false)
	case part.Step == ledger.Registered:
		d.gapRow(want, part.CallID, KindUnfinished, "registered as "+string(part.CallID)+", never finished"+d.lastError(part), true)
		d.change(Deliver, want, part, nil, "registered, never finished")
	case part.InDoubt():
		d.gap(want, KindMissing, "a request was sent and its answer was lost"+d.lastError(part), true)
		d.change(Deliver, want, part, nil, "outcome of an earlier request is unknown")
	default:
		d.gap(want, KindMissing, "not in Bitrix24"+d.lastError(part), true)
		d.change(Deliver, want, part, nil, "not in Bitrix24")
	}
}

// present compares a part with the portal's call, or calls.
func (d *differ) present(want Want, part ledger.Part, rows []portal.Row) {
	d.plan.Already++
	row := rows[0]
	if len(rows) > 1 {
		ids := make([]string, len(rows))
		for i, r := range rows {
			ids[i] = fmt.Sprintf("%s (row %d)", r.CallID, r.ID)
			if r.RecordFileID != 0 && row.RecordFileID == 0 {
				row = r
			}
		}
		d.gapRow(want, row.CallID, KindDuplicate, fmt.Sprintf("PBX 1 call, portal %d: %s", len(rows), strings.Join(ids, ", ")), false)
	} else if detail := d.differences(want, row); detail != "" {
		d.gapRow(want, row.CallID, KindDiffers, detail, false)
	}
	switch {
	case want.Record != nil && row.RecordFileID == 0 && d.compareRecords:
		d.record(want, part, row)
	case part.Step == 0 || part.Step < ledger.Finished || part.InDoubt():
		d.change(Adopt, want, part, &row, "found in the portal")
	case part.Step < ledger.Verified && (want.Record == nil || row.RecordFileID != 0):
		d.change(Settle, want, part, &row, "both sides agree")
	}
	if want.Record != nil && row.RecordFileID != 0 {
		d.plan.Recorded++
	}
}

// record plans for a recording that the portal lacks.
func (d *differ) record(want Want, part ledger.Part, row portal.Row) {
	state := d.Records[want.Key]
	names := strings.Join(want.Record.Names, ", ")
	detail := "PBX " + names + ", portal none"
	if state.Detail != "" {
		detail += ": " + state.Detail
	}
	if part.Failure.Text != state.Detail {
		detail += d.lastError(part)
	}
	kind := KindRecordLost
	if state.There {
		kind = KindRecordMissing
	}
	d.gapRow(want, row.CallID, kind, detail, state.There)
	if !state.There && !state.Wait {
		d.plan.Lost = append(d.plan.Lost, d.plan.Gaps[len(d.plan.Gaps)-1])
		return
	}
	d.change(Attach, want, part, &row, "the recording is not in Bitrix24")
}

// differences tells in words what differs between a part and the portal's call; "" when they agree.
func (d *differ) differences(want Want, row portal.Row) string {
	var out []string
	if want.Call.Status != row.Status {
		out = append(out, fmt.Sprintf("status: PBX %s, portal %s", want.Call.Status, row.Status))
	}
	if want.Call.UserID != row.UserID && want.Call.UserID != 0 {
		pbx := fmt.Sprintf("user %d", want.Call.UserID)
		if want.Extension != "" {
			pbx = fmt.Sprintf("%s (user %d)", want.Extension, want.Call.UserID)
		}
		out = append(out, fmt.Sprintf("employee: PBX %s, portal user %d", pbx, row.UserID))
	}
	if digits(want.Call.Phone) != digits(row.Phone) {
		out = append(out, fmt.Sprintf("phone: PBX %s, portal %s", want.Call.Phone, row.Phone))
	}
	if diff := want.Call.Duration - row.Duration; diff > 2 || diff < -2 {
		out = append(out, fmt.Sprintf("duration: PBX %d s, portal %d s", want.Call.Duration, row.Duration))
	}
	if diff := want.Call.Start.Sub(row.Start).Abs(); diff > Tolerance {
		out = append(out, fmt.Sprintf("start: PBX %s, portal %s", d.clock(want.Call.Start), d.clock(row.Start)))
	}
	return strings.Join(out, "; ")
}

// extras finds the portal's calls that carry this PBX's ids and that the PBX does not have.
func (d *differ) extras() {
	for _, row := range d.Rows {
		linkedID, n, ok := cdr.ParseExternalID(row.ExternalID)
		if !ok || row.Start.Before(d.From) || !row.Start.Before(d.To) {
			continue
		}
		known, ours := d.Known[linkedID]
		if !ours {
			continue
		}
		d.plan.PortalCalls++
		if d.matched[row.ID] {
			continue
		}
		if known >= n {
			continue // a call of the CDR that is not sent, or that began outside the period
		}
		detail := "PBX no such call, portal " + string(row.CallID)
		if known > 0 {
			detail = fmt.Sprintf("PBX %d part(s), portal has part %d as %s", known, n, row.CallID)
		}
		d.plan.Gaps = append(d.plan.Gaps, Gap{
			Kind: KindExtra, LinkedID: linkedID, ExternalID: row.ExternalID, CallID: row.CallID, Phone: row.Phone,
			Start: row.Start, Employee: "user " + strconv.Itoa(row.UserID), Detail: detail,
		})
	}
}

// stuck tells of a part that no change brings into the portal.
func (d *differ) stuck(want Want, part ledger.Part, kind Kind, detail string, fixable bool) {
	d.gapRow(want, part.CallID, kind, detail, fixable)
	d.plan.Stuck = append(d.plan.Stuck, d.plan.Gaps[len(d.plan.Gaps)-1])
}

func (d *differ) gap(want Want, kind Kind, detail string, fixable bool) {
	d.gapRow(want, "", kind, detail, fixable)
}

func (d *differ) gapRow(want Want, callID portal.CallID, kind Kind, detail string, fixable bool) {
	employee := want.Extension
	if employee == "" && want.Call.UserID != 0 {
		employee = "user " + strconv.Itoa(want.Call.UserID)
	}
	d.plan.Gaps = append(d.plan.Gaps, Gap{
		Kind: kind, LinkedID: want.Key.LinkedID, ExternalID: want.Call.ExternalID, CallID: callID, Phone: want.Call.Phone,
		Start: want.Call.Start, Employee: employee, Detail: detail, Fixable: fixable,
	})
}

func (d *differ) change(verb Verb, want Want, part ledger.Part, row *portal.Row, reason string) {
	d.plan.Changes = append(d.plan.Changes, Change{Verb: verb, Want: want, Row: row, Part: part, Record: d.Records[want.Key], Reason: reason})
}

func (d *differ) clock(t time.Time) string {
	if d.Zone != nil {
		t = t.In(d.Zone)
	}
	return t.Format("2006-01-02 15:04:05")
}

func (d *differ) lastError(part ledger.Part) string {
	if part.Failure.Text == "" {
		return ""
	}
	s := fmt.Sprintf("; tried %s, last: %s", times(part.Failure.Attempts), part.Failure.Text)
	if !part.Failure.Next.IsZero() {
		s += ", next try " + d.clock(part.Failure.Next)
	}
	return s
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}
