package cdr_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sverka/cdr"
)

// told is what a generated call really was.
type told struct {
	linkedID string
	start    time.Time
	answered bool
	who      []string // who talked with the client, in order
	talk     []int
	rows     []cdr.Row
}

// inbound plays a call from outside: a queue of some members in some rounds, perhaps answered, perhaps passed on blindly a few times.
func inbound(t *rapid.T, n int, begin time.Time) told {
	id := fmt.Sprintf("%d.%d", begin.Unix(), n)
	call := told{linkedID: id, start: begin}
	now := begin
	channels := 0
	phones := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"201", "202", "203", "204", "205"}), 1, 5, rapid.ID[string]).Draw(t, "members")
	device := func(ext string) string {
		channels++
		return fmt.Sprintf("PJSIP/%s-%04x%04x", ext, n, channels)
	}
	trunk := fmt.Sprintf("PJSIP/mango-%08x", n)
	add := func(start time.Time, ring, talk int, to, lastData string) {
		r := cdr.Row{
			LinkedID: id, UniqueID: id, Sequence: int64(len(call.rows)), Start: start, Src: client, CallerNum: client, Dst: "600", DID: "74951112233",
			Channel: trunk, DstChannel: to, LastApp: "Dial", LastData: lastData, Duration: ring + talk, Disposition: "NO ANSWER",
		}
		if talk > 0 {
			r.BillSec, r.Disposition, r.Recording = talk, "ANSWERED", "q-"+id+".wav"
		}
		call.rows = append(call.rows, r)
	}
	rounds := rapid.IntRange(1, 3).Draw(t, "rounds")
	answers := rapid.Bool().Draw(t, "answers")
	for round := range rounds {
		ring := rapid.IntRange(1, 20).Draw(t, "ring")
		winner := ""
		if answers && round == rounds-1 {
			winner = rapid.SampledFrom(phones).Draw(t, "winner")
		}
		talk := rapid.IntRange(1, 600).Draw(t, "talk")
		for _, p := range phones {
			if p == winner {
				add(now, ring, talk, device(p), "PJSIP/"+p)
			} else {
				add(now, ring, 0, device(p), "PJSIP/"+p)
			}
		}
		now = now.Add(time.Duration(ring) * time.Second)
		if winner != "" {
			call.answered = true
			call.who, call.talk = append(call.who, winner), append(call.talk, talk)
			now = now.Add(time.Duration(talk) * time.Second)
		}
	}
	for call.answered && len(call.who) < 4 && rapid.Bool().Draw(t, "passed on") {
		others := slices.DeleteFunc([]string{"201", "202", "203", "204", "205"}, func(p string) bool { return p == call.who[len(call.who)-1] })
		to := rapid.SampledFrom(others).Draw(t, "target")
		ring := rapid.IntRange(1, 20).Draw(t, "transfer ring")
		if !rapid.Bool().Draw(t, "target answers") {
			add(now, ring, 0, device(to), "PJSIP/"+to)
			break
		}
		talk := rapid.IntRange(1, 600).Draw(t, "transfer talk")
		add(now, ring, talk, device(to), "PJSIP/"+to)
		call.who, call.talk = append(call.who, to), append(call.talk, talk)
		now = now.Add(time.Duration(ring+talk) * time.Second)
	}
	return call
}

func TestGeneratedCallsAreTold(t *testing.T) {
	t.Parallel()
	rules := rules(t)
	rapid.Check(t, func(t *rapid.T) {
		call := inbound(t, 1, at(0))
		rows := rapid.Permutation(call.rows).Draw(t, "order")
		got := cdr.Assemble(rows, nil, rules)
		var who []string
		var talk []int
		for _, p := range got.Parts {
			if p.Status == cdr.Answered {
				who, talk = append(who, p.Extension), append(talk, p.Talk)
				if diff := cmp.Diff([]string{"q-" + call.linkedID + ".wav"}, p.Recordings); diff != "" {
					t.Fatalf("part %d, recordings (-want +got):\n%s", p.N, diff)
				}
			}
		}
		if diff := cmp.Diff(call.who, who); diff != "" {
			t.Fatalf("who talked (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(call.talk, talk); diff != "" {
			t.Fatalf("talk (-want +got):\n%s", diff)
		}
		if got.Direction != cdr.Inbound || (got.Status == cdr.Answered) != call.answered || got.Phone != "+"+client || got.DID != "74951112233" {
			t.Fatalf("call is %+v", got)
		}
		keepsPromises(t, got)
	})
}

// Whatever order the calls of a day lie in one another, each comes out of the Grouper once, whole, and in order of start.
func TestEveryCallOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		calls := map[string]int{}
		var rows []cdr.Row
		begin := at(0)
		for n := range rapid.IntRange(1, 12).Draw(t, "calls") {
			begin = begin.Add(time.Duration(rapid.IntRange(0, 900).Draw(t, "pause")) * time.Second)
			call := inbound(t, n, begin)
			calls[call.linkedID] = len(call.rows)
			rows = append(rows, call.rows...)
		}
		slices.SortStableFunc(rows, func(a, b cdr.Row) int { return a.Start.Compare(b.Start) })
		g := cdr.NewGrouper(time.Minute)
		var groups [][]cdr.Row
		for _, r := range rows {
			groups = append(groups, g.Add(r)...)
		}
		groups = append(groups, g.Flush()...)
		if len(groups) != len(calls) {
			t.Fatalf("%d groups of %d calls", len(groups), len(calls))
		}
		last := time.Time{}
		for _, group := range groups {
			id := group[0].LinkedID
			if len(group) != calls[id] {
				t.Fatalf("call %s has %d rows, want %d", id, len(group), calls[id])
			}
			delete(calls, id)
			if group[0].Start.Before(last) {
				t.Fatalf("call %s begins before the one given out before it", id)
			}
			last = group[0].Start
		}
		if g.Open() != 0 {
			t.Fatalf("%d calls left after Flush", g.Open())
		}
	})
}

// arbitrary draws rows that no PBX would write: the parts of real ones in any combination.
func arbitrary(t *rapid.T) ([]cdr.Row, []cdr.Event) {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	channels := []string{
		"", line, out, "IAX2/201-1", "IAX2/202-2", "IAX2/203-3", "Local/203@from-internal-01;1", "Local/203@from-internal-01;2", "Local/s@x-02;1",
		"Local/s@x-02;2", "Local/FMPR-201@y-03;1", "Local/FMPR-201@y-03;2", "Queue:600", "App:1", "MeetMe:5", "VOICEMAIL", "weird", "/", "-", ";1", "IAX2/201-1<ZOMBIE>",
	}
	moment := func(label string) time.Time {
		if rapid.IntRange(0, 5).Draw(t, label+" none") == 0 {
			return time.Time{}
		}
		return at(float64(rapid.IntRange(-100, 5000).Draw(t, label)))
	}
	ids := []string{linkedID, linkedID, linkedID, "1795341605.9", "mikopbx-1795341600.1", "x", ""}
	var rows []cdr.Row
	for range rapid.IntRange(0, 10).Draw(t, "rows") {
		rows = append(rows, cdr.Row{
			LinkedID: pick("linkedid", ids...), UniqueID: pick("uniqueid", ids...), Sequence: int64(rapid.IntRange(0, 5).Draw(t, "sequence")),
			Start: moment("start"), Answer: moment("answer"), End: moment("end"),
			Src: pick("src", client, "201", "", "anonymous"), Dst: pick("dst", mobile, "203", "s", "", "4951112233"), DID: pick("did", "", "74951112233"),
			CallerID: pick("clid", "", `"" <201>`, "<", ">x<"), Channel: pick("channel", channels...), DstChannel: pick("dstchannel", channels...),
			LastApp:  pick("lastapp", "Dial", "Queue", "AppDial", "VoiceMail", "Park", "ConfBridge", ""),
			LastData: pick("lastdata", "", "IAX2/201/201,20", "IAX2/trunk/"+mobile, "&,@/"),
			Duration: rapid.IntRange(-5, 4000).Draw(t, "duration"), BillSec: rapid.IntRange(-5, 4000).Draw(t, "billsec"),
			Disposition: pick("disposition", "ANSWERED", "NO ANSWER", "BUSY", "FAILED", "CANCEL", "", "NOANSWER"),
			Recording:   pick("recording", "", "-", "none", "a.wav", "b.wav"), UserField: pick("userfield", "", "", "externalCall.1.2"),
			FromAccount: pick("from", "", "", "", "201", "SIP-TRUNK-1"), ToAccount: pick("to", "", "", "", "203", "SIP-TRUNK-1"),
			App: rapid.IntRange(0, 20).Draw(t, "app") == 0,
		})
	}
	var events []cdr.Event
	for range rapid.IntRange(0, 30).Draw(t, "events") {
		events = append(events, cdr.Event{
			Type:     pick("type", "BRIDGE_ENTER", "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP", "CHAN_START", "CHAN_END", "ANSWER"),
			Time:     moment("time").Truncate(10 * time.Second), // many at one moment
			LinkedID: linkedID, Channel: pick("event channel", channels...), App: pick("event app", "Dial", "ConfBridge"), Exten: pick("exten", "", "1001", "s"),
			Extra: pick("extra", `{"bridge_id":"A"}`, `{"bridge_id":"B"}`, `{"bridge_id":"C","bridge_technology":"holding_bridge"}`, `{"dialstatus":"CANCEL"}`, `{"bro`, ""),
		})
	}
	return rows, events
}

func TestArbitraryRowsKeepThePromises(t *testing.T) {
	t.Parallel()
	rules := rules(t)
	rapid.Check(t, func(t *rapid.T) {
		rows, events := arbitrary(t)
		call := cdr.Assemble(rows, events, rules)
		keepsPromises(t, call)
		again := cdr.Assemble(rapid.Permutation(rows).Draw(t, "order of rows"), rapid.Permutation(events).Draw(t, "order of events"), rules)
		if diff := cmp.Diff(call, again); diff != "" {
			t.Fatalf("another order of the same rows gives another call:\n%s", diff)
		}
	})
}

// keepsPromises checks what holds for every call whatever its rows are.
func keepsPromises(t interface{ Fatalf(string, ...any) }, c cdr.Call) {
	length := int(c.End.Sub(c.Start) / time.Second)
	if c.End.Before(c.Start) {
		t.Fatalf("the call ends at %v, before its start at %v", c.End, c.Start)
	}
	answered := false
	for i, p := range c.Parts {
		if p.N != i+1 {
			t.Fatalf("part %d is numbered %d", i+1, p.N)
		}
		if p.Talk < 0 || p.Talk > length {
			t.Fatalf("part %d: talk of %d s in a call of %d s", p.N, p.Talk, length)
		}
		if i > 0 && p.Start.Before(c.Parts[i-1].Start) {
			t.Fatalf("part %d starts before the one before it", p.N)
		}
		if i == 0 && !p.Start.Equal(c.Start) {
			t.Fatalf("the first part starts at %v, the call at %v", p.Start, c.Start)
		}
		if p.Status != cdr.Answered && (p.Talk != 0 || len(p.Recordings) > 0 || len(c.Parts) > 1) {
			t.Fatalf("nobody answered, and yet: %+v", p)
		}
		if slices.Contains(p.Recordings, "") || slices.Contains(p.Recordings, "-") || slices.Contains(p.Recordings, "none") {
			t.Fatalf("part %d names a recording that is none: %q", p.N, p.Recordings)
		}
		if d := slices.Compact(slices.Sorted(slices.Values(p.Recordings))); len(d) != len(p.Recordings) {
			t.Fatalf("part %d names a recording twice: %q", p.N, p.Recordings)
		}
		answered = answered || p.Status == cdr.Answered
	}
	if answered != (c.Status == cdr.Answered) {
		t.Fatalf("call is %v, its parts are %+v", c.Status, c.Parts)
	}
	for _, l := range c.Legs {
		if l.Talk < 0 || l.Talk > length || l.Extension != "" && l.Phone != "" {
			t.Fatalf("leg %+v in a call of %d s", l, length)
		}
	}
}

func FuzzAssemble(f *testing.F) {
	rules := rules(f)
	f.Add("IAX2/trunk-1", "IAX2/201-2", client, "1001", "ANSWERED", linkedID, int64(1795341600), 11, 8)
	f.Add("Local/201@x-1;1", "Local/201@x-1;2", "\xff", "", "", "", int64(0), -1, 1<<62)
	f.Fuzz(func(t *testing.T, from, to, src, dst, disposition, id string, start int64, duration, billsec int) {
		r := cdr.Row{
			LinkedID: id, UniqueID: id, Start: time.Unix(start%1e12, 0).UTC(), Src: src, CallerID: src, Dst: dst, Channel: from, DstChannel: to,
			LastData: dst, Disposition: disposition, Duration: duration, BillSec: billsec, UserField: src,
		}
		back := r
		back.Channel, back.DstChannel, back.Sequence = to, from, 1
		rows := []cdr.Row{r, back}
		events := []cdr.Event{
			{Type: "BRIDGE_ENTER", Time: r.Start, Channel: from, Extra: dst}, {Type: "BRIDGE_ENTER", Time: r.Start, Channel: to, Extra: dst},
		}
		keepsPromises(t, cdr.Assemble(rows, events, rules))
		g := cdr.NewGrouper(time.Hour)
		n := 0
		for _, r := range rows {
			for _, group := range g.Add(r) {
				n += len(group)
			}
		}
		for _, group := range g.Flush() {
			n += len(group)
		}
		if n != len(rows) {
			t.Fatalf("%d rows came out of the Grouper, %d went in", n, len(rows))
		}
	})
}
