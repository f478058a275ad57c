package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jedib0t/go-pretty/v6/text"

	"sverka/internal/reconcile"
	"sverka/internal/report"
)

var update = flag.Bool("update", false, "write the golden files anew")

func moscow() *time.Location { return time.FixedZone("MSK", 3*60*60) }

func at(day, hour, minute, second int) time.Time {
	// Another zone than the site's: the writers must turn it.
	return time.Date(2026, 11, day, hour, minute, second, 0, moscow()).UTC()
}

// full has every kind of gap and what callers and PBXs can put into the texts.
func full() report.Report {
	r := report.Report{Site: "office", From: time.Date(2026, 11, 19, 0, 0, 0, 0, moscow()), To: time.Date(2026, 11, 20, 0, 0, 0, 0, moscow())}
	r.Add(reconcile.Plan{
		PBXCalls: 1204, Parts: 1180, PortalCalls: 1175, InSync: 1169,
		Gaps: []reconcile.Gap{
			{Kind: reconcile.KindMissing, LinkedID: "1763538903.12", ExternalID: "1763538903.12", Phone: "+79161234567", Start: at(19, 10, 15, 3), Employee: "201", Detail: "answered, 192 s of talk", Fixable: true},
			{Kind: reconcile.KindMissing, LinkedID: "1763535303.4", ExternalID: "1763535303.4/2", Phone: "", Start: at(19, 9, 55, 3), Employee: "202", Detail: "after a transfer, number hidden", Fixable: true},
			{Kind: reconcile.KindUnfinished, LinkedID: "1763539903.30", ExternalID: "1763539903.30", CallID: "externalCall.5e9d8ae2.1763539904", Phone: "+79160000001", Start: at(19, 11, 11, 43), Employee: "203", Detail: "registered 2026-11-19 11:11:44, never finished", Fixable: true},
			{Kind: reconcile.KindExtra, LinkedID: "1763540000.77", ExternalID: "1763540000.77", CallID: "externalCall.aa.1", Phone: "+79160000002", Start: at(19, 12, 0, 0), Employee: "user 17", Detail: "no such call in the CDR"},
			{Kind: reconcile.KindDuplicate, LinkedID: "1763541000.80", ExternalID: "1763541000.80", CallID: "externalCall.bb.2", Phone: "+79160000003", Start: at(19, 12, 10, 0), Employee: "201", Detail: "2 calls in Bitrix24: externalCall.bb.1, externalCall.bb.2"},
			{Kind: reconcile.KindDiffers, LinkedID: "mikopbx-1763542000.10565", ExternalID: "mikopbx-1763542000.10565", CallID: "externalCall.cc.1", Phone: "+79160000004", Start: at(19, 12, 20, 0), Employee: "Пётр Иванов <script>alert(1)</script>", Detail: "duration 192 s on the PBX, 12 s in Bitrix24; employee 201 on the PBX, user 1 in Bitrix24"},
			{Kind: reconcile.KindRecordMissing, LinkedID: "1763543000.90", ExternalID: "1763543000.90", CallID: "externalCall.dd.1", Phone: "+79160000005", Start: at(19, 12, 30, 0), Employee: "204", Detail: "in-4951234567-+79160000005-20261119-123000-1763543000.90.wav, 1.2 MB", Fixable: true},
		},
		Strangers: map[string]int{"299": 1, "204": 1001},
		Ignored: []reconcile.Ignored{
			{LinkedID: "1763530000.1", Phone: "201", Start: at(19, 8, 0, 0), Reason: "internal call"},
			{LinkedID: "1763530001.2", Phone: "+79169999999", Start: at(19, 8, 1, 0), Reason: "number in ignore.phones"},
		},
	})
	r.Add(reconcile.Plan{
		InSync:    1,
		Strangers: map[string]int{"299": 2, "777\x1b[31m<b>": 1},
		Gaps: []reconcile.Gap{
			{Kind: reconcile.KindRecordLost, LinkedID: "1763544000.91", ExternalID: "1763544000.91", CallID: "externalCall.ee.1", Phone: "+79160000006", Start: at(19, 12, 40, 0), Employee: "205", Detail: "=cmd|' /C calc'!A0"},
			{Kind: reconcile.KindUnmapped, LinkedID: "1763545000.92", ExternalID: "1763545000.92", Phone: "+1-2-3", Start: at(19, 12, 50, 0), Employee: "299", Detail: "nobody has extension 299:\n\x1b[31mred\x1b[0m \u202eabc", Fixable: true},
			{Kind: reconcile.KindError, LinkedID: "1763546000.93", ExternalID: "1763546000.93", Phone: "112", Employee: "-201", Detail: `Bitrix24 says: "Неверный <b>номер</b>"`},
		},
		Ignored: []reconcile.Ignored{{LinkedID: "1763530002.3", Phone: "202", Reason: "internal call"}},
	})
	return r
}

func clean() report.Report {
	return report.Report{
		Site: "склад", From: time.Date(2026, 11, 19, 0, 0, 0, 0, moscow()), To: time.Date(2026, 11, 19, 18, 30, 15, 0, moscow()),
		PBXCalls: 1, Parts: 1, PortalCalls: 1, InSync: 1,
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	table := func(width int) func(io.Writer, report.Report) error {
		return func(w io.Writer, r report.Report) error { return report.Table(w, r, width) }
	}
	tests := []struct {
		name  string
		write func(io.Writer, report.Report) error
		r     report.Report
	}{
		{"full.json", report.JSON, full()},
		{"full.csv", report.CSV, full()},
		{"full.html", report.HTML, full()},
		{"full-80.txt", table(80), full()},
		{"full-120.txt", table(120), full()},
		{"full-140.txt", table(140), full()},
		{"clean.json", report.JSON, clean()},
		{"clean.csv", report.CSV, clean()},
		{"clean.html", report.HTML, clean()},
		{"clean.txt", table(80), clean()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got bytes.Buffer
			if err := tt.write(&got, tt.r); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tt.name)
			if *update {
				if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// TestTableFits draws at every width that a terminal may have: no line is longer, no detail is lost, nothing moves the cursor.
func TestTableFits(t *testing.T) {
	t.Parallel()
	for width := 80; width <= 200; width++ {
		var b bytes.Buffer
		if err := report.Table(&b, full(), width); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if n := text.StringWidthWithoutEscSequences(line); n > width {
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
			if strings.TrimRight(line, " ") != line {
				t.Errorf("width %d: spaces at the end of %q", width, line)
			}
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Errorf("width %d: control characters in the table", width)
		}
		words := strings.Fields(b.String())
		for _, gap := range full().Gaps {
			if !contains(words, gap.LinkedID) || !contains(words, string(gap.Kind)) {
				t.Errorf("width %d: %s %s is not whole", width, gap.Kind, gap.LinkedID)
			}
		}
	}
}

func contains(words []string, want string) bool {
	for _, word := range words {
		if word == want {
			return true
		}
	}
	return false
}

func TestTableSummary(t *testing.T) {
	t.Parallel()
	gap := func(kind reconcile.Kind, n int) []reconcile.Gap {
		gaps := make([]reconcile.Gap, n)
		for i := range gaps {
			gaps[i] = reconcile.Gap{Kind: kind}
		}
		return gaps
	}
	tests := []struct {
		r    report.Report
		want string
	}{
		{
			report.Report{PBXCalls: 1204, Parts: 1180, InSync: 1170, Gaps: append(gap(reconcile.KindRecordMissing, 2), gap(reconcile.KindMissing, 8)...)},
			"1,204 calls on the PBX · 1,180 parts belong in Bitrix24 · 1,170 agree · 10 gaps (8 missing, 2 record_missing)",
		},
		{
			report.Report{PBXCalls: 1, Parts: 1, InSync: 1, Gaps: gap(reconcile.KindExtra, 1)},
			"1 call on the PBX · 1 part belongs in Bitrix24 · 1 agrees · 1 gap (1 extra)",
		},
		{report.Report{PBXCalls: 1204, Parts: 1180, InSync: 1180}, "In sync: 1,204 calls on the PBX, 1,180 parts in Bitrix24, nothing missing."},
		{report.Report{PBXCalls: 5, Parts: 5, InSync: 5, Ongoing: 1}, "In sync: 5 calls on the PBX, 5 parts in Bitrix24, nothing missing · 1 call not over yet"},
		{report.Report{}, "In sync: 0 calls on the PBX, 0 parts in Bitrix24, nothing missing."},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		if err := report.Table(&b, tt.r, 140); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "\n"+tt.want+"\n") {
			t.Errorf("got %s, want the line %q", b.String(), tt.want)
		}
	}
}

// TestJSONKeys holds the names that scripts rely on.
func TestJSONKeys(t *testing.T) {
	t.Parallel()
	for _, r := range []report.Report{full(), {}} {
		var b bytes.Buffer
		if err := report.JSON(&b, r); err != nil {
			t.Fatal(err)
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"site", "from", "to", "pbx_calls", "parts", "portal_calls", "in_sync", "ignored", "gaps", "by_kind"} {
			if value, ok := got[key]; !ok || string(value) == "null" {
				t.Errorf("%s: got %s, want a value", key, value)
			}
		}
		var gaps []map[string]any
		if err := json.Unmarshal(got["gaps"], &gaps); err != nil || len(gaps) != len(r.Gaps) {
			t.Fatalf("gaps: %d, %v; want %d", len(gaps), err, len(r.Gaps))
		}
		for _, gap := range gaps {
			for _, key := range []string{"kind", "linkedid", "external_id", "call_id", "phone", "start", "employee", "detail", "fixable"} {
				if _, ok := gap[key]; !ok {
					t.Errorf("a gap has no %s", key)
				}
			}
		}
	}
}

// TestCSVIsRead reads back what was written, apart from the guard against formulas.
func TestCSVIsRead(t *testing.T) {
	t.Parallel()
	r := report.Report{From: time.Date(2026, 11, 19, 0, 0, 0, 0, moscow())}
	cells := map[string]string{
		"+79161234567": "+79161234567", "+7916=1": "'+7916=1", "+1+2": "'+1+2", "+": "'+", "-201": "'-201", "=1": "'=1", "@SUM(A1)": "'@SUM(A1)",
		"\tx": "'\tx", "a,\"b\"\nc": "a,\"b\"\nc", "112": "112", "": "",
	}
	for cell := range cells {
		r.Gaps = append(r.Gaps, reconcile.Gap{Kind: reconcile.KindMissing, Phone: cell, Detail: cell, Employee: cell, LinkedID: "x" + cell})
	}
	var b bytes.Buffer
	if err := report.CSV(&b, r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != len(cells)+1 {
		t.Fatalf("%d rows, %v; want %d", len(rows), err, len(cells)+1)
	}
	for _, row := range rows[1:] {
		want := cells[strings.TrimPrefix(row[5], "x")]
		if row[2] != want || row[3] != want || row[4] != want {
			t.Errorf("cell %q: got %q, want %q", row[5], row[2:5], want)
		}
	}
}

func TestHTMLEscapes(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	r := full()
	r.Site = `"><img src=x onerror=alert(1)>`
	if err := report.HTML(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script>alert", "<img", "<b>номер", "http://", "https://"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if got := strings.Count(page, "<tr>\n<td data-key"); got != len(r.Gaps) {
		t.Errorf("got %d rows, want %d", got, len(r.Gaps))
	}
}

func TestSymbol(t *testing.T) {
	t.Parallel()
	want := map[reconcile.Kind]string{
		"missing": "-", "unfinished": "~", "extra": "+", "duplicate": "2", "differs": "*", "record_missing": "r", "record_lost": "?",
		"unmapped": "u", "error": "!", "none of ours": "",
	}
	for kind, symbol := range want {
		if got := report.Symbol(kind); got != symbol {
			t.Errorf("%s: got %q, want %q", kind, got, symbol)
		}
	}
}

var errFull = errors.New("disk is full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestWritersReportErrors(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(io.Writer, report.Report) error{
		"json": report.JSON, "csv": report.CSV, "html": report.HTML,
		"table": func(w io.Writer, r report.Report) error { return report.Table(w, r, 80) },
	} {
		if err := write(fullDisk{}, full()); !errors.Is(err, errFull) {
			t.Errorf("%s: got %v, want %v", name, err, errFull)
		}
	}
}

func BenchmarkWriters(b *testing.B) {
	r := full()
	for i := range 10_000 {
		gap := r.Gaps[i%10]
		gap.LinkedID = fmt.Sprint(i)
		r.Gaps = append(r.Gaps, gap)
	}
	for name, write := range map[string]func(io.Writer, report.Report) error{
		"json": report.JSON, "csv": report.CSV, "html": report.HTML,
		"table80":  func(w io.Writer, r report.Report) error { return report.Table(w, r, 80) },
		"table140": func(w io.Writer, r report.Report) error { return report.Table(w, r, 140) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := write(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
