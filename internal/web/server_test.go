package web_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/secret"
	"sverka/internal/web"
)

const (
	appToken  = "application-t0ken"
	httpToken = "dashb0ard-t0ken"
)

// bench is a server with a portal and tokens in memory.
type bench struct {
	t       *testing.T
	server  *web.Server
	handler http.Handler
	log     bytes.Buffer
	now     time.Time

	mu       sync.Mutex
	token    portal.Token
	refuse   error // what the portal says to tokens and codes
	codes    []string
	received []portal.Event
	busy     chan struct{} // Receive waits for it
	broken   error         // of the token store
	sick     error
}

func setup(t *testing.T, change func(*web.Config)) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)}
	log := logrus.New()
	log.SetOutput(&b.log)
	log.SetLevel(logrus.DebugLevel)
	c := web.Config{
		Portal: b, Tokens: b, Receiver: b, Token: httpToken, Log: logrus.NewEntry(log),
		Healthy: func() error { return b.sick }, Now: func() time.Time { return b.now },
	}
	if change != nil {
		change(&c)
	}
	b.server = web.New(c)
	b.handler = b.server.Handler()
	return b
}

func (b *bench) AuthorizeURL(state string) string {
	return "https://portal.example/oauth/authorize/?" + url.Values{"state": {state}}.Encode()
}

func (b *bench) Authorize(_ context.Context, code string) error {
	b.codes = append(b.codes, code)
	return b.refuse
}

func (b *bench) Adopt(_ context.Context, t portal.Token) error {
	if b.refuse == nil {
		b.token = t
	}
	return b.refuse
}

func (b *bench) Token(context.Context) (portal.Token, bool, error) {
	return b.token, b.token != portal.Token{}, b.broken
}

func (b *bench) SaveToken(_ context.Context, t portal.Token) error {
	b.token = t
	return b.broken
}

func (b *bench) Receive(_ context.Context, e portal.Event) error {
	if b.busy != nil {
		<-b.busy
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received = append(b.received, e)
	switch e.Name {
	case "PANIC":
		panic("planted")
	case "FAIL":
		return errors.New("planted failure")
	}
	return nil
}

// send gives the status and the body of an answer.
func (b *bench) send(r *http.Request) (int, string, http.Header) {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	for _, s := range []string{appToken, httpToken, "acc3ss", "r3fresh", "c0de"} {
		if strings.Contains(b.log.String(), s) || strings.Contains(w.Body.String(), s) {
			b.t.Errorf("%s %s shows %s:\n%s\n%s", r.Method, r.URL.Path, s, w.Body, &b.log)
		}
	}
	return w.Code, w.Body.String(), w.Header()
}

func post(path, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r
}

func form(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v.Encode()
}

func event(name, token string, pairs ...string) string {
	return form(append([]string{"event", name, "ts", "1795344238", "auth[application_token]", token, "auth[member_id]", "m"}, pairs...)...)
}

func installation(pairs ...string) string {
	return form(append([]string{
		"event", "ONAPPINSTALL", "data[VERSION]", "1", "auth[access_token]", "acc3ss", "auth[refresh_token]", "r3fresh", "auth[expires_in]", "1800",
		"auth[application_token]", appToken, "auth[member_id]", "m1", "auth[scope]", "telephony,user",
		"auth[client_endpoint]", "https://portal.example/rest/", "auth[server_endpoint]", "https://oauth.example/rest/",
	}, pairs...)...)
}

func TestInstall(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/b24/install", "/b24/event"} {
		b := setup(t, nil)
		if status, body, _ := b.send(post(path, installation())); status != 200 {
			t.Fatalf("%s: got status %d %s", path, status, body)
		}
		want := portal.Token{
			AccessToken: "acc3ss", RefreshToken: "r3fresh", Expires: b.now.Add(30 * time.Minute), MemberID: "m1", Scope: "telephony,user",
			Endpoint: "https://portal.example/rest/", Server: "https://oauth.example/rest/", ApplicationToken: appToken,
		}
		if got := b.token; got != want {
			t.Errorf("%s: got %+v (%s), want %+v", path, got, got.RefreshToken.Reveal(), want)
		}
		select {
		case <-b.server.Changed():
		default:
			t.Errorf("%s: nobody was told of the new tokens", path)
		}
	}
}

func TestInstallRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, body string
		refuse     error
		status     int
	}{
		{"another event", event("ONCRMLEADADD", appToken), nil, 400},
		{"no refresh token", strings.Replace(installation(), "refresh_token", "x", 1), nil, 400},
		{"no application token", strings.Replace(installation(), "application_token", "x", 1), nil, 400},
		{"tokens of somebody else", installation(), &portal.Error{Class: portal.Access, Method: "app.info", Code: "invalid_token"}, 403},
		{"a portal that is away", installation(), &portal.Error{Class: portal.Unreachable, Method: "app.info", Err: io.EOF}, 502},
	} {
		b := setup(t, nil)
		b.refuse = test.refuse
		if status, body, _ := b.send(post("/b24/install", test.body)); status != test.status {
			t.Errorf("%s: got status %d %s, want %d", test.what, status, body, test.status)
		}
		if b.token != (portal.Token{}) {
			t.Errorf("%s: tokens were kept", test.what)
		}
	}
}

// TestEventSender: nothing is done for who does not prove to be the portal.
func TestEventSender(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		what, known, body string
		broken            error
		status            int
		log               string
	}{
		{"the portal", appToken, event("ONEXTERNALCALLSTART", appToken, "data[CALL_ID]", "1"), nil, 200, ""},
		{"a wrong token", appToken, event("ONEXTERNALCALLSTART", "guessed"), nil, 403, "application_token is not the one of the installation"},
		{"a longer token", appToken, event("ONEXTERNALCALLSTART", appToken+"x"), nil, 403, "is not the one"},
		{"no token", appToken, form("event", "ONEXTERNALCALLSTART"), nil, 403, "is not the one"},
		{"a false uninstallation", appToken, event("ONAPPUNINSTALL", "guessed"), nil, 403, "is not the one"},
		{"no installation", "", event("ONEXTERNALCALLSTART", ""), nil, 403, "no application_token is known"},
		{"no event", appToken, form("auth[application_token]", appToken), nil, 400, "no event"},
		{"a name that forges a line of the log", appToken, event("X\nlevel=error", appToken), nil, 400, "no event"},
		{"a store that cannot be read", appToken, event("X", appToken), errors.New("disk"), 503, "cannot be read"},
	} {
		b := setup(t, nil)
		b.token = portal.Token{AccessToken: "a", ApplicationToken: secret.Text(test.known)}
		b.broken = test.broken
		if status, body, _ := b.send(post("/b24/event", test.body)); status != test.status {
			t.Errorf("%s: got status %d %s, want %d", test.what, status, body, test.status)
		}
		if !strings.Contains(b.log.String(), test.log) {
			t.Errorf("%s: the log lacks %q:\n%s", test.what, test.log, &b.log)
		}
		if b.token == (portal.Token{}) {
			t.Errorf("%s: tokens are gone", test.what)
		}
	}
}

func TestUninstall(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.token = portal.Token{AccessToken: "a", ApplicationToken: appToken}
	if status, _, _ := b.send(post("/b24/event", event("onAppUninstall", appToken))); status != 200 {
		t.Errorf("got status %d, want 200", status)
	}
	if b.token != (portal.Token{}) {
		t.Errorf("got tokens %+v, want none", b.token)
	}
	select {
	case <-b.server.Changed():
	default:
		t.Error("nobody was told that the tokens are gone")
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.token = portal.Token{AccessToken: "a", ApplicationToken: appToken}
	plain := httptest.NewRequest(http.MethodPost, "/b24/event", strings.NewReader("{}"))
	plain.Header.Set("Content-Type", "application/json")
	for _, test := range []struct {
		what   string
		r      *http.Request
		status int
	}{
		{"JSON", plain, 415},
		{"GET", httptest.NewRequest(http.MethodGet, "/b24/event", nil), 405},
		{"a long body", post("/b24/event", event("X", appToken, "data[TEXT]", strings.Repeat("x", 64<<10))), 413},
		{"many fields", post("/b24/event", event("X", appToken)+strings.Repeat("&a=1", 300)), 400},
		{"no form", post("/b24/event", "event=%zz"), 400},
		{"another address", post("/b24/else", ""), 404},
	} {
		if status, body, _ := b.send(test.r); status != test.status {
			t.Errorf("%s: got status %d %s, want %d", test.what, status, body, test.status)
		}
	}
}

func TestNoApp(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *web.Config) { c.Portal, c.Tokens, c.Receiver = nil, nil, nil })
	if status, body, _ := b.send(post("/b24/event", event("X", appToken))); status != 404 || !strings.Contains(body, "bitrix24.app") {
		t.Errorf("got status %d %s", status, body)
	}
	if status, body, _ := b.send(httptest.NewRequest(http.MethodGet, "/healthz", nil)); status != 200 || body != "ok\n" {
		t.Errorf("healthz: got status %d %q", status, body)
	}
	b.sick = errors.New("the portal cannot be reached")
	if status, body, _ := b.send(httptest.NewRequest(http.MethodGet, "/healthz", nil)); status != 503 || body != "the portal cannot be reached\n" {
		t.Errorf("healthz: got status %d %q", status, body)
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	begin := func(b *bench, password string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "/b24/authorize", nil)
		if password != "" {
			r.SetBasicAuth("admin", password)
		}
		status, _, header := b.send(r)
		to, err := url.Parse(header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return status, to.Query().Get("state")
	}
	back := func(b *bench, state, code string) int {
		status, _, _ := b.send(httptest.NewRequest(http.MethodGet, "/b24/oauth?"+url.Values{"state": {state}, "code": {code}}.Encode(), nil))
		return status
	}
	t.Run("a state is good once, and for 10 minutes", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		status, state := begin(b, httpToken)
		if status != 302 || len(state) < 20 {
			t.Fatalf("got status %d, state %q", status, state)
		}
		if got := back(b, "guessed", "c0de"); got != 403 {
			t.Errorf("a foreign state: got %d, want 403", got)
		}
		if got := back(b, "", "c0de"); got != 403 {
			t.Errorf("no state: got %d, want 403", got)
		}
		if got := back(b, state, "c0de"); got != 200 {
			t.Errorf("got %d, want 200", got)
		}
		if got := back(b, state, "c0de2"); got != 403 {
			t.Errorf("again: got %d, want 403", got)
		}
		if diff := cmp.Diff(b.codes, []string{"c0de"}); diff != "" {
			t.Errorf("codes, -got +want:\n%s", diff)
		}
		_, state = begin(b, httpToken)
		b.now = b.now.Add(10*time.Minute + time.Second)
		if got := back(b, state, "c0de"); got != 403 {
			t.Errorf("after 10 minutes: got %d, want 403", got)
		}
		_, state = begin(b, httpToken)
		if got := back(b, state, ""); got != 400 {
			t.Errorf("no code: got %d, want 400", got)
		}
	})
	t.Run("only who knows http.token may begin", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		for _, password := range []string{"", "guessed"} {
			if status, state := begin(b, password); status != 401 || state != "" {
				t.Errorf("%q: got status %d, state %q", password, status, state)
			}
		}
		r := httptest.NewRequest(http.MethodGet, "/b24/authorize", nil)
		r.Header.Set("Authorization", "Bearer "+httpToken)
		if status, _, _ := b.send(r); status != 302 {
			t.Errorf("bearer: got status %d, want 302", status)
		}
		open := setup(t, func(c *web.Config) { c.Token = "" })
		if status, _ := begin(open, "x"); status != 403 {
			t.Errorf("without http.token: got %d, want 403", status)
		}
	})
	t.Run("a refused code", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		b.refuse = &portal.Error{Class: portal.Access, Method: "oauth/token", Code: "invalid_grant"}
		_, state := begin(b, httpToken)
		if got := back(b, state, "c0de"); got != 403 {
			t.Errorf("got %d, want 403", got)
		}
	})
}

// serve runs the server on a port of its own until the given function is called.
func (b *bench) serve() (address string, stop func()) {
	b.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx, listener) }()
	return "http://" + listener.Addr().String(), func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("serve: %v", err)
		}
	}
}

func (b *bench) fire(address, body string) int {
	resp, err := http.Post(address+"/b24/event", "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		b.t.Error(err)
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestAnsweredAtOnce: the portal is answered before an event is worked on, one bad event harms no other, and a stop loses none.
func TestAnsweredAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.token = portal.Token{AccessToken: "a", ApplicationToken: appToken}
	b.busy = make(chan struct{})
	address, stop := b.serve()
	names := []string{"PANIC", "FAIL", "ONEXTERNALCALLSTART"}
	for _, name := range names {
		if status := b.fire(address, event(name, appToken, "data[FIELDS][ID]", "7", "data[CALL_ID]", "c")); status != 200 {
			t.Errorf("%s: got status %d, want 200", name, status)
		}
	}
	close(b.busy)
	stop()
	var got []string
	for _, e := range b.received {
		got = append(got, e.Name)
	}
	if diff := cmp.Diff(got, names); diff != "" {
		t.Errorf("received, -got +want:\n%s", diff)
	}
	want := portal.Event{Name: "ONEXTERNALCALLSTART", At: time.Unix(1795344238, 0), Data: map[string]string{"FIELDS.ID": "7", "CALL_ID": "c"}}
	if diff := cmp.Diff(b.received[2], want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	for _, words := range []string{"planted failure", "planted"} {
		if !strings.Contains(b.log.String(), words) {
			t.Errorf("the log lacks %q:\n%s", words, &b.log)
		}
	}
}

// TestFlood: the queue has an end, and the portal is told when it is reached.
func TestFlood(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.token = portal.Token{AccessToken: "a", ApplicationToken: appToken}
	took := 0
	for i := range 300 {
		status, _, _ := b.send(post("/b24/event", event("X", appToken, "data[ID]", fmt.Sprint(i))))
		switch status {
		case 200:
			took++
		case 503:
		default:
			t.Fatalf("event %d: got status %d", i, status)
		}
	}
	if took != 256 {
		t.Errorf("took %d events, want 256", took)
	}
	if !strings.Contains(b.log.String(), "event lost") {
		t.Error("lost events are not told")
	}
}

// TestStuckReceiver: a stop does not wait for ever for the work on an event.
func TestStuckReceiver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stuck := receiver(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		b := setup(t, func(c *web.Config) { c.Receiver = stuck })
		b.token = portal.Token{AccessToken: "a", ApplicationToken: appToken}
		for range 3 {
			b.send(post("/b24/event", event("X", appToken)))
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.server.Serve(ctx, idle{closed: make(chan struct{})}) }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
	})
}

type receiver func(ctx context.Context) error

func (f receiver) Receive(ctx context.Context, _ portal.Event) error { return f(ctx) }

// idle is a listener that nobody connects to.
type idle struct{ closed chan struct{} }

func (l idle) Accept() (net.Conn, error) { <-l.closed; return nil, net.ErrClosed }
func (l idle) Close() error              { close(l.closed); return nil }
func (l idle) Addr() net.Addr            { return &net.TCPAddr{} }
