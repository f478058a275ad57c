package cdrdb_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sverka/cdr"
	"sverka/cdr/cdrdb"
)

// epoch is 2026-11-22 10:00:00 UTC.
const epoch = 1795341600

func at(seconds int) time.Time { return time.Unix(epoch+int64(seconds), 0).UTC() }

// calls makes n rows, some of which start together, and every fifth of which has no answer.
func (s *source) calls(n int) []cdr.Row {
	rows := make([]cdr.Row, 0, n)
	for i := range n {
		begin := at(i / 3)
		id := fmt.Sprintf("%d.%d", begin.Unix(), 100000+i)
		r := cdr.Row{
			ID: int64(i + 1), LinkedID: id, UniqueID: id, Sequence: int64(i), Start: begin, Src: "79161234567", Dst: "1001", CallerID: `"Иван" <79161234567>`,
			CallerNum: "79161234567", Context: "from-trunk", Channel: fmt.Sprintf("PJSIP/mango-%08x", i), DstChannel: fmt.Sprintf("PJSIP/201-%08x", i),
			LastApp: "Dial", LastData: "PJSIP/201/sip:201@10.0.0.1,20", Duration: 11, BillSec: 8, Disposition: "ANSWERED", DID: "74951112233",
			Recording: "external-" + id + ".wav", UserField: "u", AccountCode: "a", PeerAccount: "p", FromAccount: "SIP-TRUNK-1", ToAccount: "201",
			DialStatus: "ANSWERED", App: i%7 == 0,
		}
		if s.fraction {
			r.Start = r.Start.Add(time.Duration(i%3) * 200 * time.Millisecond)
		}
		r.Answer, r.End = r.Start.Add(3*time.Second), r.Start.Add(11*time.Second)
		if i%5 == 0 {
			r.Answer, r.BillSec, r.Disposition, r.Recording = time.Time{}, 0, "NO ANSWER", ""
		}
		if strings.Contains(s.ddl, "latin1") {
			r.CallerID = `"Ivan" <79161234567>`
		}
		rows = append(rows, r)
	}
	return rows
}

func read(t testing.TB, db *cdrdb.DB, from, to time.Time) []cdr.Row {
	t.Helper()
	var rows []cdr.Row
	err := db.Rows(context.Background(), from, to, func(r cdr.Row) error {
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func ids(rows []cdr.Row) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.UniqueID)
	}
	return out
}

// The suite that every kind of table passes.
func TestSources(t *testing.T) {
	t.Parallel()
	for _, tb := range tables() {
		t.Run(tb.name, func(t *testing.T) {
			t.Parallel()
			t.Run("whole rows in order", func(t *testing.T) {
				t.Parallel()
				s := newSource(t, tb)
				rows := s.calls(30)
				shuffled := slices.Clone(rows)
				slices.SortFunc(shuffled, func(a, b cdr.Row) int { return cmp.Compare(a.ID%7, b.ID%7) })
				s.insert(t, shuffled...)
				if diff := gocmp.Diff(s.expect(rows...), read(t, s.open(t), at(0), at(1000))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
			t.Run("a period holds its first moment and not its last", func(t *testing.T) {
				t.Parallel()
				s := newSource(t, tb)
				rows := s.calls(30)
				s.insert(t, rows...)
				got := read(t, s.open(t), at(2), at(5))
				if diff := gocmp.Diff(ids(rows[6:15]), ids(got)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if got := read(t, s.open(t), at(5), at(5)); len(got) != 0 {
					t.Errorf("an empty period has %d rows", len(got))
				}
			})
			t.Run("many pages, each row once", func(t *testing.T) {
				t.Parallel()
				s := newSource(t, tb)
				rows := s.calls(3500)
				crowd := s.calls(1) // more in one second than a page holds
				for i := range 1200 {
					r := crowd[0]
					r.ID, r.Sequence = int64(10000+i), int64(10000+i)
					r.UniqueID = fmt.Sprintf("%d.%d", epoch+600, 200000+i)
					r.LinkedID, r.Start, r.End = r.UniqueID, at(600).Add(r.Start.Sub(at(0))), at(611).Add(r.Start.Sub(at(0)))
					rows = append(rows, r)
				}
				slices.SortStableFunc(rows, func(a, b cdr.Row) int { return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.UniqueID, b.UniqueID)) })
				s.insert(t, rows...)
				if diff := gocmp.Diff(ids(rows), ids(read(t, s.open(t), at(0), at(5000)))); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
			t.Run("one call", func(t *testing.T) {
				t.Parallel()
				s := newSource(t, tb)
				rows := s.calls(9)
				s.insert(t, rows...)
				db := s.open(t)
				got, err := db.Call(context.Background(), rows[4].LinkedID)
				if err != nil {
					t.Fatal(err)
				}
				if diff := gocmp.Diff(s.expect(rows[4]), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				for _, id := range []string{"1795341600.1", "nonsense"} {
					if got, err := db.Call(context.Background(), id); err != nil || len(got) != 0 {
						t.Errorf("Call(%q) = %v, %v, want nothing", id, got, err)
					}
				}
			})
			t.Run("the reader stops when told to", func(t *testing.T) {
				t.Parallel()
				s := newSource(t, tb)
				s.insert(t, s.calls(9)...)
				stop := errors.New("enough")
				n := 0
				err := s.open(t).Rows(context.Background(), at(0), at(100), func(cdr.Row) error {
					if n++; n == 4 {
						return stop
					}
					return nil
				})
				if !errors.Is(err, stop) || n != 4 {
					t.Errorf("Rows gave %d rows and %v, want 4 and %v", n, err, stop)
				}
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := s.open(t).Rows(ctx, at(0), at(100), func(cdr.Row) error { return nil }); !errors.Is(err, context.Canceled) {
					t.Errorf("Rows of a canceled context = %v, want %v", err, context.Canceled)
				}
			})
			t.Run("the repeated hour", func(t *testing.T) {
				t.Parallel()
				repeatedHour(t, newSource(t, tb))
			})
			t.Run("bad rows", func(t *testing.T) {
				t.Parallel()
				badRows(t, newSource(t, tb))
			})
			t.Run("no events", func(t *testing.T) {
				t.Parallel()
				db := newSource(t, tb).open(t)
				if got, err := db.Events(context.Background(), []string{"1795341600.1"}); got != nil || err != nil {
					t.Errorf("Events without a table = %v, %v, want nil, nil", got, err)
				}
				if err := db.Ping(context.Background()); err != nil {
					t.Errorf("Ping = %v", err)
				}
			})
		})
	}
}

// repeatedHour writes a call every ten minutes through the night in which the clock goes back, and reads it in pieces.
func repeatedHour(t *testing.T, s *source) {
	t.Helper()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 10, 24, 23, 0, 0, 0, time.UTC) // 01:00 in summer time; the clock goes back two hours later
	var rows []cdr.Row
	for i := range 24 {
		r := s.calls(1)[0]
		r.Start = begin.Add(time.Duration(i) * 10 * time.Minute).In(berlin)
		r.ID, r.UniqueID = int64(i+1), fmt.Sprintf("%d.%d", r.Start.Unix(), i)
		r.LinkedID, r.Duration, r.BillSec = r.UniqueID, 3600, 3500
		r.Answer, r.End = r.Start.Add(100*time.Second), r.Start.Add(time.Hour)
		rows = append(rows, r)
	}
	s.insert(t, rows...)
	db := s.open(t, func(c *cdrdb.Config) { c.Zone = berlin })
	sameMoment := gocmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := gocmp.Diff(s.expect(rows...), read(t, db, begin, begin.Add(4*time.Hour)), sameMoment); diff != "" {
		t.Errorf("the night (-want +got):\n%s", diff)
	}
	for i := range rows {
		from := begin.Add(time.Duration(i) * 10 * time.Minute)
		if diff := gocmp.Diff(ids(rows[i:i+1]), ids(read(t, db, from, from.Add(10*time.Minute)))); diff != "" {
			t.Errorf("ten minutes from %s (-want +got):\n%s", from, diff)
		}
		got, err := db.Call(context.Background(), rows[i].LinkedID)
		if err != nil || len(got) != 1 || !got[0].Start.Equal(rows[i].Start) {
			t.Errorf("Call(%s) = %v, %v", rows[i].LinkedID, got, err)
		}
	}
}

// badRows puts rows among good ones that lack what a row needs. They cost no other row anything.
func badRows(t *testing.T, s *source) {
	t.Helper()
	rows := s.calls(3)
	rows[1].Start = time.Time{} // stored as NULL, '' or 0000-00-00; the uniqueid tells it
	nobody := s.calls(1)[0]
	nobody.ID, nobody.UniqueID, nobody.LinkedID = 101, "", ""
	never := s.calls(1)[0]
	never.ID, never.UniqueID, never.LinkedID, never.Start = 102, "x", "x", time.Time{}
	if s.driver == "mysql" {
		s.exec(t, "SET SESSION sql_mode = ''") // as FreePBX's own connection
	}
	s.insert(t, append(slices.Clone(rows), nobody, never)...)
	var bad []string
	db := s.open(t, func(c *cdrdb.Config) {
		c.OnBad = func(row string, err error) {
			if !strings.Contains(err.Error(), row) {
				t.Errorf("OnBad(%q, %v): the error does not name the row", row, err)
			}
			bad = append(bad, row)
		}
	})
	for range 2 {
		got := read(t, db, at(0), at(100))
		if diff := gocmp.Diff(ids(rows), ids(got)); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if !got[1].Start.Equal(at(0)) || len(got[1].Problems) != 1 {
			t.Errorf("undated row starts at %v with problems %q, want %v and one", got[1].Start, got[1].Problems, at(0))
		}
	}
	if len(bad) != 2 {
		t.Errorf("OnBad was told of %q, want two rows, once each", bad)
	}
	// One call has to be found without its date, too.
	if got, err := db.Call(context.Background(), rows[1].UniqueID); err != nil || len(got) != 1 {
		t.Errorf("Call of an undated row = %v, %v", got, err)
	}
}
