package demo_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/demo"
	"sverka/internal/emulator"
)

// office is a portal that knows the office, with everything of a day delivered except what skip names.
func office(t *testing.T, sum demo.Summary, skip func(demo.Part) bool) *emulator.Portal {
	t.Helper()
	p, err := emulator.New(emulator.Options{Seed: demo.Seed(), Now: func() time.Time { return now(t) }, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, part := range sum.Sent {
		if skip == nil || !skip(part) {
			finish(t, p, part, register(t, p, part))
		}
	}
	return p
}

func do(t *testing.T, p *emulator.Portal, method string, params map[string]any) map[string]any {
	t.Helper()
	result, err := p.Do(t.Context(), method, params)
	if err != nil {
		t.Fatal(err)
	}
	out, ok := result.(map[string]any)
	if !ok {
		t.Fatalf("%s answers %T", method, result)
	}
	return out
}

func register(t *testing.T, p *emulator.Portal, part demo.Part) any {
	t.Helper()
	return do(t, p, "telephony.externalCall.register", map[string]any{
		"USER_ID": part.UserID, "PHONE_NUMBER": part.Phone, "TYPE": part.Type, "CALL_START_DATE": part.Start.Format(time.RFC3339),
		"EXTERNAL_CALL_ID": part.ExternalID, "LINE_NUMBER": part.Line, "SHOW": 0,
	})["CALL_ID"]
}

func finish(t *testing.T, p *emulator.Portal, part demo.Part, id any) {
	t.Helper()
	do(t, p, "telephony.externalCall.finish", map[string]any{
		"CALL_ID": id, "USER_ID": part.UserID, "DURATION": part.Talk, "STATUS_CODE": part.Status, "ADD_TO_CHAT": 0,
	})
	if part.Recording != "" {
		attach(t, p, id, read(t, part.Recording))
	}
}

func attach(t *testing.T, p *emulator.Portal, id any, bytes []byte) {
	t.Helper()
	do(t, p, "telephony.externalCall.attachRecord", map[string]any{
		"CALL_ID": id, "FILENAME": "a.wav", "FILE_CONTENT": base64.StdEncoding.EncodeToString(bytes),
	})
}

func TestCheckOfWhatIsRight(t *testing.T) {
	t.Parallel()
	sum := write(t, func(o *demo.Options) { o.Calls = 20 })
	got := sum.Check(office(t, sum, nil))
	want := demo.Verdict{Parts: sum.Parts, Recordings: sum.Recordings, Bytes: got.Bytes}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("verdict (-got +want):\n%s", diff)
	}
	if got.Bytes == 0 {
		t.Error("no bytes compared")
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	sum := write(t, func(o *demo.Options) { o.Calls = 17 })
	answered := sum.Sent[slices.IndexFunc(sum.Sent, func(p demo.Part) bool { return p.Kind == "inbound, answered" })]
	missed := sum.Sent[slices.IndexFunc(sum.Sent, func(p demo.Part) bool { return p.Kind == "inbound, missed" })]
	// instead delivers a part otherwise than it should be.
	instead := func(part demo.Part, change func(*demo.Part)) func(*testing.T, *emulator.Portal) {
		return func(t *testing.T, p *emulator.Portal) {
			changed := part
			change(&changed)
			finish(t, p, changed, register(t, p, changed))
		}
	}
	tests := []struct {
		name       string
		skip       string // the part that is not delivered as it should be
		do         func(*testing.T, *emulator.Portal)
		parts      int // right ones
		recordings int
		want       string
	}{
		{"a call is missing", missed.ExternalID, func(*testing.T, *emulator.Portal) {}, sum.Parts - 1, sum.Recordings, "0 times"},
		{"twice", "", instead(missed, func(*demo.Part) {}), sum.Parts - 1, sum.Recordings, "2 times"},
		{"a stranger", "", instead(missed, func(p *demo.Part) { p.ExternalID = "1.2" }), sum.Parts, sum.Recordings, `"1.2": 1 times`},
		{
			"not finished", missed.ExternalID, func(t *testing.T, p *emulator.Portal) { register(t, p, missed) },
			sum.Parts - 1, sum.Recordings, "never finished",
		},
		{"type", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Type = 3 }), sum.Parts - 1, sum.Recordings, "type 3, want 2"},
		{"status", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Status = "480" }), sum.Parts - 1, sum.Recordings, "status 480, want 304"},
		{"employee", missed.ExternalID, instead(missed, func(p *demo.Part) { p.UserID = 1 }), sum.Parts - 1, sum.Recordings, "employee 1, want"},
		{"client", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Phone = "+79160000000" }), sum.Parts - 1, sum.Recordings, "client +79160000000"},
		{"line", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Line = "+74950000000" }), sum.Parts - 1, sum.Recordings, "line +74950000000"},
		{
			"start", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Start = p.Start.Add(-4 * time.Second) }),
			sum.Parts - 1, sum.Recordings, "start ",
		},
		{"talk", answered.ExternalID, instead(answered, func(p *demo.Part) { p.Talk += 3 }), sum.Parts - 1, sum.Recordings, "talk "},
		{"talk of a missed call", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Talk = 1 }), sum.Parts - 1, sum.Recordings, "talk 1 s, want 0 s"},
		{"no recording", answered.ExternalID, instead(answered, func(p *demo.Part) { p.Recording = "" }), sum.Parts, sum.Recordings - 1, "has no recording"},
		{
			"a recording too many", missed.ExternalID, instead(missed, func(p *demo.Part) { p.Recording = answered.Recording }),
			sum.Parts, sum.Recordings, "want none",
		},
		{
			"cut recording", answered.ExternalID, func(t *testing.T, p *emulator.Portal) {
				silent := answered
				silent.Recording = ""
				id := register(t, p, silent)
				finish(t, p, silent, id)
				whole := read(t, answered.Recording)
				attach(t, p, id, whole[:len(whole)-2])
			}, sum.Parts, sum.Recordings - 1, "other bytes",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := office(t, sum, func(part demo.Part) bool { return part.ExternalID == tt.skip })
			tt.do(t, p)
			v := sum.Check(p)
			if len(v.Wrong) == 0 || !strings.Contains(strings.Join(v.Wrong, "\n"), tt.want) {
				t.Errorf("wrong: %q, want one that says %q", v.Wrong, tt.want)
			}
			if v.Parts != tt.parts || v.Recordings != tt.recordings {
				t.Errorf("%d parts and %d recordings are right, want %d and %d", v.Parts, v.Recordings, tt.parts, tt.recordings)
			}
		})
	}
}
