package cdr_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
)

// grouped gives the linkedids of each group, in the order that they are given out.
func grouped(hold time.Duration, rows []cdr.Row) [][]string {
	g := cdr.NewGrouper(hold)
	var out [][]string
	take := func(groups [][]cdr.Row) {
		for _, rows := range groups {
			var ids []string
			for _, r := range rows {
				ids = append(ids, r.LinkedID)
			}
			out = append(out, ids)
		}
	}
	for _, r := range rows {
		take(g.Add(r))
	}
	take(g.Flush())
	return out
}

func TestGrouperJoins(t *testing.T) {
	t.Parallel()
	const a, b = "1795341600.1", "1795341606.8"
	tests := []struct {
		name string
		rows []cdr.Row
		want [][]string
	}{
		{
			"a SIP transfer hands the phone of the consultation to the client",
			new(history).row(0, 2, 14, line, "IAX2/201-1").row(6, 8, 14, "IAX2/201-8", "IAX2/203-9", linked(b)).row(14, 14, 24, line, "IAX2/203-9").rows,
			[][]string{{a, b, a}},
		},
		{
			"two calls at once have nothing in common",
			new(history).row(0, 2, 14, line, "IAX2/201-1").row(6, 8, 14, out, "IAX2/203-9", linked(b)).rows,
			[][]string{{a}, {b}},
		},
		{
			"a channel's name is used again by the next call",
			new(history).row(0, 2, 6, "DAHDI/1-1", "IAX2/201-1").row(6, 8, 14, "DAHDI/1-1", "IAX2/203-9", linked(b)).rows,
			[][]string{{a}, {b}},
		},
		{
			"a channel's name comes again long after, while the call goes on",
			new(history).row(0, -1, 5, line, "IAX2/201-1").row(5, 6, 900, line, "IAX2/202-1").row(600, 602, 620, out, "IAX2/201-1", linked(b)).rows,
			[][]string{{a, a}, {b}},
		},
		{
			"without linkedid the halves of a Local channel tell",
			new(history).row(0, 4, 10, line, "Local/201@q-01;1").row(0, 4, 10, "Local/201@q-01;2", "IAX2/201-1", linked(b)).rows,
			[][]string{{a, b}},
		},
		{
			"three linkedids in a chain",
			new(history).row(0, 2, 30, line, "IAX2/201-1").row(5, 6, 40, "IAX2/202-1", "IAX2/203-9", linked(b)).
				row(10, 12, 25, "IAX2/204-1", "IAX2/205-1", linked("1795341610.9")).
				row(25, 25, 30, "IAX2/205-1", "IAX2/203-9", linked("1795341610.9")).row(30, 30, 50, line, "IAX2/205-1").rows,
			[][]string{{a, b, "1795341610.9", "1795341610.9", a}},
		},
		{
			"a short call is held back behind a long one that began before",
			new(history).row(0, 2, 500, line, "IAX2/201-1").row(6, 8, 14, out, "IAX2/203-9", linked(b)).row(300, 302, 310, out, "IAX2/204-7", linked("1795341900.9")).rows,
			[][]string{{a}, {b}, {"1795341900.9"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, grouped(time.Minute, tt.rows)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A joined call goes by the earlier linkedid.
func TestJoinedCallKeepsTheEarlierLinkedID(t *testing.T) {
	t.Parallel()
	rows := new(history).row(0, 2, 14, line, "IAX2/201-1", linked("node-1795341600.1")).
		row(6, 8, 14, "IAX2/201-8", "IAX2/203-9", linked("node-1795341606.8")).rows
	if got, want := cdr.Assemble(rows, nil, rules(t)).LinkedID, "node-1795341600.1"; got != want {
		t.Errorf("LinkedID = %q, want %q", got, want)
	}
}

// A month of calls must not pile up: only those within the hold stay.
func TestGrouperForgets(t *testing.T) {
	t.Parallel()
	g := cdr.NewGrouper(time.Minute)
	most, given := 0, 0
	const calls = 20000
	for n := range calls {
		h := new(history).row(float64(n*10), -1, float64(n*10+5), line, fmt.Sprintf("IAX2/201-%d", n), linked(fmt.Sprintf("%d.%d", 1795341600+n*10, n)))
		given += len(g.Add(h.rows[0]))
		most = max(most, g.Open())
	}
	given += len(g.Flush())
	if given != calls {
		t.Errorf("%d calls came out, want %d", given, calls)
	}
	if most > 10 {
		t.Errorf("%d calls were held at once, want no more than those of a minute", most)
	}
}
