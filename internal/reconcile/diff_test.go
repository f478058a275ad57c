package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

const linkedID = "1795344238.194"

var (
	key   = ledger.Key{Site: "office", LinkedID: linkedID, N: 1}
	start = time.Date(2026, 11, 22, 13, 43, 58, 0, time.FixedZone("MSK", 3*3600))
)

// want gives an answered inbound call as it should be in the portal.
func want(change func(*reconcile.Want)) reconcile.Want {
	w := reconcile.Want{
		Key: key,
		Call: portal.Call{
			ExternalID: linkedID, Type: portal.Incoming, UserID: 17, Phone: "+79161234567", Start: start, Duration: 35, Status: portal.StatusOK,
		},
		Extension: "201",
	}
	if change != nil {
		change(&w)
	}
	return w
}

// row gives the portal's row that agrees with want.
func row(change func(*portal.Row)) portal.Row {
	r := portal.Row{
		ID: 7, CallID: "externalCall.a.1", ExternalID: linkedID, UserID: 17, Phone: "+79161234567", Type: portal.Incoming,
		Start: start.UTC(), Duration: 35, Status: portal.StatusOK,
	}
	if change != nil {
		change(&r)
	}
	return r
}

func recorded(w *reconcile.Want) {
	w.Record = &reconcile.Record{Names: []string{"in-1.wav"}, Start: start, End: start.Add(time.Minute), Talk: 35}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	part := func(step ledger.Step, change func(*ledger.Part)) ledger.Part {
		p := ledger.Part{Key: key, ExternalID: linkedID, Step: step}
		if change != nil {
			change(&p)
		}
		return p
	}
	there := reconcile.RecordState{There: true}
	tests := []struct {
		name    string
		wants   []reconcile.Want
		rows    []portal.Row
		part    *ledger.Part
		record  *reconcile.RecordState
		known   map[string]int
		kinds   []reconcile.Kind
		details []string // words that the first gap's detail holds
		fixable bool     // of the first gap
		verbs   []reconcile.Verb
	}{
		{
			name: "both sides agree, the ledger does not know it", wants: []reconcile.Want{want(nil)}, rows: []portal.Row{row(nil)},
			verbs: []reconcile.Verb{reconcile.Adopt},
		},
		{
			name: "both sides agree and all is verified", wants: []reconcile.Want{want(nil)}, rows: []portal.Row{row(nil)},
			part: new(part(ledger.Verified, nil)),
		},
		{
			name: "finished, not verified yet", wants: []reconcile.Want{want(nil)}, rows: []portal.Row{row(nil)}, part: new(part(ledger.Finished, nil)),
			verbs: []reconcile.Verb{reconcile.Settle},
		},
		{
			name: "missing", wants: []reconcile.Want{want(nil)},
			kinds: []reconcile.Kind{reconcile.KindMissing}, fixable: true, verbs: []reconcile.Verb{reconcile.Deliver},
		},
		{
			name: "missing and waiting to be tried again", wants: []reconcile.Want{want(nil)},
			part:  new(part(ledger.Seen, func(p *ledger.Part) { p.Fail("retryable", "overloaded", start) })),
			kinds: []reconcile.Kind{reconcile.KindMissing}, details: []string{"tried once", "overloaded", "next try"}, fixable: true,
			verbs: []reconcile.Verb{reconcile.Deliver},
		},
		{
			name: "in doubt", wants: []reconcile.Want{want(nil)},
			part:  new(part(ledger.Seen, func(p *ledger.Part) { p.Intend(ledger.ToRegister, start) })),
			kinds: []reconcile.Kind{reconcile.KindMissing}, details: []string{"answer was lost"}, fixable: true, verbs: []reconcile.Verb{reconcile.Deliver},
		},
		{
			name: "unfinished", wants: []reconcile.Want{want(nil)},
			part:  new(part(ledger.Registered, func(p *ledger.Part) { p.CallID = "externalCall.a.1" })),
			kinds: []reconcile.Kind{reconcile.KindUnfinished}, details: []string{"externalCall.a.1"}, fixable: true, verbs: []reconcile.Verb{reconcile.Deliver},
		},
		{
			name: "delivered before and gone from the portal is not sent twice", wants: []reconcile.Want{want(nil)},
			part:  new(part(ledger.Verified, func(p *ledger.Part) { p.CallID, p.StatID = "externalCall.a.1", 7 })),
			kinds: []reconcile.Kind{reconcile.KindMissing}, details: []string{"externalCall.a.1", "row 7", "sverka retry"},
		},
		{
			name: "failed for good", wants: []reconcile.Want{want(nil)},
			part:  new(part(ledger.Seen, func(p *ledger.Part) { p.Bury("refused", "Unknown TYPE") })),
			kinds: []reconcile.Kind{reconcile.KindError}, details: []string{"Unknown TYPE", "sverka retry " + linkedID}, fixable: true,
		},
		{
			name:  "no number",
			wants: []reconcile.Want{want(func(w *reconcile.Want) { w.Blocked, w.BlockKind = "the caller hid the number", reconcile.KindError })},
			kinds: []reconcile.Kind{reconcile.KindError}, details: []string{"hid the number"},
		},
		{
			name: "nobody to give it to",
			wants: []reconcile.Want{want(func(w *reconcile.Want) {
				w.Call.UserID, w.Unmapped, w.Blocked, w.BlockKind = 0, "extension 299 belongs to nobody", "extension 299 belongs to nobody", reconcile.KindUnmapped
			})},
			kinds: []reconcile.Kind{reconcile.KindUnmapped}, details: []string{"299"},
		},
		{
			name: "delivered under the fallback", wants: []reconcile.Want{want(func(w *reconcile.Want) { w.Unmapped = "extension 299 belongs to nobody" })},
			rows: []portal.Row{row(nil)}, part: new(part(ledger.Verified, nil)),
			kinds: []reconcile.Kind{reconcile.KindUnmapped}, details: []string{"299"},
		},
		{
			name: "duplicate", wants: []reconcile.Want{want(nil)}, part: new(part(ledger.Verified, nil)),
			rows:  []portal.Row{row(nil), row(func(r *portal.Row) { r.ID, r.CallID = 9, "externalCall.b.2" })},
			kinds: []reconcile.Kind{reconcile.KindDuplicate}, details: []string{"PBX 1 call", "portal 2", "externalCall.a.1", "externalCall.b.2"},
		},
		{
			name: "everything differs", wants: []reconcile.Want{want(nil)}, part: new(part(ledger.Verified, nil)),
			rows: []portal.Row{row(func(r *portal.Row) {
				r.Status, r.UserID, r.Phone, r.Duration, r.Start = "304", 1, "+79160000000", 38, start.Add(3*time.Second)
			})},
			kinds: []reconcile.Kind{reconcile.KindDiffers}, details: []string{
				"status: PBX 200, portal 304", "employee: PBX 201 (user 17), portal user 1", "phone: PBX +79161234567, portal +79160000000",
				"duration: PBX 35 s, portal 38 s", "start: PBX 2026-11-22 13:43:58, portal 2026-11-22 13:44:01",
			},
		},
		{
			name: "two seconds are no difference", wants: []reconcile.Want{want(nil)}, part: new(part(ledger.Verified, nil)),
			rows: []portal.Row{row(func(r *portal.Row) { r.Duration, r.Start, r.Phone = 33, start.Add(-2*time.Second), "79161234567" })},
		},
		{
			name: "recording missing", wants: []reconcile.Want{want(recorded)}, rows: []portal.Row{row(nil)}, record: &there,
			kinds: []reconcile.Kind{reconcile.KindRecordMissing}, details: []string{"in-1.wav", "portal none"}, fixable: true,
			verbs: []reconcile.Verb{reconcile.Attach},
		},
		{
			name: "recording may still come", wants: []reconcile.Want{want(recorded)}, rows: []portal.Row{row(nil)},
			record: &reconcile.RecordState{Wait: true, Detail: "not there yet"},
			kinds:  []reconcile.Kind{reconcile.KindRecordLost}, details: []string{"in-1.wav", "not there yet"},
			verbs: []reconcile.Verb{reconcile.Attach},
		},
		{
			name: "recording lost", wants: []reconcile.Want{want(recorded)}, rows: []portal.Row{row(nil)},
			record: &reconcile.RecordState{Detail: "no such file"},
			kinds:  []reconcile.Kind{reconcile.KindRecordLost}, details: []string{"in-1.wav", "no such file"},
		},
		{
			name: "recordings are not compared", wants: []reconcile.Want{want(recorded)}, rows: []portal.Row{row(nil)},
			verbs: []reconcile.Verb{reconcile.Adopt},
		},
		{
			name: "extra", rows: []portal.Row{row(nil)}, known: map[string]int{linkedID: 0},
			kinds: []reconcile.Kind{reconcile.KindExtra}, details: []string{"PBX no such call", "externalCall.a.1"},
		},
		{
			name: "a call that began outside the period is no extra", rows: []portal.Row{row(nil)}, known: map[string]int{linkedID: 1},
		},
		{
			name: "an extra part", wants: []reconcile.Want{want(nil)}, part: new(part(ledger.Verified, nil)), known: map[string]int{linkedID: 1},
			rows:  []portal.Row{row(nil), row(func(r *portal.Row) { r.ID, r.CallID, r.ExternalID = 8, "externalCall.c.3", linkedID+"/2" })},
			kinds: []reconcile.Kind{reconcile.KindExtra}, details: []string{"1 part", "part 2"},
		},
		{
			name: "another program's call is none of ours", rows: []portal.Row{row(func(r *portal.Row) { r.ExternalID = "crm-form-7" })},
		},
		{
			name: "a call of click-to-call is known by its CALL_ID", wants: []reconcile.Want{want(nil)},
			part: new(part(ledger.Verified, func(p *ledger.Part) { p.CallID = "externalCall.a.1" })),
			rows: []portal.Row{row(func(r *portal.Row) { r.ExternalID = "" })},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := reconcile.Input{
				Wants: tt.wants, Rows: tt.rows, Known: tt.known, Ledger: map[ledger.Key]ledger.Part{},
				From: start.Add(-time.Hour), To: start.Add(time.Hour), Zone: start.Location(),
			}
			if tt.part != nil {
				in.Ledger[key] = *tt.part
			}
			if tt.record != nil {
				in.Records = map[ledger.Key]reconcile.RecordState{key: *tt.record}
			}
			plan := reconcile.Diff(in)
			var kinds []reconcile.Kind
			for _, g := range plan.Gaps {
				kinds = append(kinds, g.Kind)
			}
			if d := cmp.Diff(kinds, tt.kinds); d != "" {
				t.Fatalf("gaps: got -, want +\n%s", d)
			}
			var verbs []reconcile.Verb
			for _, c := range plan.Changes {
				verbs = append(verbs, c.Verb)
			}
			if d := cmp.Diff(verbs, tt.verbs); d != "" {
				t.Errorf("changes: got -, want +\n%s", d)
			}
			if inSync := len(tt.wants) - min(len(tt.wants), len(tt.kinds)); plan.InSync != inSync && tt.name != "an extra part" {
				t.Errorf("in sync: got %d, want %d", plan.InSync, inSync)
			}
			if len(plan.Gaps) == 0 {
				return
			}
			gap := plan.Gaps[0]
			for _, word := range tt.details {
				if !strings.Contains(gap.Detail, word) {
					t.Errorf("detail %q lacks %q", gap.Detail, word)
				}
			}
			if gap.Fixable != tt.fixable {
				t.Errorf("fixable: got %t, want %t", gap.Fixable, tt.fixable)
			}
			if gap.LinkedID != linkedID || gap.Phone != "+79161234567" || gap.Employee == "" && tt.name != "nobody to give it to" {
				t.Errorf("gap names the wrong call: %+v", gap)
			}
		})
	}
}
