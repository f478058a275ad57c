package cdr_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
)

// bridged makes the events of channels that are in a bridge from one moment to another.
func bridged(id string, from, to float64, channels ...string) []cdr.Event {
	var events []cdr.Event
	for _, ch := range channels {
		extra := fmt.Sprintf(`{"bridge_id":%q,"bridge_technology":"simple_bridge"}`, id)
		events = append(events,
			cdr.Event{Type: "BRIDGE_ENTER", Time: at(from), LinkedID: linkedID, Channel: ch, App: "Dial", Extra: extra},
			cdr.Event{Type: "BRIDGE_EXIT", Time: at(to), LinkedID: linkedID, Channel: ch, App: "Dial", Extra: extra})
	}
	return events
}

func hungUp(when float64, channel, dialStatus string) cdr.Event {
	return cdr.Event{Type: "HANGUP", Time: at(when), LinkedID: linkedID, Channel: channel, Extra: `{"hangupcause":16,"dialstatus":"` + dialStatus + `"}`}
}

func join(lists ...[]cdr.Event) []cdr.Event {
	var all []cdr.Event
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func TestEventsTellWhatRowsCannot(t *testing.T) {
	t.Parallel()
	const one, two = "Local/201@from-internal-01;1", "Local/201@from-internal-01;2"
	tests := []struct {
		name   string
		rows   []cdr.Row
		events []cdr.Event
		want   []string
	}{
		{
			"click-to-call through Local: the client's ringing is no talk",
			new(history).row(0, 3, 20, one, out, numbers(client, client)).row(0, 3, 20, two, "IAX2/201-5", numbers(client, "201")).rows,
			join(bridged("A", 3, 20, two, "IAX2/201-5"), bridged("B", 8, 20, one, out)),
			[]string{"out answered +79161234567", "1: answered 201 12s +0s rang 201"},
		},
		{
			"an IVR answered before the phone",
			new(history).row(0, 0, 30, line, "IAX2/201-1", data("IAX2/201/201")).rows,
			bridged("A", 18.4, 30, line, "IAX2/201-1"),
			[]string{"in answered +79161234567", "1: answered 201 12s +0s rang 201"},
		},
		{
			"in events of whole seconds a channel leaves one bridge and enters the next at the same time",
			new(history).row(0, 2, 10, line, "IAX2/201-1").row(10, 10, 20, line, "IAX2/203-2").rows,
			join(bridged("A", 2, 10, line, "IAX2/201-1"), bridged("B", 5, 10, "IAX2/203-2"), bridged("C", 10, 10, "IAX2/203-2"), bridged("A", 10, 20, line, "IAX2/203-2")),
			[]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201", "2: answered 203 10s +10s"},
		},
		{
			"a phone answers and the client is gone",
			new(history).row(0, 5, 6, line, "IAX2/201-1").rows,
			join(bridged("A", 5, 6, "IAX2/201-1"), []cdr.Event{hungUp(5, line, "CANCEL")}),
			[]string{"in missed +79161234567", "1: missed  0s +0s rang 201"},
		},
		{
			"parked callers do not hear each other",
			new(history).row(0, 2, 10, line, "IAX2/201-1").rows,
			join(bridged("A", 2, 10, line, "IAX2/201-1"), []cdr.Event{
				{Type: "BRIDGE_ENTER", Time: at(10), Channel: line, Extra: `{"bridge_id":"P","bridge_technology":"holding_bridge"}`},
				{Type: "BRIDGE_ENTER", Time: at(10), Channel: "IAX2/202-7", Extra: `{"bridge_id":"P","bridge_technology":"holding_bridge"}`},
				{Type: "BRIDGE_EXIT", Time: at(60), Channel: line, Extra: `{"bridge_id":"P"}`},
			}),
			[]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201"},
		},
		{
			"a colleague takes the parked caller, and no row of the client says so",
			new(history).row(0, 2, 10, line, "IAX2/201-1").rows,
			join(bridged("A", 2, 10, line, "IAX2/201-1"), bridged("B", 30, 50, line, "IAX2/202-7"), []cdr.Event{hungUp(50, line, "ANSWER")}),
			[]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201", "2: answered 202 10s +30s"},
		},
		{
			"the caller gave up, though the row says NO ANSWER",
			new(history).row(0, -1, 9, "IAX2/201-1", out, numbers("201", mobile)).rows,
			[]cdr.Event{hungUp(9, "IAX2/201-1", "CANCEL")},
			[]string{"out cancelled +79035550000", "1: cancelled 201 0s +0s"},
		},
		{
			"what is no JSON tells nothing",
			new(history).row(0, 2, 10, line, "IAX2/201-1").rows,
			[]cdr.Event{{Type: "BRIDGE_ENTER", Time: at(2), Channel: line, Extra: `{"bridge_id":"cut of`}, {Type: "BRIDGE_ENTER", Channel: line}},
			[]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, sketch(cdr.Assemble(tt.rows, tt.events, rules(t)))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// In the hour that autumn repeats a wall time means two moments; the epoch in the linkedid tells which.
func TestStartInTheRepeatedHour(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	first, second := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC) // both 02:30 on the wall
	for _, real := range []time.Time{first, second} {
		for _, read := range []time.Time{first, second} {
			id := fmt.Sprintf("%d.7", real.Unix())
			row := cdr.Row{LinkedID: id, UniqueID: id, Start: read.Add(time.Second).In(berlin), Src: client, Channel: line, DstChannel: "IAX2/201-1", Duration: 5}
			got := cdr.Assemble([]cdr.Row{row}, nil, rules(t)).Start
			if want := real.Add(time.Second); !got.Equal(want) {
				t.Errorf("row of %v read as %v starts at %v, want %v", real, read, got, want)
			}
		}
	}
}

// An epoch that names another time than the row (a later row of a long call, a wrong zone) does not move it.
func TestStartOfAnotherTime(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-3 * time.Hour, 3 * time.Second, 20 * time.Minute} {
		row := cdr.Row{LinkedID: linkedID, UniqueID: linkedID, Start: at(0).Add(off), Src: client, Channel: line, DstChannel: "IAX2/201-1"}
		if got, want := cdr.Assemble([]cdr.Row{row}, nil, rules(t)).Start, at(0).Add(off); !got.Equal(want) {
			t.Errorf("start = %v, want %v", got, want)
		}
	}
}

func TestCallOfBadRows(t *testing.T) {
	t.Parallel()
	if c := cdr.Assemble(nil, nil, cdr.Rules{}); len(c.Problems) == 0 || len(c.Parts) != 0 {
		t.Errorf("a call of no rows is %+v", c)
	}
	// A row without any time costs itself, not its call.
	rows := new(history).row(0, 2, 10, line, "IAX2/201-1").rows
	rows = append(rows, cdr.Row{LinkedID: linkedID, UniqueID: "?", Channel: line, DstChannel: "IAX2/202-1", Disposition: "ANSWERED"})
	c := cdr.Assemble(rows, nil, rules(t))
	if diff := cmp.Diff([]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201"}, sketch(c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(c.Problems) != 1 {
		t.Errorf("problems %q, want one", c.Problems)
	}
	// One whose date is missing has it from the uniqueid.
	rows = new(history).row(0, 2, 10, line, "IAX2/201-1").rows
	rows[0].Start, rows[0].Answer, rows[0].End = time.Time{}, time.Time{}, time.Time{}
	if got := cdr.Assemble(rows, nil, rules(t)); !got.Start.Equal(at(0)) || got.Parts[0].Talk != 8 {
		t.Errorf("call of an undated row starts at %v with %d s of talk, want %v and 8", got.Start, got.Parts[0].Talk, at(0))
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	rows := new(history).row(0, -1, 4, line, "IAX2/201-1").row(0, 4, 10, line, "IAX2/202-2").rows
	hash := func(rows ...cdr.Row) string { return cdr.Assemble(rows, nil, rules(t)).Hash }
	want := hash(rows...)
	if got := hash(rows[1], rows[0]); got != want {
		t.Errorf("another order gives hash %s, want %s", got, want)
	}
	if got := hash(rows[0]); got == want {
		t.Error("a late row leaves the hash as it was")
	}
	late := rows[1]
	late.Recording = "a.wav"
	if got := hash(rows[0], late); got == want {
		t.Error("a recording named later leaves the hash as it was")
	}
}

func TestPortalID(t *testing.T) {
	t.Parallel()
	const id = "externalCall.4f1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e.1795341600"
	rows := new(history).row(0, 4, 10, "IAX2/201-1", out, numbers("201", mobile), userfield("b24="+id+";x")).rows
	rows[0].AccountCode = id[:20] // the column cuts it
	if got := cdr.Assemble(rows, nil, rules(t)).PortalID; got != id {
		t.Errorf("PortalID = %q, want %q", got, id)
	}
}

func TestLineAndDID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		rows      []cdr.Row
		events    []cdr.Event
		did, line string
	}{
		{"did column", new(history).row(0, 2, 9, line, "IAX2/201-1", func(r *cdr.Row) { r.DID = "74951112233" }).rows, nil, "74951112233", "+74951112233"},
		{"no did column: dst, and the trunk names the line", new(history).row(0, 2, 9, line, "IAX2/201-1").rows, nil, "4951112233", "+74951112233"},
		{
			"dst rewritten by a blind transfer: the event of the channel has it", new(history).row(0, 2, 9, line, "IAX2/201-1", numbers(client, "203")).rows,
			[]cdr.Event{{Type: "CHAN_START", Time: at(0), Channel: line, Exten: "74951112233"}},
			"74951112233", "+74951112233",
		},
		{"outbound: the trunk", new(history).row(0, 2, 9, "IAX2/201-1", out, numbers("201", mobile)).rows, nil, "", "+74951112233"},
		{"unknown line", new(history).row(0, 2, 9, "IAX2/other-1", "IAX2/201-1").rows, nil, "4951112233", ""},
	}
	for _, tt := range tests {
		c := cdr.Assemble(tt.rows, tt.events, rules(t))
		if c.DID != tt.did || c.Line != tt.line {
			t.Errorf("%s: DID %q, line %q, want %q, %q", tt.name, c.DID, c.Line, tt.did, tt.line)
		}
	}
}
