package demo_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/demo"
	"sverka/internal/emulator"
)

// TestRowsHaveTheShapesOfAMikoPBX holds each kind of call against rows that were derived from MikoPBX's source: the same columns are
// filled, with the same kinds of values.
func TestRowsHaveTheShapesOfAMikoPBX(t *testing.T) {
	t.Parallel()
	sum := write(t, func(o *demo.Options) { o.Calls = 20 })
	byKind := map[string]string{}
	for _, part := range sum.Sent {
		linkedID, _, _ := strings.Cut(part.ExternalID, "/")
		byKind[part.Kind] = linkedID
	}
	sent := map[string]bool{}
	for _, part := range sum.Sent {
		sent[part.ExternalID] = true
	}
	table := map[string][]map[string]string{}
	for _, row := range rows(t, sum.CDR) {
		table[row["linkedid"]] = append(table[row["linkedid"]], row)
		if !sent[row["linkedid"]] {
			byKind["internal"] = row["linkedid"]
		}
	}
	tests := []struct{ fixture, kind string }{
		{"m01", "inbound, answered"},
		{"m02a", "inbound, missed"},
		{"m03", "queue, answered"},
		{"m04", "attended transfer"},
		{"m05", "blind transfer"},
		{"m06", "outbound, answered"},
		{"m07a", "outbound, busy"},
		{"m08", "internal"},
		{"m09", "IVR, abandoned"},
		{"m10", "forwarded to a mobile"},
	}
	for _, tt := range tests {
		t.Run(tt.kind, func(t *testing.T) {
			t.Parallel()
			got, want := shapes(table[byKind[tt.kind]]), shapes(fixture(t, tt.fixture))
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("rows of call %s (-got +want):\n%s", byKind[tt.kind], diff)
			}
		})
	}
}

// fixture reads the rows of a captured or derived call, all values as texts.
func fixture(t *testing.T, name string) []map[string]string {
	t.Helper()
	var file struct{ Rows []map[string]any }
	if err := json.Unmarshal(read(t, filepath.Join("testdata", "mikopbx-"+name+".json")), &file); err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, row := range file.Rows {
		texts := map[string]string{}
		for column, value := range row {
			texts[column] = fmt.Sprint(value)
		}
		out = append(out, texts)
	}
	return out
}

// What a value is, rather than which.
var kindsOfValue = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}`), "time"},
	{regexp.MustCompile(`PJSIP/SIP-TRUNK-1A2B3C4D-[0-9a-f]{8}`), "trunk channel"},
	{regexp.MustCompile(`PJSIP/20\d-[0-9a-f]{8}`), "phone channel"},
	{regexp.MustCompile(`/storage/.*/monitor/\d{4}/\d\d/\d\d/\d\d/transfer_20\d_20\d_mikopbx-\d+\.\d+\.\w+`), "transfer file"},
	{regexp.MustCompile(`/storage/.*/monitor/\d{4}/\d\d/\d\d/\d\d/mikopbx-\d+\.\d+_\w{6}\.\w+`), "file"},
	{regexp.MustCompile(`mikopbx-\d+\.\d+_\w{6}`), "channel id"},
	{regexp.MustCompile(`mikopbx-\d+\.\d+`), "call id"},
	{regexp.MustCompile(`\[C-[0-9a-f]{8}\]`), "log id"},
	{regexp.MustCompile(`[78]\d{10}`), "number"},
	{regexp.MustCompile(`20\d`), "extension"},
	{regexp.MustCompile(`22001\d\d`), "queue"},
	{regexp.MustCompile(`Queue:22001\d\d`), "queue channel"},
}

// shapes describes rows, each kind of row once.
func shapes(rows []map[string]string) []string {
	var out []string
	for _, row := range rows {
		var columns []string
		for column, value := range row {
			switch column {
			case "id", "src_name", "dst_name":
				continue // names are left out in the fixtures
			case "duration", "billsec":
				if value != "0" {
					value = "seconds"
				}
			}
			for _, k := range kindsOfValue {
				if k.what.FindString(value) == value && value != "" {
					value = k.name
					break
				}
			}
			columns = append(columns, column+"="+value)
		}
		slices.Sort(columns)
		out = append(out, strings.Join(columns, "\n"))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestTheOfficeIsAGoodSeed(t *testing.T) {
	t.Parallel()
	seed := demo.Seed()
	if len(seed.Employees) != 6 || len(seed.Contacts) == 0 || len(seed.Leads) != 1 || len(seed.Excluded) != 1 {
		t.Errorf("seed has %d employees, %d contacts, %d leads, %d excluded numbers; want 6, some, 1, 1",
			len(seed.Employees), len(seed.Contacts), len(seed.Leads), len(seed.Excluded))
	}
	for i, e := range seed.Employees {
		if want := fmt.Sprint(201 + i); e.Inner != want || !e.Active {
			t.Errorf("employee %d has inner number %s, want %s and active", e.ID, e.Inner, want)
		}
	}
	if !slices.ContainsFunc(seed.Contacts, func(c emulator.SeedItem) bool { return c.Deal }) {
		t.Error("no contact has a deal")
	}
}
