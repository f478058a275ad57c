package cdr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRow bounds the length of one row. A longer one is a broken counter, not a call.
const maxRow = 30 * 24 * time.Hour

// hop is a row read: who is at its ends, and when what happened.
type hop struct {
	row      *Row
	a, b     party
	start    time.Time
	answer   time.Time // zero: not answered
	end      time.Time
	answered bool // by whatever is at the far end
}

func (h *hop) span() span { return span{h.start, h.end} }

// recording gives the name of the recording that the row names, "" if none.
func (h *hop) recording() string {
	switch h.row.Recording {
	case "-", "none":
		return ""
	}
	return h.row.Recording
}

func (h *hop) answeredAs(disposition string) bool {
	return strings.EqualFold(h.row.Disposition, disposition)
}

// leavesMessage reports whether the row is a caller's visit to a voicemail box.
func (h *hop) leavesMessage() bool {
	if !h.answered {
		return false
	}
	return strings.EqualFold(h.row.LastApp, "VoiceMail") || strings.EqualFold(h.row.LastApp, "MinivmRecord") ||
		strings.EqualFold(h.b.channel, "VOICEMAIL")
}

func (h *hop) conference() bool {
	return conference(h.row.LastApp) || strings.HasPrefix(h.b.channel, "MeetMe:")
}

// isMiko reports whether rows have the shape of MikoPBX: one row for each contact that rang, with accounts, and no Local halves.
func isMiko(rows []Row) bool {
	return slices.ContainsFunc(rows, func(r Row) bool {
		return r.FromAccount != "" || r.ToAccount != "" || r.DialStatus != "" || r.App || isApp(r.DstChannel)
	})
}

// read turns rows into hops, in order of time. What is wrong with a row costs that row only.
func (c *assembly) read(rows []Row) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, compareRows)
	var loc *time.Location
	for i := range rows {
		if !rows[i].Start.IsZero() {
			loc = rows[i].Start.Location()
			break
		}
	}
	for i := range rows {
		r := &rows[i]
		for _, p := range r.Problems {
			c.problem(p)
		}
		h := &hop{row: r, start: r.Start}
		if h.start.IsZero() {
			at, ok := Epoch(r.UniqueID)
			if !ok {
				c.problem(fmt.Sprintf("row %s left out: it has no start", r.UniqueID))
				continue
			}
			if loc != nil {
				at = at.In(loc)
			}
			h.start = at
		}
		c.times(h)
		h.a = c.source(r)
		h.b = c.destination(r, h.a)
		c.hops = append(c.hops, h)
	}
	slices.SortStableFunc(c.hops, func(x, y *hop) int { return x.start.Compare(y.start) })
}

// times works out when a row was answered and ended. FreePBX stores the start and two lengths only, others the moments too.
func (c *assembly) times(h *hop) {
	r := h.row
	length, bill := clampSeconds(r.Duration), clampSeconds(r.BillSec)
	if r.Duration < 0 || r.BillSec < 0 || r.Duration > int(maxRow/time.Second) {
		c.problem(fmt.Sprintf("row %s: impossible length", r.UniqueID))
	}
	h.end = h.start.Add(length)
	if !r.End.IsZero() {
		off := r.End.Sub(h.end).Abs()
		switch {
		case off <= 2*time.Second, length == 0 && r.End.After(h.start) && r.End.Sub(h.start) <= maxRow:
			h.end = later(r.End, h.start)
		default:
			c.problem(fmt.Sprintf("row %s: end and duration disagree", r.UniqueID))
		}
	}
	bill = min(bill, h.end.Sub(h.start))

	h.answered = h.answeredAs("ANSWERED")
	if c.miko {
		// A call of less than a second is NOANSWER with an answer. A queue's row is answered too, yet a queue is no person.
		h.answered = h.answered && (bill > 0 || !r.Answer.IsZero()) || !r.Answer.IsZero() && !r.App
	}
	if !h.answered {
		return
	}
	switch {
	case !r.Answer.IsZero():
		h.answer = r.Answer
		if h.answer.Before(h.start) || h.answer.After(h.end) {
			c.problem(fmt.Sprintf("row %s: answered outside of its time", r.UniqueID))
			h.answer = h.end.Add(-bill)
		}
	default:
		h.answer = h.end.Add(-bill)
	}
}

func clampSeconds(n int) time.Duration {
	return time.Duration(min(max(n, 0), int(maxRow/time.Second))) * time.Second
}

// compareRows orders rows by what they hold and never by how they came: start, then the PBX's own counters, then everything else.
func compareRows(a, b Row) int {
	if c := cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID)); c != 0 {
		return c
	}
	return cmp.Compare(fingerprint(&a), fingerprint(&b))
}

// fingerprint is all that a row says, without what reading it found wrong.
func fingerprint(r *Row) string {
	return fmt.Sprintf("%q", []any{
		r.ID, r.LinkedID, r.UniqueID, r.Sequence, stamp(r.Start), stamp(r.Answer), stamp(r.End), r.Src, r.Dst, r.CallerID, r.CallerNum, r.Context,
		r.Channel, r.DstChannel, r.LastApp, r.LastData, r.Duration, r.BillSec, r.Disposition, r.DID, r.Recording, r.UserField, r.AccountCode,
		r.PeerAccount, r.FromAccount, r.ToAccount, r.DialStatus, r.App,
	})
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
