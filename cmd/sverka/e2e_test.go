package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sverka/internal/emulator"
)

// TestTenThousandCalls is the main job: all calls of a real MariaDB, 1,000 of them recorded, against a portal that keeps its limits.
func TestTenThousandCalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 10_000, recorded: 1_000, cel: true, limits: true})
	parts := len(r.pbx.Parts())

	first := r.backfill(0)
	if first.Calls != 10_000 || first.Parts != parts || first.Planned != parts || first.Delivered != parts || first.Failed != 0 || first.Already != 0 {
		t.Errorf("first run: got %+v, want %d parts delivered", first, parts)
	}
	r.check()
	if refused := r.portal.Requests().RefusedBucket; refused > 0 {
		t.Errorf("%d requests ran into the portal's limit", refused)
	}

	before := r.portal.Requests()
	second := r.backfill(0)
	if second.Planned != 0 || second.Delivered != 0 || second.Already != parts || second.Recordings.Planned != 0 {
		t.Errorf("second run: got %+v, want nothing planned and %d there", second, parts)
	}
	after := r.portal.Requests()
	for _, method := range []string{"telephony.externalcall.register", "telephony.externalcall.finish", "telephony.externalcall.attachrecord"} {
		if after.Methods[method] != before.Methods[method] {
			t.Errorf("second run wrote: %d calls of %s", after.Methods[method]-before.Methods[method], method)
		}
	}

	gaps := r.gaps(0)
	if gaps.PBXCalls != 10_000 || gaps.Parts != parts || gaps.PortalCalls != parts || gaps.InSync != parts || len(gaps.Gaps) != 0 {
		t.Errorf("gaps: got %d calls, %d parts, %d in the portal, %d in sync, %d gaps; want %d parts in sync",
			gaps.PBXCalls, gaps.Parts, gaps.PortalCalls, gaps.InSync, len(gaps.Gaps), parts)
	}
}

// TestKilledFiftyTimes: the same with answers lost, errors and resets, killed at random moments and started again.
func TestKilledFiftyTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{
		calls: 10_000, recorded: 1_000, cel: true, limits: true, keep: true,
		faults: emulator.Faults{Lost: 0.05, Error: 0.025, ErrorAfter: 0.025, Reset: 0.05},
	})
	moments := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		cmd := r.command("backfill", "--from", r.from, "--to", r.to, "--yes", "--json")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(200+moments.IntN(4000)) * time.Millisecond) // the moment of the kill is what is tested
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	r.untilDone()
	r.check()
	r.portal.SetFaults(emulator.Faults{})
	if gaps := r.gaps(0); gaps.InSync != len(r.pbx.Parts()) {
		t.Errorf("gaps: %d in sync, want %d", gaps.InSync, len(r.pbx.Parts()))
	}
}

// untilDone runs backfill again and again until nothing is missing, as an admin would whose portal is having a bad day.
func (r *rig) untilDone() {
	r.t.Helper()
	const most = 15
	var last result
	for range most {
		last = r.run("backfill", "--from", r.from, "--to", r.to, "--yes", "--json")
		if last.code == 0 {
			return
		}
	}
	r.t.Fatalf("still not done after %d runs: exit code %d\n%s\n%s", most, last.code, last.stdout, last.stderr)
}

// TestLedgerDeleted: without its ledger sverka finds in the portal what it delivered, and doubles nothing.
func TestLedgerDeleted(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 600, recorded: 60, cel: true, keep: true})
	half := r.backfill(0, "--limit", "300")
	if half.Delivered < 250 || half.Delivered > 400 {
		t.Fatalf("--limit 300 delivered %d parts", half.Delivered)
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock", ".migrate"} {
		if err := os.Remove(r.ledger() + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	rest := r.backfill(0)
	if rest.Already != half.Delivered {
		t.Errorf("after the ledger was deleted %d parts were there already, want %d", rest.Already, half.Delivered)
	}
	r.check()
	r.gaps(0)
}

// TestDryRun changes nothing, on either side.
func TestDryRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 50, recorded: 5})
	out := r.backfill(exitGaps, "--dry-run")
	if out.Planned != len(r.pbx.Parts()) || out.Delivered != 0 || out.Recordings.Planned == 0 {
		t.Errorf("got %+v", out)
	}
	if calls := r.portal.Calls(); len(calls) != 0 {
		t.Errorf("%d calls in the portal after a dry run", len(calls))
	}
	if staged, _ := filepath.Glob(filepath.Join(r.staging(), "office", "*")); len(staged) != 0 {
		t.Errorf("staged after a dry run: %v", staged)
	}
	text := r.run("backfill", "--from", r.from, "--to", r.to, "--dry-run")
	wantWords(t, "the plan", text.stdout, "to deliver", "deliver ", r.pbx.Parts()[0].LinkedID)
}

// TestScope: the flags that narrow a backfill.
func TestScope(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 120, recorded: 30, keep: true})
	recorded := 0
	for _, p := range r.pbx.Parts() {
		if p.Recorded {
			recorded++
		}
	}
	one := r.pbx.Parts()[3]
	byPhone := r.backfill(0, "--phone", one.Phone, "--no-recordings")
	for _, c := range r.portal.Calls() {
		if c.Phone != one.Phone {
			t.Errorf("--phone %s delivered a call of %s", one.Phone, c.Phone)
		}
	}
	if byPhone.Delivered == 0 || byPhone.Recordings.Planned != 0 {
		t.Errorf("--phone --no-recordings: got %+v", byPhone)
	}
	calls := r.backfill(0, "--no-recordings")
	if calls.Recordings.Attached != 0 || calls.Delivered+byPhone.Delivered != len(r.pbx.Parts()) {
		t.Errorf("--no-recordings: got %+v", calls)
	}
	records := r.backfill(0, "--recordings-only")
	if records.Planned != 0 || records.Recordings.Attached != recorded {
		t.Errorf("--recordings-only: got %+v, want %d attached", records, recorded)
	}
	r.check()
}

// TestJSONShape holds the names that scripts rely on.
func TestJSONShape(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 5})
	for _, tt := range []struct {
		args []string
		keys []string
	}{
		{[]string{"backfill", "--yes", "--json"}, []string{"from", "to", "calls", "parts", "planned", "delivered", "already", "ignored", "failed", "recordings", "errors"}},
		{[]string{"gaps", "--format", "json"}, []string{"site", "from", "to", "pbx_calls", "parts", "portal_calls", "in_sync", "ignored", "gaps", "by_kind"}},
	} {
		got := r.run(append(tt.args, "--from", r.from, "--to", r.to)...)
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(got.stdout), &object); err != nil {
			t.Fatalf("%v: %v\n%s", tt.args, err, got.stdout)
		}
		for _, key := range tt.keys {
			if _, ok := object[key]; !ok {
				t.Errorf("%v lacks %q", tt.args, key)
			}
		}
	}
}
