package jobs_test

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/cdr"
	"sverka/internal/emulator"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
	"sverka/jobs"
)

// pbx is a CDR in memory. It keeps what it was asked for.
type pbx struct {
	rows     []cdr.Row
	events   map[string][]cdr.Event
	asked    [][2]time.Time // periods of Rows
	eventsOf [][]string     // linkedids of Events
	calls    []string       // linkedids of Call
}

func (p *pbx) Rows(_ context.Context, from, to time.Time, yield func(cdr.Row) error) error {
	p.asked = append(p.asked, [2]time.Time{from, to})
	for _, row := range slices.SortedStableFunc(slices.Values(p.rows), func(a, b cdr.Row) int { return a.Start.Compare(b.Start) }) {
		if row.Start.Before(from) || !row.Start.Before(to) {
			continue
		}
		if err := yield(row); err != nil {
			return err
		}
	}
	return nil
}

func (p *pbx) Call(_ context.Context, linkedID string) ([]cdr.Row, error) {
	p.calls = append(p.calls, linkedID)
	var rows []cdr.Row
	for _, row := range p.rows {
		if row.LinkedID == linkedID {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (p *pbx) Events(_ context.Context, linkedIDs []string) (map[string][]cdr.Event, error) {
	p.eventsOf = append(p.eventsOf, slices.Clone(linkedIDs))
	return p.events, nil
}

// ring adds a call from outside that extension 201 answers after 5 s, and gives its linkedid.
func (p *pbx) ring(start time.Time, n int, talk time.Duration) string {
	id := fmt.Sprintf("%d.%d", start.Unix(), n)
	p.rows = append(p.rows, row(id, id, start, talk, n))
	return id
}

func row(linkedID, uniqueID string, start time.Time, talk time.Duration, n int) cdr.Row {
	return cdr.Row{
		LinkedID: linkedID, UniqueID: uniqueID, Start: start, Answer: start.Add(5 * time.Second), End: start.Add(5*time.Second + talk),
		Src: fmt.Sprintf("+7916%07d", n), Dst: "201", DID: "+74951112233", Context: "from-internal", Channel: fmt.Sprintf("PJSIP/trunk-%08x", n),
		DstChannel: fmt.Sprintf("PJSIP/201-%08x", n), LastApp: "Dial", Duration: 5 + int(talk.Seconds()), BillSec: int(talk.Seconds()),
		Disposition: "ANSWERED",
	}
}

// noon is a day that is long over; now is when the surveys of these tests run.
var (
	noon = time.Date(2026, 3, 11, 12, 0, 0, 0, time.FixedZone("MSK", 3*3600))
	now  = noon.AddDate(0, 1, 0)
)

var extension = regexp.MustCompile(`^\d{3}$`)

// survey compares a CDR with the world's portal.
func (w *world) survey(p *pbx) *jobs.Survey {
	employees := []portal.Employee{{ID: 17, Name: "Иван", Inner: "201", Active: true}}
	return &jobs.Survey{
		Site:   "office",
		Source: p,
		Rules: cdr.Rules{
			Internal: extension.MatchString,
			Phone: func(raw string) string {
				if strings.HasPrefix(raw, "+") {
					return raw
				}
				return ""
			},
		},
		Policy: reconcile.Policy{
			Site: "office", Directory: portal.NewDirectory(employees, nil, func(s string) string { return s }), Fallback: 1,
		},
		Statistics: w.client, Ledger: w.ledger, Settle: time.Minute, Overlap: 6 * time.Hour, Zone: noon.Location(),
		Now: func() time.Time { return now }, Log: w.log,
	}
}

// plans runs a survey and gives its plans.
func plans(t *testing.T, s *jobs.Survey, from, to time.Time, extras jobs.Extras) []reconcile.Plan {
	t.Helper()
	var all []reconcile.Plan
	err := s.Run(context.Background(), jobs.Period{From: from, To: to}, jobs.Filter{}, extras, func(plan reconcile.Plan) error {
		all = append(all, plan)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// delivered gives the linkedids of the calls that the plans deliver, in their order.
func delivered(plans []reconcile.Plan) []string {
	var ids []string
	for _, plan := range plans {
		for _, change := range plan.Changes {
			if change.Verb == reconcile.Deliver {
				ids = append(ids, change.Want.Key.LinkedID)
			}
		}
	}
	return ids
}

// TestWindows: a long period is compared stretch by stretch, each call of it once, and no call of another period.
func TestWindows(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	p := &pbx{}
	from, to := noon, noon.AddDate(0, 0, 11)
	p.ring(from.Add(-time.Second), 1, 10*time.Minute) // reaches into the period, and began before it
	p.ring(to, 2, time.Minute)
	want := []string{p.ring(from, 3, time.Minute)}
	for i, at := range []time.Duration{
		time.Hour, 72*time.Hour - time.Second, 72 * time.Hour, 72*time.Hour + time.Second, // about the first border
		9 * 24 * time.Hour, // after a stretch without a call
		to.Sub(from) - time.Second,
	} {
		want = append(want, p.ring(from.Add(at), 10+i, time.Minute))
	}
	got := plans(t, w.survey(p), from, to, false)
	if d := cmp.Diff(delivered(got), want); d != "" {
		t.Errorf("calls: got -, want +\n%s", d)
	}
	calls := 0
	for i, plan := range got {
		calls += plan.PBXCalls
		if n := len(plan.Changes); n != plan.PBXCalls {
			t.Errorf("stretch %d: %d calls and %d changes", i, plan.PBXCalls, n)
		}
		first, last := plan.Changes[0].Want.Call.Start, plan.Changes[len(plan.Changes)-1].Want.Call.Start
		if last.Sub(first) >= 72*time.Hour {
			t.Errorf("stretch %d: from %s to %s, want less than 72 h in memory at once", i, first, last)
		}
	}
	if calls != len(want) || len(got) < 3 {
		t.Errorf("%d calls in %d stretches, want %d in 3 at least", calls, len(got), len(want))
	}
	if d := cmp.Diff(p.asked, [][2]time.Time{{from.Add(-6 * time.Hour), to.Add(6 * time.Hour)}}); d != "" {
		t.Errorf("rows were asked for: got -, want +\n%s", d)
	}
}

// TestNotOver: a call that may still be going on is counted and left alone.
func TestNotOver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		ago      time.Duration // since its last row
		part     bool          // the row of the channel that gave the call its name is missing
		ended    bool          // a channel event says that the call is over
		together bool
		over     bool
	}{
		{name: "just ended", ago: 59 * time.Second},
		{name: "settled", ago: time.Minute, over: true},
		{name: "the client's own row is missing", ago: time.Hour, part: true},
		{name: "the client's own row is missing for longer than any call", ago: 6 * time.Hour, part: true, over: true},
		{name: "an event says that it is over", ago: time.Hour, part: true, ended: true, over: true},
		{name: "an event says so, and the last row is too young", ago: time.Second, part: true, ended: true},
		{name: "a PBX that writes all rows at once", ago: time.Hour, part: true, together: true, over: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, emulator.Options{})
			start := now.Add(-test.ago - 65*time.Second)
			id := fmt.Sprintf("%d.1", start.Unix())
			p := &pbx{}
			own := id
			if test.part {
				own = fmt.Sprintf("%d.2", start.Unix())
			}
			p.rows = []cdr.Row{row(id, own, start, time.Minute, 1)}
			if test.ended {
				p.events = map[string][]cdr.Event{id: {{Type: "LINKEDID_END", LinkedID: id, UniqueID: id, Time: start.Add(65 * time.Second)}}}
			}
			s := w.survey(p)
			s.Together = test.together
			got := plans(t, s, start.Add(-time.Hour), now, true)
			calls, ongoing := 0, 0
			for _, plan := range got {
				calls, ongoing = calls+plan.PBXCalls, ongoing+plan.Ongoing
				if len(plan.Gaps) != len(plan.Changes) {
					t.Errorf("%d gaps, %d changes", len(plan.Gaps), len(plan.Changes))
				}
			}
			if want := map[bool][2]int{true: {1, 0}, false: {0, 1}}[test.over]; [2]int{calls, ongoing} != want {
				t.Errorf("%d calls over, %d going on; want %v", calls, ongoing, want)
			}
			if n := len(delivered(got)); n != map[bool]int{true: 1, false: 0}[test.over] {
				t.Errorf("%d calls to deliver", n)
			}
		})
	}
}

// TestExtras: calls of the portal that the PBX does not have are found in the period, and only there; those that began just outside of it
// and those of another PBX are no extras.
func TestExtras(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	p := &pbx{}
	from, to := noon, noon.AddDate(0, 0, 5)
	plant := func(externalID string, start time.Time) {
		w.portal.Plant(emulator.Call{ExternalID: externalID, UserID: 17, Phone: "+79160000001", Type: 2, Start: start, Duration: 60, Status: "200"})
	}
	known := p.ring(from.Add(time.Hour), 1, time.Minute)
	plant(known, from.Add(time.Hour))
	before := p.ring(from.Add(-time.Second), 2, time.Minute)
	plant(before, from) // the portal counts its start a second later
	after := p.ring(to, 3, time.Minute)
	plant(after, to.Add(-time.Second))
	var want []string
	for i, at := range []time.Time{from.Add(-time.Second), from, from.Add(72 * time.Hour), to.Add(-time.Second), to} {
		id := fmt.Sprintf("%d.77%d", at.Unix(), i)
		plant(id, at)
		if !at.Before(from) && at.Before(to) {
			want = append(want, id)
		}
	}
	plant(known+"/2", from.Add(2*time.Hour)) // a part that the call does not have
	want = append(want, known)
	plant(fmt.Sprintf("pbx2-%d.5", from.Unix()), from.Add(time.Hour))
	plant("somebody else's call", from.Add(time.Hour))
	plant("", from.Add(time.Hour))
	var got []string
	rows := 0
	for _, plan := range plans(t, w.survey(p), from, to, true) {
		rows += plan.PortalCalls
		for _, gap := range plan.Gaps {
			if gap.Kind != reconcile.KindExtra {
				t.Errorf("gap %s of %s: %s", gap.Kind, gap.LinkedID, gap.Detail)
				continue
			}
			got = append(got, gap.LinkedID)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("extras: got -, want +\n%s", d)
	}
	if rows != 7 {
		t.Errorf("%d calls of ours in the portal, want 7", rows)
	}
	for _, id := range p.calls {
		if strings.HasPrefix(id, "pbx2-") {
			t.Errorf("the CDR was asked for %s, which is another PBX's", id)
		}
	}
	if n := len(delivered(plans(t, w.survey(p), from, to, false))); n != 0 {
		t.Errorf("%d calls to deliver, want none", n)
	}
}

// TestEventsInChunks: channel events are read for many calls at once, for each call once.
func TestEventsInChunks(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	p := &pbx{}
	want := make([]string, 450)
	for i := range want {
		want[i] = p.ring(noon.Add(time.Duration(i)*time.Minute), i, 10*time.Second)
	}
	plans(t, w.survey(p), noon, noon.AddDate(0, 0, 1), false)
	var asked []string
	for _, ids := range p.eventsOf {
		if len(ids) > 200 {
			t.Errorf("%d calls at once, want 200 at most", len(ids))
		}
		asked = append(asked, ids...)
	}
	if len(p.eventsOf) != 3 {
		t.Errorf("asked %d times, want 3", len(p.eventsOf))
	}
	slices.Sort(asked)
	slices.Sort(want)
	if d := cmp.Diff(asked, want); d != "" {
		t.Errorf("events of: got -, want +\n%s", d)
	}
}

// TestFilter: a survey can be narrowed to an extension or a phone; ignored calls and unknown extensions are told.
func TestFilter(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	p := &pbx{}
	first := p.ring(noon, 1, time.Minute)
	second := p.ring(noon.Add(time.Hour), 2, time.Minute)
	p.rows[1].Dst, p.rows[1].DstChannel = "207", "PJSIP/207-00000002"
	internal := row(fmt.Sprintf("%d.3", noon.Unix()+7200), fmt.Sprintf("%d.3", noon.Unix()+7200), noon.Add(2*time.Hour), time.Minute, 3)
	internal.Src, internal.Channel, internal.DID = "202", "PJSIP/202-00000003", ""
	p.rows = append(p.rows, internal)
	for _, test := range []struct {
		name      string
		filter    jobs.Filter
		want      []string
		ignored   int
		strangers map[string]int
	}{
		{"all", jobs.Filter{}, []string{first, second}, 1, map[string]int{"207": 1}},
		{"by extension", jobs.Filter{Extension: "207"}, []string{second}, 0, map[string]int{"207": 1}},
		{"by phone", jobs.Filter{Phone: "+79160000001"}, []string{first}, 0, map[string]int{}},
		{"nobody", jobs.Filter{Phone: "+79160000009"}, nil, 0, nil},
	} {
		var got []reconcile.Plan
		err := w.survey(p).Run(context.Background(), jobs.Period{From: noon, To: noon.AddDate(0, 0, 1)}, test.filter, false, func(plan reconcile.Plan) error {
			got = append(got, plan)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(delivered(got), test.want); d != "" {
			t.Errorf("%s: got -, want +\n%s", test.name, d)
		}
		if len(got) > 0 && len(got[0].Ignored) != test.ignored {
			t.Errorf("%s: ignored %v, want %d", test.name, got[0].Ignored, test.ignored)
		}
		if len(got) > 0 {
			if d := cmp.Diff(got[0].Strangers, test.strangers); d != "" {
				t.Errorf("%s: extensions of nobody: got -, want +\n%s", test.name, d)
			}
		}
	}
}

// BenchmarkSurvey compares a month of a busy office; its memory must not grow with the period.
func BenchmarkSurvey(b *testing.B) {
	for _, days := range []int{3, 30} {
		b.Run(fmt.Sprint(days, " days"), func(b *testing.B) {
			p := &pbx{}
			for i := range days * 1000 {
				p.ring(noon.Add(time.Duration(i)*86*time.Second), i, 10*time.Second)
			}
			quiet := logrus.New()
			quiet.SetOutput(io.Discard)
			w := &world{log: logrus.NewEntry(quiet)}
			s := w.survey(p)
			s.Statistics, s.Ledger = nothing{}, nothing{}
			b.ReportAllocs()
			for b.Loop() {
				most := 0
				err := s.Run(context.Background(), jobs.Period{From: noon, To: noon.AddDate(0, 0, days)}, jobs.Filter{}, false, func(plan reconcile.Plan) error {
					most = max(most, plan.PBXCalls)
					return nil
				})
				if err != nil || most == 0 {
					b.Fatal(most, err)
				}
				b.ReportMetric(float64(most), "calls-at-once")
			}
		})
	}
}
