package emulator_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

// handler is an application's address that keeps what is posted to it.
type handler struct {
	*httptest.Server
	got chan url.Values
}

func newHandler(t *testing.T) handler {
	t.Helper()
	h := handler{got: make(chan url.Values, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		h.got <- r.PostForm
	}))
	t.Cleanup(h.Close)
	return h
}

// next waits for one event.
func (h handler) next(t *testing.T) url.Values {
	t.Helper()
	select {
	case v := <-h.got:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return nil
	}
}

// about gives the data of an event as sorted "key=value".
func about(v url.Values) []string {
	var out []string
	for k := range v {
		if strings.HasPrefix(k, "data[") {
			out = append(out, strings.TrimPrefix(k, "data")+"="+v.Get(k))
		}
	}
	slices.Sort(out)
	return out
}

func TestInstallBringsTokens(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	if err := s.Install(t.Context(), h.URL); err == nil {
		t.Fatal("installed by a portal that does not know its address")
	}
	s.SetAddress(s.root())
	if err := s.Install(t.Context(), h.URL); err != nil {
		t.Fatal(err)
	}
	e := h.next(t)
	if got, want := e.Get("event"), "ONAPPINSTALL"; got != want {
		t.Errorf("event: got %s, want %s", got, want)
	}
	if got, want := about(e), []string{"[ACTIVE]=Y", "[INSTALLED]=Y", "[LANGUAGE_ID]=ru", "[VERSION]=1"}; !cmp.Equal(got, want) {
		t.Errorf("data: got %q, want %q", got, want)
	}
	if got := s.as(e.Get("auth[access_token]")).must("profile", nil).(m)["ADMIN"]; got != true {
		t.Errorf("ADMIN: got %v, want true", got)
	}
	if status, out := s.exchange(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {e.Get("auth[refresh_token]")}}); status != http.StatusOK {
		t.Errorf("refresh: %d %v", status, out)
	}
	if e.Get("auth[application_token]") == "" || e.Get("auth[client_endpoint]") != s.root()+"/rest/" {
		t.Errorf("auth: %v", e)
	}
	if err := s.Install(t.Context(), s.root()+"/nowhere"); err == nil {
		t.Error("no error from a handler that answers 404")
	}
}

func TestRevokedApp(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	g, err := s.Grant(1)
	if err != nil {
		t.Fatal(err)
	}
	a := s.as(g.AccessToken)
	a.must("event.bind", m{"event": "OnAppUninstall", "handler": h.URL})
	a.must("telephony.externalLine.add", m{"NUMBER": "100"})
	s.RevokeApp()
	e := h.next(t)
	if e.Get("event") != "ONAPPUNINSTALL" || e.Has("auth[access_token]") || e.Get("auth[application_token]") != g.ApplicationToken {
		t.Errorf("farewell: %v", e)
	}
	if got, want := a.refused("profile", nil), "401 APPLICATION_NOT_FOUND"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, out := s.exchange(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}}); out["error"] != "invalid_client" {
		t.Errorf("refresh: %v", out)
	}
	if err := s.Install(t.Context(), h.URL); err != nil {
		t.Fatal(err)
	}
	back := s.as(h.next(t).Get("auth[access_token]"))
	if got := len(back.must("telephony.externalLine.get", nil).([]any)) + len(back.must("event.get", nil).([]any)); got != 0 {
		t.Errorf("lines and bindings after the return: %d, want none", got)
	}
}

func TestBindings(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	a, other := s.grant(1), s.grant(17)
	bind := m{"event": "OnExternalCallStart", "handler": "https://example.ru/e"}
	a.must("event.bind", bind)
	for _, c := range []struct {
		who    appServer
		params m
		want   string
	}{
		{a, bind, "400 ERROR_HANDLER_ALREADY_EXIST"},
		{a, m{"event": "OnNothing", "handler": "https://example.ru/e"}, "400 ERROR_EVENT_NOT_FOUND"},
		{a, m{"event": "OnExternalCallStart"}, "400 ERROR_ARGUMENT"},
		{a, m{"event": "OnExternalCallStart", "handler": "example.ru"}, "400 ERROR_WRONG_HANDLER_URL"},
		{other, m{"event": "OnCrmLeadAdd", "event_type": "offline"}, "403 ACCESS_DENIED"},
		{other, with(bind, m{"auth_type": 1}), "403 ACCESS_DENIED"},
	} {
		if got := c.who.refused("event.bind", c.params); got != c.want {
			t.Errorf("event.bind %v: got %s, want %s", c.params, got, c.want)
		}
	}
	a.must("event.bind", m{"event": "OnCrmLeadAdd", "event_type": "offline"})
	want := []any{
		m{"event": "ONEXTERNALCALLSTART", "handler": "https://example.ru/e", "auth_type": "0", "offline": 0.0},
		m{"event": "ONCRMLEADADD", "handler": "", "auth_type": "0", "offline": 1.0},
	}
	if diff := cmp.Diff(want, a.must("event.get", nil)); diff != "" {
		t.Errorf("event.get (-want +got):\n%s", diff)
	}
	for _, want := range []float64{1, 0} {
		if got := a.must("event.unbind", bind).(m)["count"]; got != want {
			t.Errorf("event.unbind: got %v, want %v", got, want)
		}
	}
	if got := a.must("events", m{"SCOPE": "telephony"}).([]any); len(got) != 5 {
		t.Errorf("events of telephony: got %v, want 5", got)
	}
}

func TestClickToCall(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	a := s.grant(1)
	if _, err := s.ClickToCall(t.Context(), 17, "+79161234567"); err == nil {
		t.Error("no error though nobody listens")
	}
	a.must("event.bind", m{"event": "ONEXTERNALCALLSTART", "handler": h.URL})
	id, err := s.ClickToCall(t.Context(), 17, "8 (916) 123-45-67")
	if err != nil {
		t.Fatal(err)
	}
	e := h.next(t)
	want := []string{
		"[CALL_ID]=" + id, "[CALL_LIST_ID]=0", "[CRM_ENTITY_ID]=1", "[CRM_ENTITY_TYPE]=CONTACT", "[EXTENSION]=", "[IS_MOBILE]=0", "[LINE_NUMBER]=",
		"[PHONE_NUMBER]=89161234567", "[PHONE_NUMBER_INTERNATIONAL]=+79161234567", "[USER_ID]=17",
	}
	if diff := cmp.Diff(want, about(e)); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if got := s.as(e.Get("auth[access_token]")).must("user.current", nil).(m)["ID"]; got != "17" {
		t.Errorf("the event's tokens are of user %v, want 17", got)
	}
	// The call is there already: it is finished, not registered, and has no external id.
	a.must("telephony.externalCall.finish", m{"CALL_ID": id, "USER_ID": 17, "DURATION": 7})
	calls := s.Calls()
	if len(calls) != 1 || calls[0].ExternalID != "" || calls[0].Type != 1 || calls[0].AppID != "1" {
		t.Errorf("calls: %+v", calls)
	}
}

func TestCallbackHasNoTokens(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	s.grant(1).must("event.bind", m{"event": "ONEXTERNALCALLBACKSTART", "handler": h.URL})
	if err := s.RequestCallback(t.Context(), "+79160000001", "+74951234567"); err != nil {
		t.Fatal(err)
	}
	e := h.next(t)
	want := []string{
		"[CRM_ENTITY_ID]=1", "[CRM_ENTITY_TYPE]=LEAD", "[LINE_NUMBER]=+74951234567", "[PHONE_NUMBER]=+79160000001", "[TEXT]=Клиент просит перезвонить",
		"[VOICE]=",
	}
	if diff := cmp.Diff(want, about(e)); diff != "" || e.Has("auth[access_token]") {
		t.Errorf("event %v (-want +got):\n%s", e, diff)
	}
	if len(s.Live()) != 0 {
		t.Error("the portal registered the call itself")
	}
}

func TestEventsOfACall(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	a := s.grant(1)
	for _, e := range []string{"ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART", "ONVOXIMPLANTCALLEND", "ONCRMCONTACTADD", "ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMACTIVITYADD"} {
		a.must("event.bind", m{"event": e, "handler": h.URL})
	}
	id := s.register(m{"CRM_CREATE": 1})
	s.finish(id, m{"USER_ID": 18})
	var got []string
	for range 7 {
		e := h.next(t)
		line := e.Get("event")
		if strings.HasPrefix(line, "ONCRM") {
			line += " " + e.Get("data[FIELDS][ID]")
		} else if e.Get("data[CALL_ID]") != id {
			t.Errorf("%s is about %s, want %s", line, e.Get("data[CALL_ID]"), id)
		}
		got = append(got, line)
	}
	slices.Sort(got)
	want := []string{
		"ONCRMACTIVITYADD 1", "ONCRMCONTACTADD 3", "ONCRMDEALADD 2", "ONCRMDEALUPDATE 2", "ONVOXIMPLANTCALLEND", "ONVOXIMPLANTCALLINIT", "ONVOXIMPLANTCALLSTART",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestOfflineQueue(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	a := s.grant(1)
	a.must("event.bind", m{"event": "ONCRMLEADUPDATE", "event_type": "offline"})
	a.must("event.bind", m{"event": "ONOFFLINEEVENT", "handler": h.URL, "options": m{"minTimeout": 5}})
	if got, want := s.grant(17).refused("event.offline.get", nil), "403 ACCESS_DENIED"; got != want {
		t.Errorf("not an administrator: got %s, want %s", got, want)
	}
	change := func() { s.must("crm.lead.update", m{"id": 1, "fields": m{"TITLE": "x"}}) }
	change()
	change() // the same object: one record
	if got := h.next(t).Get("event"); got != "ONOFFLINEEVENT" {
		t.Errorf("ping: got %s", got)
	}
	get := func(params m) (string, []string) {
		out := a.must("event.offline.get", params).(m)
		var events []string
		for _, e := range out["events"].([]any) {
			events = append(events, fmt.Sprintf("%v %v", e.(m)["EVENT_NAME"], jsonOf(t, e.(m)["EVENT_DATA"])))
		}
		return fmt.Sprint(out["process_id"]), events
	}
	one := []string{`ONCRMLEADUPDATE {"FIELDS":{"ID":"1"}}`}
	process, got := get(m{"clear": 0})
	if !cmp.Equal(got, one) {
		t.Fatalf("first: got %q, want %q", got, one)
	}
	change() // the reserved one stays, another comes
	if _, got := get(m{"clear": 0, "process_id": process}); !cmp.Equal(got, one) {
		t.Errorf("the same package again: got %q, want %q", got, one)
	}
	a.must("event.offline.clear", m{"process_id": process})
	if got, want := s.QueuedEvents(""), 1; got != want {
		t.Errorf("queue after the confirmation: got %d, want %d", got, want)
	}
	process, _ = get(m{"clear": 0})
	a.must("event.offline.error", m{"process_id": process})
	if _, got := get(nil); got != nil {
		t.Errorf("failed records came as new: %q", got)
	}
	if _, got := get(m{"error": 1}); !cmp.Equal(got, one) {
		t.Errorf("failed records: got %q, want %q", got, one)
	}
	if got := s.QueuedEvents(""); got != 0 {
		t.Errorf("queue after clear=1: got %d, want 0", got)
	}
	if got, want := a.refused("event.offline.clear", nil), "400 ERROR_ARGUMENT"; got != want {
		t.Errorf("clear without a process: got %s, want %s", got, want)
	}
}

func TestConnectorDoesNotHearItself(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	a := s.grant(1)
	a.must("event.bind", m{"event": "ONCRMLEADUPDATE", "event_type": "offline", "auth_connector": "pbx"})
	a.must("crm.lead.update", m{"id": 1, "fields": m{"TITLE": "x"}, "auth_connector": "pbx"})
	if got := s.QueuedEvents("pbx"); got != 0 {
		t.Errorf("its own doings: got %d events, want 0", got)
	}
	s.must("crm.lead.update", m{"id": 1, "fields": m{"TITLE": "y"}})
	if got := s.QueuedEvents("pbx"); got != 1 {
		t.Errorf("the doings of others: got %d events, want 1", got)
	}
	list := a.must("event.offline.list", m{"auth_connector": "pbx", "filter": m{"EVENT_NAME": "ONCRMLEADUPDATE"}}).([]any)
	if len(list) != 1 {
		t.Errorf("list: got %v, want one record", list)
	}
}
