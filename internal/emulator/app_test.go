package emulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

// root is the address of the portal.
func (s server) root() string { return strings.TrimSuffix(s.URL, "/rest/1/demo/") }

// as is the same portal through tokens of the application.
func (s server) as(token string) appServer { return appServer{s, token} }

type appServer struct {
	server
	token string
}

func (s appServer) call(method string, params m) (int, m) {
	s.t.Helper()
	b, err := json.Marshal(with(params, m{"auth": s.token}))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.post(s.root()+"/rest/"+method+".json", "application/json", string(b))
}

func (s appServer) must(method string, params m) any {
	s.t.Helper()
	status, out := s.call(method, params)
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %v", method, status, out)
	}
	return out["result"]
}

func (s appServer) refused(method string, params m) string {
	s.t.Helper()
	status, out := s.call(method, params)
	return fmt.Sprintf("%d %v", status, out["error"])
}

// grant gives the application of the portal tokens of a user.
func (s server) grant(user int) appServer {
	s.t.Helper()
	g, err := s.Grant(user)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.as(g.AccessToken)
}

// exchange asks the OAuth server for tokens.
func (s server) exchange(params url.Values) (int, m) {
	s.t.Helper()
	params.Set("client_id", "app.demo")
	if !params.Has("client_secret") {
		params.Set("client_secret", "demo-secret")
	}
	res, err := http.Get(s.root() + "/oauth/token/?" + params.Encode())
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, s.decode(res)
}

// authorize goes the way of a browser and gives the code.
func (s server) authorize() string {
	s.t.Helper()
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(s.root() + "/oauth/authorize/?client_id=app.demo&state=s1&redirect_uri=" + url.QueryEscape("https://sverka.example.ru/b24/oauth?x=1"))
	if err != nil {
		s.t.Fatal(err)
	}
	_ = res.Body.Close()
	to, err := res.Location()
	if err != nil {
		s.t.Fatal(err)
	}
	q := to.Query()
	if got, want := []string{to.Host + to.Path, q.Get("x"), q.Get("state"), q.Get("domain")},
		[]string{"sverka.example.ru/b24/oauth", "1", "s1", strings.TrimPrefix(s.root(), "http://")}; !cmp.Equal(got, want) {
		s.t.Fatalf("redirect: got %q, want %q", got, want)
	}
	return q.Get("code")
}

func TestCodeIsChangedForTokensOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	code := s.authorize()
	status, out := s.exchange(url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	if status != http.StatusOK || out["client_endpoint"] != s.root()+"/rest/" || out["expires_in"] != 3600.0 || out["user_id"] != 1.0 {
		t.Fatalf("tokens: %d %v", status, out)
	}
	if got := s.as(out["access_token"].(string)).must("profile", nil).(m)["ID"]; got != "1" {
		t.Errorf("profile: got %v, want 1", got)
	}
	if status, out := s.exchange(url.Values{"grant_type": {"authorization_code"}, "code": {code}}); out["error"] != "invalid_grant" {
		t.Errorf("second use of the code: %d %v", status, out)
	}
	late := s.authorize()
	s.clock.Advance(31 * time.Second)
	if status, out := s.exchange(url.Values{"grant_type": {"authorization_code"}, "code": {late}}); out["error"] != "invalid_grant" {
		t.Errorf("code of 31 s: %d %v", status, out)
	}
}

func TestTokensLiveAnHourAndRotate(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	g, err := s.Grant(17)
	if err != nil {
		t.Fatal(err)
	}
	first := s.as(g.AccessToken)
	if got := first.must("user.current", nil).(m)["ID"]; got != "17" {
		t.Errorf("user.current: got %v, want 17", got)
	}
	s.clock.Advance(time.Hour)
	if got, want := first.refused("profile", nil), "401 expired_token"; got != want {
		t.Errorf("after an hour: got %s, want %s", got, want)
	}
	refresh := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}}
	_, out := s.exchange(refresh)
	if out["refresh_token"] == g.RefreshToken || out["user_id"] != 17.0 {
		t.Errorf("refresh: %v", out)
	}
	second := s.as(out["access_token"].(string))
	second.must("profile", nil)
	if _, out := s.exchange(refresh); out["error"] != "invalid_grant" {
		t.Errorf("second use of a refresh token: %v", out)
	}
	s.ExpireTokens()
	if got, want := second.refused("profile", nil), "401 expired_token"; got != want {
		t.Errorf("ExpireTokens: got %s, want %s", got, want)
	}
	if _, out := s.exchange(url.Values{"grant_type": {"refresh_token"}, "client_secret": {"wrong"}}); out["error"] != "invalid_client" {
		t.Errorf("wrong secret: %v", out)
	}
	if _, out := s.exchange(url.Values{"grant_type": {"password"}}); out["error"] != "invalid_request" {
		t.Errorf("another grant: %v", out)
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		app    bool
		token  string // "": a good one
		rules  emulator.Rules
		scope  []string
		method string
		want   string
	}{
		{name: "blank token", app: true, token: " ", method: "profile", want: "401 invalid_token"},
		{name: "unknown token", app: true, token: "x", method: "profile", want: "401 invalid_token"},
		{name: "scope of the app", app: true, scope: []string{"crm"}, method: "voximplant.statistic.get", want: "403 insufficient_scope"},
		{name: "user_brief opens the users", app: true, scope: []string{"user_brief"}, method: "user.get", want: "200 <nil>"},
		{name: "scope of the webhook", rules: emulator.Rules{NoScopes: []string{"user"}}, method: "user.get", want: "403 insufficient_scope"},
		{name: "events through the webhook", method: "event.get", want: "403 WRONG_AUTH_TYPE"},
		{name: "app.info through the webhook", method: "app.info", want: "400 ACCESS_DENIED"},
		{name: "app.info", app: true, method: "app.info", want: "200 <nil>"},
		{name: "calls for applications only", rules: emulator.Rules{AppOnly: true}, method: "telephony.externalCall.register", want: "403 WRONG_AUTH_TYPE"},
		{name: "calls for applications only, as one", app: true, rules: emulator.Rules{AppOnly: true}, method: "telephony.externalLine.get", want: "200 <nil>"},
		{name: "plan", rules: emulator.Rules{NoREST: true}, method: "profile", want: "403 ACCESS_DENIED"},
		{name: "statistics", rules: emulator.Rules{NoStatistics: true}, method: "voximplant.statistic.get", want: "403 ACCESS_DENIED"},
		{name: "confirmation", rules: emulator.Rules{Confirm: []string{"profile"}}, method: "profile", want: "401 METHOD_CONFIRM_WAITING"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, emulator.Options{Rules: c.rules, App: emulator.App{Scope: c.scope}})
			var status int
			var out m
			if c.app {
				a := s.grant(1)
				if c.token != "" {
					a.token = c.token
				}
				status, out = a.call(c.method, nil)
			} else {
				status, out = s.call(c.method, nil)
			}
			if got := fmt.Sprintf("%d %v", status, out["error"]); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRequestWithoutToken(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	status, out := s.post(s.root()+"/rest/profile", "application/json", "{}")
	if got, want := fmt.Sprintf("%d %v", status, out["error"]), "401 NO_AUTH_FOUND"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCallsAndLinesOfAnApplication(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	a := s.grant(17)
	a.must("telephony.externalLine.add", m{"NUMBER": "100", "NAME": "App"})
	s.must("telephony.externalLine.add", m{"NUMBER": "100", "NAME": "Webhook"})
	params := m{"USER_ID": 17, "PHONE_NUMBER": "+79995550001", "TYPE": 2, "SHOW": 0}
	own := a.must("telephony.externalCall.register", params).(m)["CALL_ID"]
	hooked := s.must("telephony.externalCall.register", params).(m)["CALL_ID"]
	if own == hooked {
		t.Error("the same call for the application and for the webhook")
	}
	a.must("telephony.externalCall.finish", m{"CALL_ID": own, "USER_ID": 17, "DURATION": 5})
	got := s.rows(m{"FILTER": m{"REST_APP_ID": 1}})
	if len(got) != 1 || got[0].(m)["PORTAL_NUMBER"] != "REST_APP:1" || got[0].(m)["REST_APP_NAME"] != "Телефония" {
		t.Errorf("rows of the application: %v", got)
	}
	want := []any{m{"NUMBER": "100", "NAME": "App", "CRM_AUTO_CREATE": "Y"}}
	if diff := cmp.Diff(want, a.must("telephony.externalLine.get", nil)); diff != "" {
		t.Errorf("lines of the application (-want +got):\n%s", diff)
	}
	upload := a.must("telephony.externalCall.attachRecord", m{"CALL_ID": own, "FILENAME": "a.mp3"}).(m)["uploadUrl"].(string)
	if !strings.Contains(upload, "/rest/upload.json?auth="+a.token) {
		t.Error("the upload address of an application carries no token of it")
	}
}

func TestOwnCallsOnly(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Rules: emulator.Rules{OwnCalls: true}})
	s.done(m{"USER_ID": 18})
	s.done(nil)
	if got := len(s.rows(nil)); got != 2 {
		t.Errorf("the administrator sees %d calls, want 2", got)
	}
	if got := len(s.grant(18).must("voximplant.statistic.get", nil).([]any)); got != 0 {
		t.Errorf("employee 18 sees %d calls, want those finished for him: 0", got)
	}
	if got := len(s.grant(17).must("voximplant.statistic.get", nil).([]any)); got != 2 {
		t.Errorf("employee 17 sees %d calls, want 2", got)
	}
}

func TestEnterpriseHasMoreRoom(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{License: "ent", Limits: emulator.Limits{Burst: 0, PerSecond: 0, Operating: time.Hour}})
	a := s.grant(1)
	if got := a.must("app.info", nil).(m)["LICENSE_FAMILY"]; got != "ent" {
		t.Errorf("LICENSE_FAMILY: got %v, want ent", got)
	}
	for i := range 300 {
		if status, _ := a.call("server.time", nil); status != http.StatusOK {
			if i != 249 {
				t.Errorf("refused after %d requests, want 249", i)
			}
			return
		}
	}
	t.Error("300 requests at once were not refused")
}

func TestRenamedPortal(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.must("profile", nil) // the portal learns its address
	old, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.Rename("localhost:" + old.Port())
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Post(s.URL+"profile.json?a=1", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	want := "http://localhost:" + old.Port() + "/rest/1/demo/profile.json?a=1"
	if got := res.Header.Get("Location"); res.StatusCode != http.StatusFound || got != want {
		t.Fatalf("got %d %s, want 302 %s", res.StatusCode, got, want)
	}
	if status, out := s.post(want, "application/json", "{}"); status != http.StatusOK {
		t.Errorf("at the new host: %d %v", status, out)
	}
	g, err := s.Grant(1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := g.ClientEndpoint, "http://localhost:"+old.Port()+"/rest/"; got != want {
		t.Errorf("client_endpoint: got %s, want %s", got, want)
	}
}
