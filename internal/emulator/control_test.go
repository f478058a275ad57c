package emulator_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sverka/internal/emulator"
)

func (s server) control(name string, form url.Values) string {
	s.t.Helper()
	status, out := s.post(s.root()+"/emulator/"+name, "application/x-www-form-urlencoded", form.Encode())
	return fmt.Sprintf("%d %v%v", status, out["result"], out["error"])
}

func TestControl(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	h := newHandler(t)
	if got, want := s.control("install", url.Values{"url": {h.URL}}), "200 true<nil>"; got != want {
		t.Fatalf("install: got %s, want %s", got, want)
	}
	a := s.as(h.next(t).Get("auth[access_token]"))
	a.must("event.bind", m{"event": "ONEXTERNALCALLSTART", "handler": h.URL})
	a.must("event.bind", m{"event": "ONEXTERNALCALLBACKSTART", "handler": h.URL})
	for _, c := range []struct {
		name string
		form url.Values
		want string // beginning of the answer
	}{
		{"call", url.Values{"user": {"17"}, "phone": {"+79995550001"}}, "200 externalCall."},
		{"call", url.Values{"user": {"x"}, "phone": {"+79995550001"}}, `400 <nil>user "x" is no number`},
		{"call", url.Values{"user": {"999"}, "phone": {"+79995550001"}}, "400 <nil>call +79995550001 from the portal: employee 999"},
		{"callback", url.Values{"phone": {"+79995550001"}}, "200 true"},
		{"rename", nil, "400 <nil>host is missing"},
		{"expire", nil, "200 true"},
	} {
		if got := s.control(c.name, c.form); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if got, want := a.refused("profile", nil), "401 expired_token"; got != want {
		t.Errorf("after expire: got %s, want %s", got, want)
	}
	if got, want := s.control("revoke", nil), "200 true<nil>"; got != want {
		t.Errorf("revoke: got %s, want %s", got, want)
	}
	if got, want := a.refused("profile", nil), "401 APPLICATION_NOT_FOUND"; got != want {
		t.Errorf("after revoke: got %s, want %s", got, want)
	}
}

func TestControlIsClosedToOtherSites(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	r, err := http.NewRequest(http.MethodPost, s.root()+"/emulator/revoke", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got, want := res.StatusCode, http.StatusForbidden; got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
