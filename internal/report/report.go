// Package report writes what a comparison of the PBX with Bitrix24 found: as a table for a terminal, as JSON, CSV and one HTML page.
//
// All four show the same gaps in the same order, by time. Times are in the zone of Report.From, which is the site's.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"sverka/internal/reconcile"
)

// Report is the two-sided comparison of one period.
type Report struct {
	Site        string
	From, To    time.Time // To is exclusive; both in the site's zone
	PBXCalls    int       // calls of the CDR
	Parts       int       // parts that belong in Bitrix24
	PortalCalls int       // statistics rows of ours
	InSync      int       // parts that agree
	Ongoing     int       // calls that are not over yet, and not compared
	Ignored     []reconcile.Ignored
	Strangers   map[string]int // extensions that no employee of Bitrix24 has: in how many calls they rang or talked
	Gaps        []reconcile.Gap
}

// Add adds what a comparison found in a piece of the period.
func (r *Report) Add(plan reconcile.Plan) {
	r.PBXCalls += plan.PBXCalls
	r.Parts += plan.Parts
	r.PortalCalls += plan.PortalCalls
	r.InSync += plan.InSync
	r.Ongoing += plan.Ongoing
	r.Ignored = append(r.Ignored, plan.Ignored...)
	r.Gaps = append(r.Gaps, plan.Gaps...)
	for extension, calls := range plan.Strangers {
		if r.Strangers == nil {
			r.Strangers = make(map[string]int)
		}
		r.Strangers[extension] += calls
	}
}

// Clean reports whether nothing is missing and nothing differs.
func (r Report) Clean() bool { return len(r.Gaps) == 0 }

// kinds gives all kinds of gaps, the gravest first, each with its symbol.
func kinds() []struct {
	kind   reconcile.Kind
	symbol string
	means  string
} {
	return []struct {
		kind   reconcile.Kind
		symbol string
		means  string
	}{
		{reconcile.KindMissing, "-", "on the PBX, not in Bitrix24"},
		{reconcile.KindUnfinished, "~", "registered, never finished"},
		{reconcile.KindExtra, "+", "in Bitrix24, and no such call on the PBX"},
		{reconcile.KindDuplicate, "2", "more than one call in Bitrix24 for one on the PBX"},
		{reconcile.KindDiffers, "*", "both sides have it and say different things"},
		{reconcile.KindRecordMissing, "r", "the PBX has the recording, Bitrix24 does not"},
		{reconcile.KindRecordLost, "?", "the recording is nowhere"},
		{reconcile.KindUnmapped, "u", "nobody in Bitrix24 has the extension"},
		{reconcile.KindError, "!", "tried, and refused for good"},
	}
}

// Symbol gives the sign of a kind of gap in the table, "" for a kind that is none.
func Symbol(kind reconcile.Kind) string {
	for _, k := range kinds() {
		if k.kind == kind {
			return k.symbol
		}
	}
	return ""
}

// count is how many there are of something.
type count struct {
	name string
	n    int
}

// byKind counts the gaps of each kind there is, the gravest kind first.
func (r Report) byKind() []count {
	n := make(map[reconcile.Kind]int)
	for _, gap := range r.Gaps {
		n[gap.Kind]++
	}
	var counts []count
	for _, k := range kinds() {
		if n[k.kind] > 0 {
			counts = append(counts, count{string(k.kind), n[k.kind]})
		}
	}
	return counts
}

// byReason counts the ignored calls of each reason, most first.
func (r Report) byReason() []count {
	n := make(map[string]int)
	for _, call := range r.Ignored {
		n[call.Reason]++
	}
	return most(n)
}

// strangers gives the extensions that no employee of Bitrix24 has, with the most calls first.
func (r Report) strangers() []count { return most(r.Strangers) }

// most gives what was counted, the most first.
func most(n map[string]int) []count {
	counts := make([]count, 0, len(n))
	for name, calls := range n {
		counts = append(counts, count{name, calls})
	}
	slices.SortFunc(counts, func(a, b count) int { return cmp.Or(cmp.Compare(b.n, a.n), cmp.Compare(a.name, b.name)) })
	return counts
}

// strangersHint tells what to do about them.
const strangersHint = "Write them into an employee's profile in Bitrix24, or into employees.map."

// gaps gives the gaps in order of time.
func (r Report) gaps() []reconcile.Gap {
	return slices.SortedStableFunc(slices.Values(r.Gaps), func(a, b reconcile.Gap) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.LinkedID, b.LinkedID), cmp.Compare(a.ExternalID, b.ExternalID))
	})
}

// local gives a time in the site's zone, "" for none.
func (r Report) local(t time.Time, layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.In(r.From.Location()).Format(layout)
}

// period gives the period in words, minutes where that is exact.
func (r Report) period() string {
	layout := "2006-01-02 15:04"
	if r.From.Second() != 0 || r.To.Second() != 0 {
		layout = time.DateTime
	}
	return r.local(r.From, layout) + " – " + r.local(r.To, layout) + r.local(r.To, " MST")
}

// summary gives the figures in one line.
func (r Report) summary() string {
	if r.Ongoing == 0 {
		return r.compared()
	}
	return fmt.Sprintf("%s · %s not over yet", strings.TrimSuffix(r.compared(), "."), calls(r.Ongoing))
}

// compared gives the figures of the calls that are over.
func (r Report) compared() string {
	if r.Clean() {
		return fmt.Sprintf("In sync: %s on the PBX, %s in Bitrix24, nothing missing.", calls(r.PBXCalls), plural(r.Parts, "part", "parts"))
	}
	words := make([]string, 0, len(kinds()))
	for _, k := range r.byKind() {
		words = append(words, fmt.Sprintf("%s %s", number(k.n), k.name))
	}
	belong := "belong"
	if r.Parts == 1 {
		belong = "belongs"
	}
	agree := "agree"
	if r.InSync == 1 {
		agree = "agrees"
	}
	return fmt.Sprintf("%s on the PBX · %s %s in Bitrix24 · %s %s · %s (%s)", calls(r.PBXCalls), plural(r.Parts, "part", "parts"), belong,
		number(r.InSync), agree, plural(len(r.Gaps), "gap", "gaps"), strings.Join(words, ", "))
}

func number(n int) string { return humanize.Comma(int64(n)) }

func calls(n int) string { return plural(n, "call", "calls") }

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// printable gives a text as one line without anything that moves the cursor or turns the direction of writing: names come from callers.
func printable(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}
