package cdr_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sketch is what a person checks of a call, on one line for the call and one for each part:
// "201 8s +0s" says who talked, how long, and how long after the start of the call; then who rang and how many recordings there are.
func sketch(c cdr.Call) []string {
	dir := map[cdr.Direction]string{cdr.Inbound: "in", cdr.Outbound: "out", cdr.Internal: "internal"}[c.Direction]
	lines := []string{fmt.Sprintf("%s %s %s", dir, status(c.Status), c.Phone)}
	for _, p := range c.Parts {
		who := p.Extension
		if p.Phone != "" {
			who = p.Phone + " via " + p.Via
		}
		s := fmt.Sprintf("%d: %s %s %ds +%ds", p.N, status(p.Status), who, p.Talk, int(p.Start.Sub(c.Start).Round(time.Second)/time.Second))
		if len(p.Rang) > 0 {
			s += " rang " + strings.Join(p.Rang, ",")
		}
		if len(p.Recordings) > 0 {
			s += fmt.Sprintf(" rec %d", len(p.Recordings))
		}
		lines = append(lines, s)
	}
	return lines
}

func status(s cdr.Status) string {
	return map[cdr.Status]string{
		cdr.Answered: "answered", cdr.Missed: "missed", cdr.Busy: "busy", cdr.NoAnswer: "noanswer", cdr.Failed: "failed",
		cdr.Cancelled: "cancelled", cdr.Voicemail: "voicemail",
	}[s]
}

// What the rows of each fixture mean, worked out by hand from reference/cdr-ami.md. Where channel events tell more than rows, and where the
// columns of one schema tell more than another's, both are given.
var fixtures = []struct {
	name string
	want map[string][]string
}{
	{"asterisk-01", map[string][]string{"": {"in answered +79161234567", "1: answered 201 8s +0s rang 201 rec 1"}}},
	{"asterisk-02a", map[string][]string{"": {"in missed +79161234567", "1: missed  0s +0s rang 201"}}},
	{"asterisk-02b", map[string][]string{"": {"in missed +79161234567", "1: missed  0s +0s rang 201"}}},
	{"asterisk-03a", map[string][]string{"": {"in answered +79161234567", "1: answered 202 6s +0s rang 201,202"}}},
	{"asterisk-03b", map[string][]string{"": {"in answered +79161234567", "1: answered 202 6s +0s rang 201,202 rec 1"}}},
	{"asterisk-04", map[string][]string{
		// The first row says 4 s of 4.8 s; the talk with 203 begins when 201 leaves.
		"":    {"in answered +79161234567", "1: answered 201 4s +0s rang 201 rec 1", "2: answered 203 6s +16s rec 1"},
		"cel": {"in answered +79161234567", "1: answered 201 5s +0s rang 201 rec 1", "2: answered 203 7s +16s rec 1"},
	}},
	{"asterisk-05", map[string][]string{
		// Without events the second row counts the ringing of 203 as talk: 8 s for 6 s.
		"":    {"in answered +79161234567", "1: answered 201 4s +0s rang 201 rec 1", "2: answered 203 8s +7s rang 203 rec 1"},
		"cel": {"in answered +79161234567", "1: answered 201 5s +0s rang 201 rec 1", "2: answered 203 6s +10s rang 203 rec 1"},
	}},
	{"asterisk-06", map[string][]string{"": {"out answered +79035550000", "1: answered 201 7s +0s rec 1"}}},
	{"asterisk-07a", map[string][]string{"": {"out busy +79035550000", "1: busy 201 0s +0s"}}},
	{"asterisk-08", map[string][]string{"": {"internal answered ", "1: answered 202 5s +0s rang 202 rec 1"}}},
	{"asterisk-09", map[string][]string{"": {"in missed +79161234567", "1: missed  0s +0s"}}},
	{"asterisk-10", map[string][]string{"": {"in answered +79161234567", "1: answered +79035550000 via 201 6s +0s rang 201 rec 1"}}},
	{"asterisk-11a", map[string][]string{"": {"in answered +79161234567", "1: answered 202 6s +0s rang 201,202"}}},
	{"asterisk-13b", map[string][]string{
		// 201 answered first; without events the client's ringing counts as talk.
		"":    {"out answered +79035550000", "1: answered 201 9s +0s rec 1"},
		"cel": {"out answered +79035550000", "1: answered 201 6s +0s rec 1"},
	}},
	{"mikopbx-m01", map[string][]string{"": {"in answered +79161234567", "1: answered 201 8s +0s rang 201 rec 1"}}},
	{"mikopbx-m02a", map[string][]string{"": {"in missed +79161234567", "1: missed  0s +0s rang 201"}}},
	{"mikopbx-m03", map[string][]string{"": {"in answered +79161234567", "1: answered 202 6s +0s rang 201,202 rec 1"}}},
	{"mikopbx-m04", map[string][]string{
		// billsec of the first row is 10 and counts the consultation; its file is 6 s long.
		"": {"in answered +79161234567", "1: answered 201 6s +0s rang 201 rec 1", "2: answered 203 5s +11s rec 1"},
	}},
	{"mikopbx-m05", map[string][]string{
		"": {"in answered +79161234567", "1: answered 201 7s +0s rang 201 rec 1", "2: answered 203 10s +10s rang 203 rec 1"},
	}},
	{"mikopbx-m06", map[string][]string{"": {"out answered +79035550000", "1: answered 201 7s +0s rec 1"}}},
	{"mikopbx-m07a", map[string][]string{"": {"out busy +79035550000", "1: busy 201 0s +0s"}}},
	{"mikopbx-m08", map[string][]string{"": {"internal answered ", "1: answered 202 5s +0s rang 202 rec 1"}}},
	{"mikopbx-m09", map[string][]string{"": {"in missed +79161234567", "1: missed  0s +0s"}}},
	{"mikopbx-m10", map[string][]string{"": {"in answered +79161234567", "1: answered +79035550000 via 201 6s +0s rang 201 rec 1"}}},
}

func TestFixtures(t *testing.T) {
	t.Parallel()
	for _, tt := range fixtures {
		f := loadFixture(t, tt.name)
		if len(f.Rows) > 0 {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				checkFixture(t, tt.name, tt.want[""], cdr.Assemble(f.mikopbx(t), nil, rules(t)))
			})
			continue
		}
		for _, schema := range []string{"freepbx", "vanilla"} {
			for _, with := range []string{"", "cel"} {
				name := strings.TrimSuffix(tt.name+"-"+schema+"-"+with, "-")
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					var events []cdr.Event
					want := tt.want[""]
					if with != "" {
						events = f.events(t)
						if w, ok := tt.want["cel"]; ok {
							want = w
						}
					}
					if schema == "vanilla" {
						want = withoutRecordings(want) // the table has no such column
					}
					checkFixture(t, name, want, cdr.Assemble(f.asterisk(t, schema), events, rules(t)))
				})
			}
		}
	}
}

// Every captured file has its case: a new one must not go unnoticed.
func TestEveryFixtureIsChecked(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(fixtures), len(files); got != want {
		t.Errorf("%d cases for %d files", got, want)
	}
}

func withoutRecordings(lines []string) []string {
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i], _, _ = strings.Cut(l, " rec ")
	}
	return out
}

func checkFixture(t *testing.T, name string, want []string, call cdr.Call) {
	t.Helper()
	if diff := cmp.Diff(want, sketch(call)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	if len(call.Problems) > 0 {
		t.Errorf("%s: problems %q", name, call.Problems)
	}
	var got bytes.Buffer
	enc := json.NewEncoder(&got)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(call); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(golden), got.String()); diff != "" {
		t.Errorf("%s differs from its golden file (-want +got); go test ./cdr -update writes it anew:\n%s", name, diff)
	}
}
