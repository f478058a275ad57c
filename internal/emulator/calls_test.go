package emulator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sverka/internal/emulator"
)

const (
	register = "telephony.externalCall.register"
	finish   = "telephony.externalCall.finish"
)

func TestRegisterRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	good := m{"USER_ID": 17, "PHONE_NUMBER": "+79995550001", "TYPE": 2}
	for _, c := range []struct {
		name string
		more m
		want string
	}{
		{"no user", m{"USER_ID": nil}, "USER_ID or USER_PHONE_INNER should be set"},
		{"type 0", m{"TYPE": nil}, "Unknown TYPE"},
		{"type 6", m{"TYPE": "6"}, "Unknown TYPE"},
		{"date", m{"CALL_START_DATE": "11.03.2026 12:00"}, "CALL_START_DATE should be in the ISO-8601 format"},
		{"bare date", m{"CALL_START_DATE": "2026-03-11"}, "CALL_START_DATE should be in the ISO-8601 format"},
		{"anonymous", m{"PHONE_NUMBER": "anonymous"}, "Unsupported phone number format"},
		{"dismissed", m{"USER_ID": 19}, "User is not found or is not active"},
		{"dismissed by inner number", m{"USER_ID": nil, "USER_PHONE_INNER": "203"}, "User is not found or is not active"},
		{"nobody", m{"USER_ID": 99}, "User is not found or is not active"},
	} {
		if got, want := s.refused(register, with(good, c.more)), "400 ERROR_CORE "+c.want; got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
	s.Dismiss(17)
	if got, want := s.refused(register, good), "400 ERROR_CORE User is not found or is not active"; got != want {
		t.Errorf("after Dismiss: got %s, want %s", got, want)
	}
}

func TestRegisterKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	line := strings.Repeat("7", 60)
	id := s.register(m{
		"USER_ID": nil, "USER_PHONE_INNER": "202", "PHONE_NUMBER": "тел. +7 (999) 555-00-01", "CALL_START_DATE": "2026-03-11T07:59:00+00:00",
		"LINE_NUMBER": line, "EXTERNAL_CALL_ID": "e1", "SHOW": nil,
	})
	want := []emulator.LiveCall{{
		CallID: id, ExternalID: "e1", UserID: 18, Phone: "+79995550001", Line: line[:50], Type: 2, Start: noon.Add(-time.Hour - time.Minute),
		Registered: noon, Shown: []int{18},
	}}
	if d := cmp.Diff(want, s.Live(), cmpopts.IgnoreUnexported(emulator.LiveCall{}), cmpopts.EquateApproxTime(0)); d != "" {
		t.Error(d)
	}
	if got := jsonOf(t, s.must("telephony.externalLine.get", nil)); !strings.Contains(got, `"NUMBER":"`+line[:50]+`"`) {
		t.Errorf("an unknown line is created: got %s", got)
	}
	if !strings.HasPrefix(id, "externalCall.") || !strings.HasSuffix(id, ".1773219600") {
		t.Errorf("got CALL_ID %s", id)
	}
}

// The rule of the portal's source: only an unfinished call with the same key whose start lies in the last 30 minutes is given again.
func TestRegisterAgain(t *testing.T) {
	t.Parallel()
	base := m{"EXTERNAL_CALL_ID": "e1", "LINE_NUMBER": "74951234567"}
	for _, c := range []struct {
		name   string
		first  m
		then   func(server, string)
		second m
		same   bool
	}{
		{"at once", nil, nil, nil, true},
		{"start is not part of the key", nil, nil, m{"CALL_START_DATE": "2020-01-01T00:00:00+03:00"}, true},
		{"fewer key parts match any", nil, nil, m{"EXTERNAL_CALL_ID": nil, "LINE_NUMBER": nil}, true},
		{"29 minutes later", nil, func(s server, _ string) { s.clock.Advance(29 * time.Minute) }, nil, true},
		{"31 minutes later", nil, func(s server, _ string) { s.clock.Advance(31 * time.Minute) }, nil, false},
		{"backfill: the start is old", m{"CALL_START_DATE": "2026-03-11T11:29:00+03:00"}, nil, nil, false},
		{"finished in between", nil, func(s server, id string) { s.finish(id, nil) }, nil, false},
		{"another user", nil, nil, m{"USER_ID": 18}, false},
		{"another line", nil, nil, m{"LINE_NUMBER": "2"}, false},
		{"another phone", nil, nil, m{"PHONE_NUMBER": "+79995550009"}, false},
		{"another type", nil, nil, m{"TYPE": 3}, false},
		{"another external id", nil, nil, m{"EXTERNAL_CALL_ID": "e2"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, emulator.Options{})
			first := s.register(with(base, c.first))
			if c.then != nil {
				c.then(s, first)
			}
			second := s.register(with(base, c.second))
			if got := first == second; got != c.same {
				t.Errorf("same CALL_ID: got %v, want %v", got, c.same)
			}
		})
	}
}

func TestFinish(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(m{"PHONE_NUMBER": "+79161234567", "EXTERNAL_CALL_ID": "e1"})
	got := s.must(finish, m{"CALL_ID": id, "USER_ID": 18, "DURATION": 42, "ADD_TO_CHAT": 0})
	want := m{
		"ID": 1.0, "CALL_ID": id, "EXTERNAL_CALL_ID": "e1", "PORTAL_USER_ID": 18.0, "PHONE_NUMBER": "+79161234567", "PORTAL_NUMBER": "REST_APP:",
		"INCOMING": "2", "CALL_DURATION": 42.0, "CALL_START_DATE": m{}, "CALL_STATUS": 1.0, "CALL_VOTE": nil, "COST": 0.0, "COST_CURRENCY": "",
		"CALL_FAILED_CODE": "200", "CALL_FAILED_REASON": "", "REST_APP_ID": nil, "REST_APP_NAME": nil, "CRM_ACTIVITY_ID": 1.0, "COMMENT": nil,
		"CRM_ENTITY_TYPE": "CONTACT", "CRM_ENTITY_ID": 1.0,
	}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Error(d)
	}
	if len(s.Live()) != 0 {
		t.Error("the call is still live")
	}
	again := s.refused(finish, m{"CALL_ID": id, "USER_ID": 18, "DURATION": 42})
	if want := "400 ERROR_CORE Call is not found (call should be registered prior to finishing)"; again != want {
		t.Errorf("second finish: got %s, want %s", again, want)
	}

	unknown := s.finish(s.register(m{"PHONE_NUMBER": "+79995550002"}), m{"DURATION": 0, "STATUS_CODE": nil})
	if got := unknown["CALL_FAILED_CODE"]; got != "304" {
		t.Errorf("status of a call without duration: got %v, want 304", got)
	}
	if got := jsonOf(t, unknown["ERRORS"]); got != `{"ACTIVITY_CREATION":"Could not find associated crm entity for the current call"}` {
		t.Errorf("unknown client: got ERRORS %s", got)
	}
	excluded := s.finish(s.register(m{"PHONE_NUMBER": "+79160000009", "CRM_CREATE": 1}), nil)
	if excluded["CRM_ACTIVITY_ID"] != nil || excluded["ERRORS"] != nil {
		t.Errorf("excluded number: got activity %v, errors %v, want neither", excluded["CRM_ACTIVITY_ID"], excluded["ERRORS"])
	}
}

func TestFinishRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(nil)
	for _, c := range []struct {
		name   string
		params m
		want   string
	}{
		{"number as CALL_ID", m{"CALL_ID": 5, "USER_ID": 17}, "INVALID_ARGUMENT CALL_ID must be a string"},
		{"no user", m{"CALL_ID": id}, "ERROR_CORE USER_ID or USER_PHONE_INNER should be set"},
		{"dismissed", m{"CALL_ID": id, "USER_ID": 19}, "ERROR_CORE User is not found or is not active"},
		{"unknown", m{"CALL_ID": "externalCall.x.1", "USER_ID": 17}, "ERROR_CORE Call is not found (call should be registered prior to finishing)"},
	} {
		if got, want := s.refused(finish, c.params), "400 "+c.want; got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
	for _, c := range []struct {
		name string
		more m
		good bool
	}{
		{"external id of 64", m{"EXTERNAL_CALL_ID": strings.Repeat("я", 64)}, true},
		{"external id of 65", m{"EXTERNAL_CALL_ID": strings.Repeat("я", 65)}, false},
		{"phone of 20", m{"PHONE_NUMBER": strings.Repeat("7", 20)}, true},
		{"phone of 21", m{"PHONE_NUMBER": strings.Repeat("7", 21)}, false},
	} {
		status, out := s.call(finish, m{"CALL_ID": s.register(c.more), "USER_ID": 17, "DURATION": 1})
		if (status == 200) != c.good || !c.good && out["error_description"] != "Unexpected database error" {
			t.Errorf("%s: got %d %v", c.name, status, out["error_description"])
		}
	}
}

// A row that the table refuses leaves the activity and the live call behind, each time.
func TestRefusedRowLeavesActivity(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(m{"PHONE_NUMBER": "+79161234567", "EXTERNAL_CALL_ID": strings.Repeat("x", 65)})
	for range 2 {
		s.refused(finish, m{"CALL_ID": id, "USER_ID": 17, "DURATION": 1})
	}
	if a, l, c := len(s.Activities()), len(s.Live()), len(s.Calls()); a != 2 || l != 1 || c != 0 {
		t.Errorf("got %d activities, %d live calls, %d rows; want 2, 1, 0", a, l, c)
	}
}

func TestOldLiveCallsAreForgotten(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	old := m{"CALL_START_DATE": noon.Add(-31 * 24 * time.Hour).Format(time.RFC3339)}
	s.finish(s.register(old), nil) // in time: before the agent comes
	gone := s.register(old)
	kept := s.register(m{"CALL_START_DATE": noon.Add(-29 * 24 * time.Hour).Format(time.RFC3339)})
	s.clock.Advance(2 * time.Hour)
	if got, want := s.refused(finish, m{"CALL_ID": gone, "USER_ID": 17}), "400 ERROR_CORE Call is not found"; !strings.HasPrefix(got, want) {
		t.Errorf("31 days old: got %s, want %s", got, want)
	}
	s.finish(kept, nil)
	s.register(old)
	s.Sweep()
	if n := len(s.Live()); n != 0 {
		t.Errorf("after Sweep: %d live calls, want 0", n)
	}
}

func TestCards(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(nil)
	shown := func() []int { return s.Live()[0].Shown }
	if got := s.must("telephony.externalCall.show", m{"CALL_ID": id, "USER_ID": []int{17, 18}}); got != true || !cmp.Equal(shown(), []int{17, 18}) {
		t.Errorf("show: got %v, shown to %v", got, shown())
	}
	if got := s.must("telephony.externalCall.hide", m{"CALL_ID": id}); got != true || !cmp.Equal(shown(), []int{18}) {
		t.Errorf("hide: got %v, shown to %v", got, shown())
	}
	for _, method := range []string{"telephony.externalCall.show", "telephony.externalCall.hide"} {
		if got := s.must(method, m{"CALL_ID": "x"}); got != false {
			t.Errorf("%s of an unknown call: got %v, want false", method, got)
		}
	}
}

func TestMissedCallIsCalledBack(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.finish(s.register(nil), m{"DURATION": 0, "STATUS_CODE": "304"})
	s.finish(s.register(nil), m{"DURATION": 0, "STATUS_CODE": "486"})
	s.finish(s.register(m{"TYPE": 1}), m{"DURATION": 0, "STATUS_CODE": "486"})
	if c := s.Calls(); !c[0].Missed || c[0].CalledBack || c[1].Missed {
		t.Errorf("got %+v; want the first missed and not called back, the second not missed", c[:2])
	}
	s.finish(s.register(m{"TYPE": 1}), nil)
	if c := s.Calls(); !c[0].CalledBack {
		t.Error("an outgoing call that was answered does not count as calling back")
	}
}

func TestTranscription(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.done(nil)
	live := s.register(nil)
	const method = "telephony.call.attachTranscription"
	line := func(more m) []m {
		return []m{with(m{"SIDE": "User", "START_TIME": 0, "STOP_TIME": 2, "MESSAGE": "Алло"}, more)}
	}
	for _, c := range []struct {
		params m
		want   string
	}{
		{m{}, "CALL_ID should be set"},
		{m{"CALL_ID": id}, "MESSAGES should be an array"},
		{m{"CALL_ID": id, "MESSAGES": line(m{"SIDE": "Me"})}, "MESSAGES[0][SIDE] should be either Client or User"},
		{m{"CALL_ID": id, "MESSAGES": line(m{"START_TIME": -1})}, "MESSAGES[0][START_TIME] should be greater or equal to zero"},
		{m{"CALL_ID": id, "MESSAGES": line(m{"STOP_TIME": 0})}, "MESSAGES[0][STOP_TIME] should be greater than zero"},
		{m{"CALL_ID": id, "MESSAGES": line(m{"MESSAGE": ""})}, "MESSAGES[0][MESSAGE] is empty"},
		{m{"CALL_ID": live, "MESSAGES": line(nil)}, "Call " + live + " is not found. Is it finished?"},
	} {
		if got, want := s.refused(method, c.params), "400 ERROR_CORE "+c.want; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	got := s.must(method, m{"CALL_ID": id, "MESSAGES": line(nil)})
	if d := cmp.Diff(any(m{"TRANSCRIPT_ID": 1.0}), got); d != "" {
		t.Error(d)
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	const add, update, remove = "telephony.externalLine.add", "telephony.externalLine.update", "telephony.externalLine.delete"
	if got := jsonOf(t, s.must(add, m{"NUMBER": "74951234567", "NAME": "Main"})); got != `{"ID":1}` {
		t.Errorf("add: got %s", got)
	}
	for _, c := range []struct {
		method string
		params m
		want   string
	}{
		{add, m{}, "NUMBER should not be empty"},
		{add, m{"NUMBER": "74951234567"}, "Line already exists"},
		{add, m{"NUMBER": strings.Repeat("1", 51)}, "DB error"},
		{update, m{"NUMBER": "74951234567"}, "There are no fields to update"},
		{update, m{"NUMBER": "1", "NAME": "x"}, "Could not find line with number 1"},
		{remove, m{"NUMBER": "1"}, "Could not find line with number 1"},
	} {
		if got, want := s.refused(c.method, c.params), "400 ERROR_CORE "+c.want; got != want {
			t.Errorf("%s: got %s, want %s", c.method, got, want)
		}
	}
	if got := jsonOf(t, s.must(update, m{"NUMBER": "74951234567", "CRM_AUTO_CREATE": "N"})); got != `{"ID":"1"}` {
		t.Errorf("update: got %s", got)
	}
	if got := jsonOf(t, s.must("telephony.externalLine.get", nil)); got != `[{"CRM_AUTO_CREATE":"N","NAME":"Main","NUMBER":"74951234567"}]` {
		t.Errorf("get: got %s", got)
	}
	if got := jsonOf(t, s.must(remove, m{"NUMBER": "74951234567"})); got != `[]` {
		t.Errorf("delete: got %s", got)
	}
}
