package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sverka/internal/emulator"
	"sverka/internal/ledger"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/pbxtest"
	"sverka/internal/portal"
)

// TestEveryKindOfGap plants one gap of each kind and finds it, with both sides' values in its detail.
func TestEveryKindOfGap(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 200, recorded: 40, keep: true, extra: "employees: {fallback: 1}"})
	r.backfill(0)
	r.gaps(0)

	var answered []pbxtest.Part // without a recording, one part, oldest first
	var recorded []pbxtest.Call
	files := make(map[string]pbxtest.Call)
	for _, c := range r.pbx.Calls() {
		if c.File != "" {
			files[c.LinkedID] = c
		}
	}
	for _, p := range r.pbx.Parts() {
		switch c, ok := files[p.LinkedID]; {
		case ok && p.Recorded && len(c.Parts) == 1:
			recorded = append(recorded, c)
		case p.N == 1 && p.Talk > 5 && !p.Recorded && !strings.Contains(p.ExternalID, "/"):
			answered = append(answered, p)
		}
	}
	rows := make(map[string]emulator.Call)
	for _, c := range r.portal.Calls() {
		rows[c.ExternalID] = c
	}
	// copyOf gives the portal's row of a part as the start of another one.
	copyOf := func(p pbxtest.Part, callID string) emulator.Call {
		c := rows[p.ExternalID]
		c.ID, c.CallID = 0, callID
		return c
	}
	type planted struct {
		kind     string
		linkedID string
		details  []string
		fixable  bool
	}
	var want []planted
	plant := func(kind, linkedID string, fixable bool, details ...string) {
		want = append(want, planted{kind, linkedID, details, fixable})
	}
	ctx := context.Background()
	insert := func(kind string, at time.Time) pbxtest.Call {
		c := r.pbx.Add(kind, at)
		if err := r.pbx.Insert(ctx, r.db, c.LinkedID); err != nil {
			t.Fatal(err)
		}
		return c
	}
	last := answered[len(answered)-1].Start

	missing := insert("02a", last.Add(time.Minute))
	plant("missing", missing.LinkedID, true, "not in Bitrix24")

	extra := copyOf(answered[0], "externalCall.extra.1")
	extra.ExternalID = fmt.Sprintf("%d.77", last.Unix())
	r.portal.Plant(extra)
	plant("extra", extra.ExternalID, false, "PBX no such call", "externalCall.extra.1")

	r.portal.Plant(copyOf(answered[1], "externalCall.twice.1"))
	plant("duplicate", answered[1].LinkedID, false, "PBX 1", "portal 2", "externalCall.twice.1", rows[answered[1].ExternalID].CallID)

	differs := insert("01", last.Add(3*time.Minute))
	truth := differs.Parts[0]
	wrong := copyOf(answered[2], "externalCall.differs.1")
	wrong.ExternalID, wrong.UserID, wrong.Phone, wrong.Status, wrong.Duration, wrong.Start = truth.ExternalID, 1, "+79990000000", "304", 999, truth.Start.Add(time.Minute)
	r.portal.Plant(wrong)
	plant("differs", differs.LinkedID, false, "status: PBX 200, portal 304", "duration: PBX", "portal 999 s", "portal user 1",
		"PBX "+truth.Phone+", portal +79990000000", "start: PBX "+truth.Start.In(zone).Format("2006-01-02 15:04:05"))

	unfinished := insert("01", last.Add(5*time.Minute))
	l, err := sqlite.Open(ctx, r.ledger(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	dead := insert("01", last.Add(7*time.Minute))
	buried := ledger.Part{Key: ledger.Key{Site: "office", LinkedID: dead.LinkedID, N: 1}, ExternalID: dead.LinkedID, Step: ledger.Seen}
	buried.Bury("refused", "Unknown TYPE")
	err = l.Save(ctx, ledger.Change{Part: buried}, ledger.Change{Part: ledger.Part{
		Key: ledger.Key{Site: "office", LinkedID: unfinished.LinkedID, N: 1}, ExternalID: unfinished.LinkedID, Step: ledger.Registered,
		CallID: portal.CallID("externalCall.unfinished.1"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	plant("unfinished", unfinished.LinkedID, true, "externalCall.unfinished.1", "never finished")
	plant("error", dead.LinkedID, true, "Unknown TYPE", "sverka retry")

	// The portal loses one recording; of another call the PBX's file and the staged one are gone, too.
	for i, kind := range []string{"record_missing", "record_lost"} {
		c := recorded[i]
		bare := rows[c.LinkedID]
		if !r.portal.Forget(bare.RecordFileID) {
			t.Fatalf("the portal has no file %d", bare.RecordFileID)
		}
		if kind == "record_lost" {
			if err := os.Remove(filepath.Join(r.dir, "monitor", c.File)); err != nil {
				t.Fatal(err)
			}
			day, err := filepath.Glob(filepath.Join(r.staging(), "office", "*", c.LinkedID))
			if err != nil || len(day) != 1 {
				t.Fatalf("staged: %v, %v", day, err)
			}
			if err := os.RemoveAll(day[0]); err != nil {
				t.Fatal(err)
			}
		}
		plant(kind, c.LinkedID, kind == "record_missing", c.Name, "portal none")
	}

	r.exec("UPDATE cdr SET channel = REPLACE(channel, ?, '9998'), dstchannel = REPLACE(dstchannel, ?, '9998') WHERE linkedid = ?",
		answered[3].Extension, answered[3].Extension, answered[3].LinkedID)
	plant("unmapped", answered[3].LinkedID, false, "9998", "employees.fallback")

	got := r.gaps(exitGaps)
	found := make(map[string][]gapJSON)
	for _, g := range got.Gaps {
		found[g.Kind+" "+g.LinkedID] = append(found[g.Kind+" "+g.LinkedID], g)
	}
	for _, w := range want {
		gaps := found[w.kind+" "+w.linkedID]
		if len(gaps) != 1 {
			t.Errorf("%s of %s: found %d times", w.kind, w.linkedID, len(gaps))
			continue
		}
		wantWords(t, w.kind, gaps[0].Detail, w.details...)
		if gaps[0].Fixable != w.fixable {
			t.Errorf("%s: fixable %t, want %t", w.kind, gaps[0].Fixable, w.fixable)
		}
		if got.ByKind[w.kind] == 0 {
			t.Errorf("by_kind lacks %s: %v", w.kind, got.ByKind)
		}
	}

	// What backfill can mend it mends; what it cannot is still told.
	r.run("retry", dead.LinkedID)
	r.backfill(exitGaps)
	for _, g := range r.gaps(exitGaps).Gaps {
		if g.Fixable {
			t.Errorf("after backfill there is still %s of %s: %s", g.Kind, g.LinkedID, g.Detail)
		}
	}
}

func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	if _, err := r.db.ExecContext(context.Background(), query, args...); err != nil {
		r.t.Fatal(err)
	}
}

// TestBadInput: each bad row or file is a gap or nothing, and costs no other call anything.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 150, recorded: 20, keep: true, settle: "2s"})
	bad, err := r.pbx.PlantBad(context.Background(), r.db)
	if err != nil {
		t.Fatal(err)
	}
	r.backfill(exitGaps)
	rows := make(map[string]int)
	for _, c := range r.portal.Calls() {
		rows[c.ExternalID]++
	}
	for _, p := range r.pbx.Parts() {
		if rows[p.ExternalID] != 1 {
			t.Errorf("good part %s: %d calls in the portal", p.ExternalID, rows[p.ExternalID])
		}
	}
	gaps := make(map[string][]string)
	report := r.gaps(exitGaps)
	for _, g := range report.Gaps {
		gaps[g.LinkedID] = append(gaps[g.LinkedID], g.Kind)
		if g.Detail == "" {
			t.Errorf("%s of %s says nothing", g.Kind, g.LinkedID)
		}
	}
	for _, b := range bad {
		got := strings.Join(gaps[b.LinkedID], " ")
		if b.Outcome != pbxtest.Harmless && got != b.Gap {
			t.Errorf("%s (%s): gaps %q, want %q", b.What, b.LinkedID, got, b.Gap)
		}
		for _, p := range b.Parts {
			if rows[p.ExternalID] != 1 {
				t.Errorf("%s: part %s is %d times in the portal, want once", b.What, p.ExternalID, rows[p.ExternalID])
			}
		}
	}
	for _, b := range bad {
		if b.Growing {
			if err := r.pbx.Finish(b); err != nil {
				t.Fatal(err)
			}
			r.backfill(exitGaps)
			for _, g := range r.gaps(exitGaps).Gaps {
				if g.LinkedID == b.LinkedID {
					t.Errorf("%s, finished: still %s: %s", b.What, g.Kind, g.Detail)
				}
			}
		}
	}
}

// TestWhatStopsIt: each thing that can be wrong around sverka has its exit code and says what to do.
func TestWhatStopsIt(t *testing.T) {
	t.Parallel()
	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html><title>Welcome</title><body>It works</body></html>")
	}))
	t.Cleanup(html.Close)
	r := newRig(t, rigOptions{calls: 3})
	config, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	webhook := between(t, string(config), "webhook: '", "'")
	tests := []struct {
		name string
		old  string // replaced in config.yaml
		new  string
		args []string
		code int
		says []string
	}{
		{name: "a misspelt key", old: "timezone:", new: "timezon:", code: exitUsage, says: []string{"config.yaml:2", "timezon", "timezone"}},
		{name: "a wrong webhook", old: "/rest/1/demo/", new: "/rest/1/wrong/", code: exitUnreachable, says: []string{"webhook"}},
		{name: "a portal that is not there", old: webhook, new: "http://127.0.0.1:9/rest/1/demo/", code: exitUnreachable, says: []string{"127.0.0.1:9"}},
		{name: "a portal that answers HTML", old: webhook, new: html.URL + "/rest/1/demo/", code: exitUnreachable, says: []string{"Welcome"}},
		{name: "a database that is not there", old: "@tcp(127.0.0.1:", new: "@tcp(127.0.0.2:", code: exitUnreachable, says: []string{"127.0.0.2"}},
		{name: "a wrong password", old: "cdr: {dsn: '", new: "cdr: {dsn: 'x", code: exitUnreachable, says: []string{"cdr.dsn"}},
		{name: "a table that is not there", old: "cdr: {", new: "cdr: {table: nothing, ", code: exitUnreachable, says: []string{"nothing", "cdr.table"}},
		{name: "nobody to ask", args: []string{"backfill", "--from", "7d"}, code: exitUsage, says: []string{"--yes"}},
		{name: "no period", args: []string{"gaps"}, code: exitUsage, says: []string{"--from"}},
		{name: "no date", args: []string{"gaps", "--from", "yesterday"}, code: exitUsage, says: []string{"yesterday"}},
		{name: "a period that ends before it begins", args: []string{"gaps", "--from", "2026-01-02", "--to", "2026-01-01"}, code: exitUsage, says: []string{"before"}},
		{name: "an unknown flag", args: []string{"gaps", "--form", "x"}, code: exitUsage, says: []string{"--form"}},
		{name: "an unknown command", args: []string{"fill"}, code: exitUsage, says: []string{"fill"}},
		{name: "an unknown call", args: []string{"call", "1.1"}, code: exitError, says: []string{"1.1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			own := *r
			own.t = t
			if tt.old != "" {
				text := strings.Replace(string(config), tt.old, tt.new, 1)
				if text == string(config) {
					t.Fatalf("config.yaml has no %q", tt.old)
				}
				own.config = filepath.Join(t.TempDir(), "config.yaml")
				if err := os.WriteFile(own.config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if tt.args == nil {
				tt.args = []string{"gaps", "--from", "7d"}
			}
			got := own.run(tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, want %d\n%s", got.code, tt.code, got.stderr)
			}
			wantWords(t, "stderr", got.stderr, tt.says...)
			if strings.Contains(got.stderr, "/rest/1/demo") || strings.Contains(got.stderr, "/rest/1/wrong") {
				t.Errorf("stderr shows the webhook:\n%s", got.stderr)
			}
		})
	}
}

func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, s, ok := strings.Cut(s, before)
	if !ok {
		t.Fatalf("no %q", before)
	}
	s, _, ok = strings.Cut(s, after)
	if !ok {
		t.Fatalf("no %q", after)
	}
	return s
}

// TestStagingFull: a full staging area is a gap, and when there is room again the recordings go on.
func TestStagingFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 60, recorded: 20, keep: true})
	config, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	small := strings.Replace(string(config), "staging: {", "staging: {max_bytes: 200KiB, ", 1)
	if err := os.WriteFile(r.config, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	out := r.backfill(exitGaps)
	if out.Failed != 0 || out.Delivered != len(r.pbx.Parts()) || out.Recordings.Failed == 0 || out.Recordings.Attached == 0 {
		t.Errorf("got %+v, want all calls delivered, and some recordings", out)
	}
	full := 0
	for _, e := range out.Errors {
		if e.Class == "staging_full" {
			full++
		}
	}
	if full != out.Recordings.Failed {
		t.Errorf("%d of %d failures say that staging is full", full, out.Recordings.Failed)
	}
	if err := os.WriteFile(r.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	r.backfill(0)
	r.check()
}

// TestTwoAtOnce: two backfills of one ledger take turns and double nothing.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 300, keep: true})
	var both [2]*exec.Cmd
	for i := range both {
		both[i] = r.command("backfill", "--from", r.from, "--to", r.to, "--yes", "--json")
		if err := both[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range both {
		if err := cmd.Wait(); err != nil {
			t.Errorf("backfill: %v", err)
		}
	}
	r.check()
}

// TestCall tells all that is known of a call.
func TestCall(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 30, recorded: 8, cel: true, keep: true})
	var part pbxtest.Part
	for _, p := range r.pbx.Parts() {
		if p.Recorded && p.N == 1 {
			part = p
		}
	}
	before := r.run("call", part.LinkedID)
	if before.code != exitGaps {
		t.Errorf("before: exit code %d, want %d\n%s", before.code, exitGaps, before.stderr)
	}
	wantWords(t, "call before delivery", before.stdout, part.LinkedID, part.Phone, "does not have it", "missing")
	r.backfill(0)
	row := emulator.Call{}
	for _, c := range r.portal.Calls() {
		if c.ExternalID == part.ExternalID {
			row = c
		}
	}
	for _, id := range []string{part.LinkedID, part.ExternalID, row.CallID} {
		after := r.run("call", id)
		if after.code != exitDone {
			t.Errorf("call %s: exit code %d, want 0\n%s", id, after.code, after.stderr)
		}
		wantWords(t, "call "+id, after.stdout, part.LinkedID, row.CallID, "verified", "recording attached", "Both sides agree")
	}
}
