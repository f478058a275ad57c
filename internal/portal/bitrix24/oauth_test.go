package bitrix24_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"sverka/internal/emulator"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

var app = bitrix24.AppConfig{Portal: "https://portal.example", ClientID: "app.demo", ClientSecret: "demo-secret-0001", OAuth: "https://oauth.example"}

// memory keeps tokens and moves, for as many clients as share it.
type memory struct {
	lock sync.Mutex // of LockTokens

	mu     sync.Mutex
	token  bitrix24.Token
	moves  map[string]string
	broken error // of the next SaveToken
	saved  []string
}

func (m *memory) Token(context.Context) (bitrix24.Token, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.token, m.token.AccessToken != "", nil
}

func (m *memory) SaveToken(ctx context.Context, t bitrix24.Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.broken; err != nil {
		m.broken = nil
		return err
	}
	m.token = t
	m.saved = append(m.saved, t.AccessToken.Reveal())
	return ctx.Err()
}

func (m *memory) LockTokens(context.Context) (func(), error) {
	m.lock.Lock()
	return m.lock.Unlock, nil
}

func (m *memory) MovedTo(_ context.Context, host string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.moves[host], nil
}

func (m *memory) SaveMove(_ context.Context, host, address string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moves[host] = address
	return nil
}

func pair(n int) bitrix24.Token {
	return bitrix24.Token{
		AccessToken: secret.Text(fmt.Sprintf("access-token-%d", n)), RefreshToken: secret.Text(fmt.Sprintf("refresh-token-%d", n)),
		Endpoint: "https://portal.example/rest/", MemberID: "m1", ApplicationToken: "application-token",
	}
}

// server is a portal and its OAuth server, where only the newest pair works.
type server struct {
	mu        sync.Mutex
	good      int    // the number of the pair that works
	used      int    // REST requests answered with a result
	refreshed int    // pairs handed out
	code      string // what an old token is told; "": expired_token
	oauth     func(form url.Values) (int, string)
	asked     []string // method and token of each REST request
	stored    func(token string) bool
	unstored  []string // tokens that were used before they were stored
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	return inMemory(s.serve).RoundTrip(r)
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	if r.URL.Host == "oauth.example" {
		form, _ := url.ParseQuery(string(body))
		if s.oauth != nil {
			status, text := s.oauth(form)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
		if form.Get("refresh_token") != fmt.Sprintf("refresh-token-%d", s.good) || form.Get("client_secret") != "demo-secret-0001" {
			w.WriteHeader(400)
			_, _ = io.WriteString(w, `{"error":"invalid_grant","error_description":"Invalid authorization tokens were provided"}`)
			return
		}
		s.good++
		s.refreshed++
		fmt.Fprintf(w, `{"access_token":"access-token-%d","refresh_token":"refresh-token-%d","expires_in":3600,"client_endpoint":"https://portal.example/rest/"}`, s.good, s.good)
		return
	}
	var in struct{ Auth string }
	_ = json.Unmarshal(body, &in)
	s.asked = append(s.asked, strings.TrimPrefix(r.URL.Path, "/rest/")+" "+in.Auth)
	if s.stored != nil && !s.stored(in.Auth) {
		s.unstored = append(s.unstored, in.Auth)
	}
	if in.Auth != fmt.Sprintf("access-token-%d", s.good) {
		code := s.code
		if code == "" {
			code = "expired_token"
		}
		w.WriteHeader(401)
		fmt.Fprintf(w, `{"error":%q,"error_description":"The access token %s provided has expired."}`, code, in.Auth)
		return
	}
	s.used++
	_, _ = io.WriteString(w, `{"result":{"ID":"1","ADMIN":true}}`)
}

func withApp(t *testing.T, s http.RoundTripper, m *memory) *bitrix24.Client {
	t.Helper()
	return setup(t, bitrix24.Config{App: app, Tokens: m, Transport: s, RetryFor: time.Nanosecond, Burst: 1000, PerSecond: 1000})
}

func TestAppAsksWithItsToken(t *testing.T) {
	t.Parallel()
	s, m := &server{good: 1}, &memory{token: pair(1)}
	if err := profile(withApp(t, s, m)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.asked, []string{"profile.json access-token-1"}); diff != "" {
		t.Errorf("requests (-got +want):\n%s", diff)
	}
	if s.refreshed != 0 {
		t.Errorf("got %d renewals of a good token, want none", s.refreshed)
	}
}

// TestExpiredToken has a write that meets an old token: it is repeated once with the new pair, which is stored before it is used.
func TestExpiredToken(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"expired_token", "invalid_token"} {
		m := &memory{token: pair(1)}
		s := &server{good: 2, code: code}
		s.oauth = func(form url.Values) (int, string) {
			if got := form.Get("refresh_token"); got != "refresh-token-1" {
				t.Errorf("%s: got %s, want refresh-token-1", code, got)
			}
			return 200, `{"access_token":"access-token-2","refresh_token":"refresh-token-2","expires_in":3600}`
		}
		s.stored = func(token string) bool { return token == m.token.AccessToken.Reveal() }
		if err := profile(withApp(t, s, m)); err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		if diff := cmp.Diff(s.asked, []string{"profile.json access-token-1", "profile.json access-token-2"}); diff != "" {
			t.Errorf("%s: requests (-got +want):\n%s", code, diff)
		}
		if len(s.unstored) > 0 {
			t.Errorf("%s: used before they were stored: %v", code, s.unstored)
		}
		got := m.token
		got.Expires = time.Time{}
		if diff := cmp.Diff(got, pair(2)); diff != "" {
			t.Errorf("%s: stored (-got +want):\n%s", code, diff)
		}
	}
}

// TestManyRenewAtOnce has clients of several processes, many requests each, that all meet the old token.
func TestManyRenewAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &server{good: 1}
	var clients []*bitrix24.Client
	for i := range 3 {
		l, err := sqlite.Open(context.Background(), filepath.Join(dir, "ledger.db"), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			if err := l.Access("office").SaveToken(context.Background(), pair(1)); err != nil {
				t.Fatal(err)
			}
		}
		clients = append(clients, setup(t, bitrix24.Config{App: app, Tokens: l.Access("office"), Transport: s, Burst: 1000, PerSecond: 1000}))
	}
	for round := range 3 {
		var group errgroup.Group
		for range 10 {
			for _, c := range clients {
				group.Go(func() error { return profile(c) })
			}
		}
		if err := group.Wait(); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if s.refreshed != round {
			t.Errorf("round %d: got %d renewals, want %d", round, s.refreshed, round)
		}
		s.mu.Lock()
		s.code = "expired_token"
		old := fmt.Sprintf("refresh-token-%d", s.good)
		s.good += 100 // every token that is out is old now, and the newest refresh token still works
		good := s.good
		s.oauth = func(form url.Values) (int, string) {
			if form.Get("refresh_token") != old {
				return 400, `{"error":"invalid_grant","error_description":"used twice"}`
			}
			old = ""
			s.refreshed++
			return 200, fmt.Sprintf(`{"access_token":"access-token-%d","refresh_token":"refresh-token-%d","expires_in":3600}`, good, good)
		}
		s.mu.Unlock()
	}
}

// TestPairThatCouldNotBeStored has a full disk at the worst moment: the pair is written before anything else is asked, and never lost.
func TestPairThatCouldNotBeStored(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	s, m := &server{good: 1}, &memory{token: pair(1), broken: full}
	c := withApp(t, s, m)
	s.oauth = func(url.Values) (int, string) {
		s.refreshed++
		s.good = 2
		return 200, `{"access_token":"access-token-2","refresh_token":"refresh-token-2","expires_in":3600}`
	}
	s.good = 2
	s.stored = func(token string) bool { return token == m.token.AccessToken.Reveal() }
	if err := profile(c); !errors.Is(err, full) {
		t.Fatalf("got %v, want %v", err, full)
	}
	if err := profile(c); err != nil {
		t.Fatalf("again: %v", err)
	}
	if s.refreshed != 1 || len(s.unstored) > 0 {
		t.Errorf("got %d renewals and %v used before they were stored; want one and none", s.refreshed, s.unstored)
	}
}

// TestCallerGivesUp cancels a request while the OAuth server works: its answer holds the only pair that works, and is kept.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	s, m := &server{good: 2}, &memory{token: pair(1)}
	s.oauth = func(url.Values) (int, string) {
		cancel()
		return 200, `{"access_token":"access-token-2","refresh_token":"refresh-token-2","expires_in":3600}`
	}
	c := withApp(t, s, m)
	if _, _, err := c.Profile(ctx); err == nil {
		t.Error("a request that was given up succeeded")
	}
	if got := m.token.RefreshToken.Reveal(); got != "refresh-token-2" {
		t.Errorf("stored: got %s, want the new pair", got)
	}
}

// TestNoAccess has everything that only a person can mend.
func TestNoAccess(t *testing.T) {
	t.Parallel()
	refuse := func(status int, code string) func(url.Values) (int, string) {
		return func(url.Values) (int, string) {
			return status, `{"error":"` + code + `","error_description":"no demo-secret-0001 refresh-token-1"}`
		}
	}
	for _, test := range []struct {
		name  string
		s     *server
		m     *memory
		class portal.Class
		mend  string
	}{
		{"never installed", &server{}, &memory{}, portal.Access, "save it again"},
		{"authorisation ended", &server{oauth: refuse(400, "invalid_grant")}, &memory{token: pair(1)}, portal.Access, "save it again"},
		{"wrong secret", &server{oauth: refuse(401, "invalid_client")}, &memory{token: pair(1)}, portal.Access, "client_secret is wrong"},
		{"not paid", &server{oauth: refuse(402, "PAYMENT_REQUIRED")}, &memory{token: pair(1)}, portal.Access, "subscription"},
		{"scope", &server{oauth: refuse(400, "invalid_scope")}, &memory{token: pair(1)}, portal.Access, "scopes"},
		{"new token is refused too", &server{oauth: func(url.Values) (int, string) {
			return 200, `{"access_token":"access-token-7","refresh_token":"refresh-token-7"}`
		}}, &memory{token: pair(1)}, portal.Access, "does not take the local app any more"},
		{"app removed", &server{code: "APPLICATION_NOT_FOUND"}, &memory{token: pair(1)}, portal.Access, "does not take the local app any more"},
		{"app not paid", &server{code: "PAYMENT_REQUIRED"}, &memory{token: pair(1)}, portal.Access, "subscription"},
		{"a proxy answers", &server{oauth: func(url.Values) (int, string) { return 200, "<h1>Login</h1>" }}, &memory{token: pair(1)}, portal.Retryable, "bitrix24.app.oauth"},
		{"OAuth server is down", &server{oauth: func(url.Values) (int, string) { return 503, `{"error":"x"}` }}, &memory{token: pair(1)}, portal.Retryable, "bitrix24.app.oauth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := registerOne(withApp(t, test.s, test.m))
			e := portalError(t, err)
			if e.Class != test.class || !strings.Contains(e.Hint, test.mend) {
				t.Errorf("got %s with hint %q, want %s with %q", e.Class, e.Hint, test.class, test.mend)
			}
			for _, s := range []string{"access-token-", "refresh-token-", "demo-secret"} {
				if strings.Contains(fmt.Sprintf("%v %+v", err, e), s) {
					t.Errorf("the error shows %s: %v", s, err)
				}
			}
			if got := len(test.s.asked); got > 2 {
				t.Errorf("got %d requests, want at most 2", got)
			}
		})
	}
}

func TestNewReadsApp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(*bitrix24.Config)
		want   string
	}{
		{"no secret", func(c *bitrix24.Config) { c.App.ClientSecret = "" }, "client_secret"},
		{"plain http", func(c *bitrix24.Config) { c.App.Portal = "http://portal.example" }, "bitrix24.app.portal"},
		{"no portal", func(c *bitrix24.Config) { c.App.Portal = "" }, "bitrix24.app.portal"},
		{"plain http to the OAuth server", func(c *bitrix24.Config) { c.App.OAuth = "http://oauth.example" }, "bitrix24.app.oauth"},
		{"no store", func(c *bitrix24.Config) { c.Tokens = nil }, "tokens"},
	} {
		cfg := bitrix24.Config{App: app, Tokens: &memory{}}
		test.change(&cfg)
		if _, err := bitrix24.New(cfg); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %s", test.name, err, test.want)
		}
	}
}

// TestInstallation adopts tokens only when the configured portal takes them, wherever they say that they come from.
func TestInstallation(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	forged := pair(9)
	forged.Endpoint, forged.Server = "https://evil.example/rest/", "https://evil.example/"
	for _, test := range []struct {
		name string
		t    bitrix24.Token
		want string // stored access token
	}{
		{"ours", pair(1), "access-token-1"},
		{"somebody else's", forged, ""},
		{"none", bitrix24.Token{}, ""},
	} {
		s, m := &server{good: 1}, &memory{}
		c := withApp(t, s, m)
		err := c.Adopt(ctx, test.t)
		if got := m.token.AccessToken.Reveal(); got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: stored %q, %v; want %q", test.name, got, err, test.want)
		}
		if test.want != "" {
			if got := m.token.Endpoint; got != "https://portal.example/rest/" {
				t.Errorf("%s: got endpoint %s, want the configured portal's", test.name, got)
			}
			if err := profile(c); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}

// TestWebhookStandsIn works through the webhook until the app is installed, also when another process installs it, and tells so once.
func TestWebhookStandsIn(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, test := range []struct {
		name    string
		install func(c *bitrix24.Client, m *memory) error
	}{
		{"here", func(c *bitrix24.Client, _ *memory) error { return c.Adopt(ctx, pair(1)) }},
		{"by another process", func(_ *bitrix24.Client, m *memory) error { return m.SaveToken(ctx, pair(1)) }},
	} {
		var paths []string
		s := &server{good: 1}
		transport := transportFunc(func(r *http.Request) (*http.Response, error) {
			paths = append(paths, strings.TrimSuffix(r.URL.Path, "profile.json"))
			if strings.HasPrefix(r.URL.Path, "/rest/7/") {
				return script(ok(`{"result":{"ID":"7"}}`)).RoundTrip(r)
			}
			return s.RoundTrip(r)
		})
		var log bytes.Buffer
		logger := logrus.New()
		logger.SetOutput(&log)
		m := &memory{}
		c := setup(t, bitrix24.Config{App: app, Webhook: hook, Tokens: m, Hosts: m, Transport: transport, Log: logrus.NewEntry(logger)})
		for range 2 {
			if err := profile(c); err != nil || c.ThroughApp() {
				t.Fatalf("%s: before: got %v, through the app %t; want the webhook", test.name, err, c.ThroughApp())
			}
		}
		if got := strings.Count(log.String(), "not installed yet"); got != 1 {
			t.Errorf("%s: told %d times, want once:\n%s", test.name, got, log.String())
		}
		if err := test.install(c, m); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		paths = nil
		if err := profile(c); err != nil || !c.ThroughApp() {
			t.Fatalf("%s: after: got %v, through the app %t; want the app", test.name, err, c.ThroughApp())
		}
		if diff := cmp.Diff(paths, []string{"/rest/"}); diff != "" {
			t.Errorf("%s: asked after the installation (-got +want):\n%s", test.name, diff)
		}
	}
}

// TestTokenExpiresBeforeUpload asks for another address when the token in the first one has grown old.
func TestTokenExpiresBeforeUpload(t *testing.T) {
	t.Parallel()
	m := &memory{token: pair(1)}
	s := &server{good: 1}
	uploads := 0
	transport := transportFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/upload") {
			uploads++
			body, _ := io.ReadAll(r.Body)
			if r.URL.Query().Get("auth") != "access-token-2" {
				return script(failing(401, `{"error":"expired_token"}`)).RoundTrip(r)
			}
			if !bytes.Contains(body, []byte("abc")) {
				t.Errorf("uploaded: got %q, want the recording", body)
			}
			return script(ok(`{"result":{"FILE_ID":5}}`)).RoundTrip(r)
		}
		res, err := s.RoundTrip(r)
		if err != nil || res.StatusCode != http.StatusOK || r.URL.Host == "oauth.example" {
			return res, err
		}
		_ = res.Body.Close()
		address := fmt.Sprintf(`{"result":{"uploadUrl":"https://portal.example/upload?auth=access-token-%d","fieldName":"file"}}`, s.good)
		if s.good == 1 {
			s.code, s.oauth = "expired_token", func(url.Values) (int, string) {
				return 200, `{"access_token":"access-token-2","refresh_token":"refresh-token-2"}`
			}
			s.good = 2
		}
		return script(ok(address)).RoundTrip(r)
	})
	id, err := withApp(t, transport, m).AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
	if err != nil || id != 5 || uploads != 2 {
		t.Errorf("got file %d, %v after %d uploads; want 5 after 2", id, err, uploads)
	}
}

// TestInstallationOfRenamedPortal adopts tokens of a portal whose old name is in the configuration.
func TestInstallationOfRenamedPortal(t *testing.T) {
	t.Parallel()
	s, m := &server{good: 1}, &memory{}
	c := withApp(t, renamed("new.example", s), m)
	if err := c.Adopt(context.Background(), pair(1)); err != nil {
		t.Fatal(err)
	}
	if got, want := m.token.Endpoint, "https://new.example/rest/"; got != want {
		t.Errorf("endpoint: got %s, want %s", got, want)
	}
	if err := profile(c); err != nil || c.Host() != "new.example" {
		t.Errorf("got %v at %s, want no error at new.example", err, c.Host())
	}
}

// renamed answers 302 under every host but one.
func renamed(to string, s http.RoundTripper) http.RoundTripper {
	return transportFunc(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == to || r.URL.Host == "oauth.example" {
			return s.RoundTrip(r)
		}
		_ = r.Body.Close()
		return inMemory(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://"+to+r.URL.RequestURI())
			w.WriteHeader(http.StatusFound)
		}).RoundTrip(r)
	})
}

func TestRenamedPortal(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		client func(http.RoundTripper, *memory, *logrus.Entry) *bitrix24.Client
	}{
		{"webhook", func(s http.RoundTripper, m *memory, log *logrus.Entry) *bitrix24.Client {
			return setup(t, bitrix24.Config{Hosts: m, Transport: s, Log: log})
		}},
		{"app", func(s http.RoundTripper, m *memory, log *logrus.Entry) *bitrix24.Client {
			return setup(t, bitrix24.Config{App: app, Tokens: m, Transport: s, Log: log})
		}},
	} {
		for _, do := range []struct {
			name string
			do   func(*bitrix24.Client) error
		}{{"reading", profile}, {"writing", registerOne}} {
			t.Run(test.name+" "+do.name, func(t *testing.T) {
				t.Parallel()
				m := &memory{token: pair(1), moves: map[string]string{}}
				var hosts []string
				count := func(s http.RoundTripper) http.RoundTripper {
					return transportFunc(func(r *http.Request) (*http.Response, error) {
						hosts = append(hosts, r.URL.Host)
						return s.RoundTrip(r)
					})
				}
				answers := script(ok(`{"result":{"ID":"1","result":{"r0":{"CALL_ID":"c"},"r0f":{"CALL_ID":"c","ID":1}}}}`))
				var told bytes.Buffer
				logger := logrus.New()
				logger.SetOutput(&told)
				c := test.client(count(renamed("new.example", answers)), m, logrus.NewEntry(logger))
				for range 2 {
					if err := do.do(c); err != nil {
						t.Fatal(err)
					}
				}
				sent := answers.requests()
				if len(sent) != 2 || len(sent[0].body) < 2 {
					t.Fatalf("got %d requests at the new host, want 2 with their bodies", len(sent))
				}
				if diff := cmp.Diff(hosts, []string{"portal.example", "new.example", "new.example"}); diff != "" {
					t.Errorf("hosts asked (-got +want):\n%s", diff)
				}
				if got := c.Host(); got != "new.example" {
					t.Errorf("host: got %s, want new.example", got)
				}
				hosts = nil
				if err := do.do(test.client(count(renamed("new.example", answers)), m, logrus.NewEntry(logger))); err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(told.String(), "was renamed"); got != 1 || strings.Contains(told.String(), code) {
					t.Errorf("told %d times, want once and without the code:\n%s", got, told.String())
				}
				if diff := cmp.Diff(hosts, []string{"new.example"}); diff != "" {
					t.Errorf("hosts asked by the next process (-got +want):\n%s", diff)
				}
			})
		}
	}
}

// TestAppWithEmulator goes the whole way with the emulated portal: authorisation by code, work, expiry, a recording, a new name.
func TestAppWithEmulator(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p, err := emulator.New(noLimits())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		s.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	p.SetAddress(s.URL)
	m := &memory{}
	cfg := fast()
	cfg.App = bitrix24.AppConfig{Portal: s.URL, ClientID: "app.demo", ClientSecret: "demo-secret", OAuth: s.URL}
	cfg.Tokens = m
	c := setup(t, cfg)

	if err := profile(c); portal.ClassOf(err) != portal.Access {
		t.Fatalf("before the installation: got %v, want class %s", err, portal.Access)
	}
	if err := c.Authorize(ctx, "wrong"); portal.ClassOf(err) != portal.Access {
		t.Fatalf("wrong code: got %v, want class %s", err, portal.Access)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := browser.Get(c.AuthorizeURL("state1") + "&redirect_uri=" + url.QueryEscape("http://sverka.example/b24/oauth"))
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("got %s %s: %v", resp.Status, page, err)
	}
	if got := back.Query().Get("state"); got != "state1" {
		t.Errorf("state: got %q", got)
	}
	if err := c.Authorize(ctx, back.Query().Get("code")); err != nil {
		t.Fatal(err)
	}
	info, err := c.AppInfo(ctx)
	if err != nil || info.ID == "" {
		t.Fatalf("app.info: got %+v, %v", info, err)
	}
	deliver := func(id string) {
		t.Helper()
		one := call(id)
		one.UserID = 1
		got, err := c.RegisterFinish(ctx, []portal.Call{one})
		if err != nil || got[0].Err != nil {
			t.Fatalf("%s: got %+v, %v", id, got, err)
		}
		if _, err := c.AttachFile(ctx, got[0].Finished.CallID, id+".mp3", 3, opener("abc")); err != nil {
			t.Fatalf("recording of %s: %v", id, err)
		}
	}
	deliver("pbx-1.1")
	p.ExpireTokens()
	deliver("pbx-1.2")
	p.Rename(strings.Replace(strings.TrimPrefix(s.URL, "http://"), "127.0.0.1", "localhost", 1))
	deliver("pbx-1.3")
	if want := "http://" + c.Host() + "/rest/"; !strings.HasPrefix(c.Host(), "localhost") || m.token.Endpoint != want {
		t.Errorf("after the renaming: got host %s, stored %s; want localhost in both", c.Host(), m.token.Endpoint)
	}
	p.ExpireTokens()
	deliver("pbx-1.4")
	rows, err := c.StatisticsByExternalID(ctx, []string{"pbx-1.1", "pbx-1.2", "pbx-1.3", "pbx-1.4"})
	if err != nil || len(rows) != 4 {
		t.Fatalf("got %d rows, %v; want 4", len(rows), err)
	}
	if rows[0].AppID != info.ID {
		t.Errorf("the calls' app: got %q, want %q", rows[0].AppID, info.ID)
	}
	p.RevokeApp()
	if e := portalError(t, registerOne(c)); e.Class != portal.Access || !strings.Contains(e.Hint, "does not take the local app any more") {
		t.Errorf("revoked: got %s with hint %q, want %s and what to do", e.Class, e.Hint, portal.Access)
	}
}
