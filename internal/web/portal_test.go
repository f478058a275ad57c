package web_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/internal/emulator"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/web"
	"sverka/jobs"
)

// office is a portal over real HTTP, and the server, the client and the ledger that its local app has here.
type office struct {
	portal *emulator.Portal
	client *bitrix24.Client
	tokens *sqlite.Access
	events *jobs.Events
	memory memory
	log    *logrus.Entry
	url    string // http.public_url
	asked  chan string
}

// memory keeps texts in memory.
type memory struct{ texts *sync.Map }

func (m memory) Recall(_ context.Context, key string) (string, error) {
	text, _ := m.texts.Load(key)
	s, _ := text.(string)
	return s, nil
}

func (m memory) Remember(_ context.Context, key, text string) error {
	m.texts.Store(key, text)
	return nil
}

func (o *office) ClickToCall(_ context.Context, c portal.ClickToCall) error {
	o.asked <- string(c.CallID) + " " + c.Phone
	return nil
}

func (o *office) CallbackRequest(_ context.Context, c portal.CallbackRequest) error {
	o.asked <- "callback " + c.Phone + " " + c.Line
	return nil
}

// next gives what the portal asked for next.
func (o *office) next(t *testing.T) string {
	t.Helper()
	select {
	case got := <-o.asked:
		return got
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was asked for")
		return ""
	}
}

func open(t *testing.T) *office {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	o := &office{log: logrus.NewEntry(log), asked: make(chan string, 10), memory: memory{&sync.Map{}}}
	ledger, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ledger.Close() })
	o.tokens = ledger.Access("office")
	var handler http.Handler
	ours := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	o.url = "http://" + ours.Listener.Addr().String()
	o.portal, err = emulator.New(emulator.Options{
		Seed:   emulator.Seed{Employees: []emulator.Employee{{ID: 17, Name: "Иван", Inner: "201", Active: true}}},
		Limits: emulator.Limits{Off: true}, Dir: t.TempDir(), App: emulator.App{Redirect: o.url + "/b24/oauth"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.portal.Close() })
	theirs := httptest.NewServer(o.portal.Handler())
	t.Cleanup(theirs.Close)
	o.portal.SetAddress(theirs.URL)
	o.client, err = bitrix24.New(bitrix24.Config{
		App:    bitrix24.AppConfig{Portal: theirs.URL, ClientID: "app.demo", ClientSecret: "demo-secret", OAuth: theirs.URL},
		Tokens: o.tokens, Burst: 1000, PerSecond: 1000,
	})
	if err != nil {
		t.Fatal(err)
	}
	o.events = jobs.NewEvents(o, time.Now, o.log)
	s := web.New(web.Config{
		Portal: o.client, Tokens: o.tokens, Receiver: o.events, Token: httpToken, Healthy: func() error { return nil }, Now: time.Now, Log: o.log,
	})
	handler = s.Handler()
	// Serve works on the events; the requests come through the server above, whose address was needed first.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, idle{closed: make(chan struct{})}) }()
	ours.Start()
	t.Cleanup(func() {
		ours.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *office) bind(t *testing.T, want []portal.Binding) {
	t.Helper()
	if err := jobs.KeepBindings(t.Context(), o.client, o.memory, want, o.log); err != nil {
		t.Fatal(err)
	}
}

// TestWithPortal: installed, bound, asked and removed, as a portal does it.
func TestWithPortal(t *testing.T) {
	t.Parallel()
	o, ctx := open(t), t.Context()
	if err := o.portal.Install(ctx, o.url+web.PathInstall); err != nil {
		t.Fatal(err)
	}
	kept, ok, err := o.tokens.Token(ctx)
	if err != nil || !ok || kept.ApplicationToken == "" || kept.MemberID == "" {
		t.Fatalf("after the installation: got %+v, %t, %v", kept, ok, err)
	}
	o.bind(t, jobs.OnlineBindings(o.url+web.PathEvent))
	o.bind(t, jobs.OnlineBindings(o.url+web.PathEvent))
	handler := " " + o.url + web.PathEvent
	want := []string{portal.EventClickToCall + handler, portal.EventCallback + handler, portal.EventUninstall + handler}
	if diff := cmp.Diff(o.portal.Bindings(), want); diff != "" {
		t.Fatalf("bindings, -got +want:\n%s", diff)
	}
	id, err := o.portal.ClickToCall(ctx, 17, "+7 916 123-45-67")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.next(t); !strings.HasPrefix(got, id+" ") || !strings.HasSuffix(got, "79161234567") {
		t.Errorf("got %q, want call %s to 79161234567", got, id)
	}
	if err := o.portal.RequestCallback(ctx, "+79160000001", "reg1"); err != nil {
		t.Fatal(err)
	}
	if got := o.next(t); !strings.HasPrefix(got, "callback ") || !strings.HasSuffix(got, "79160000001 reg1") {
		t.Errorf("got %q", got)
	}

	// Somebody else's tokens do not take the place of ours.
	resp, err := http.Post(o.url+web.PathInstall, "application/x-www-form-urlencoded", strings.NewReader(installation()))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("foreign tokens: got status %d, want 403", resp.StatusCode)
	}
	if got, _, _ := o.tokens.Token(ctx); got != kept {
		t.Error("foreign tokens were kept")
	}

	// Events go on when the pair was renewed meanwhile.
	o.portal.ExpireTokens()
	if _, err := o.client.Scope(ctx); err != nil {
		t.Fatal(err)
	}
	if id, err = o.portal.ClickToCall(ctx, 17, "+79161234568"); err != nil {
		t.Fatal(err)
	}
	if got := o.next(t); !strings.HasPrefix(got, id) {
		t.Errorf("after the renewal: got %q, want call %s", got, id)
	}

	o.portal.RevokeApp()
	gone := func() bool {
		got, _, err := o.tokens.Token(ctx)
		return err == nil && got.AccessToken == "" && got.RefreshToken == ""
	}
	for deadline := time.Now().Add(20 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tokens outlive the app")
		}
	}
}

// TestByCode: a self-hosted portal lets the app in through a browser.
func TestByCode(t *testing.T) {
	t.Parallel()
	o := open(t)
	req, err := http.NewRequest(http.MethodGet, o.url+web.PathAuthorize, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", httpToken)
	resp, err := http.DefaultClient.Do(req) // follows to the portal and back
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Request.URL.Path != web.PathOAuth {
		t.Fatalf("ended at %s with status %d: %s", resp.Request.URL.Path, resp.StatusCode, body)
	}
	if kept, ok, err := o.tokens.Token(t.Context()); err != nil || !ok || kept.RefreshToken == "" {
		t.Errorf("got %+v, %t, %v", kept, ok, err)
	}
	if _, admin, err := o.client.Profile(t.Context()); err != nil || !admin {
		t.Errorf("profile: admin %t, %v", admin, err)
	}
}

// TestQueue: without an address of our own the portal's queue is polled, and emptied.
func TestQueue(t *testing.T) {
	t.Parallel()
	o, ctx := open(t), t.Context()
	if err := o.portal.Install(ctx, o.url+web.PathInstall); err != nil {
		t.Fatal(err)
	}
	o.bind(t, jobs.OfflineBindings())
	o.bind(t, jobs.OfflineBindings())
	if got := o.portal.Bindings(); len(got) != 2 || !slices.Contains(got, portal.EventClickToCall+" offline") {
		t.Fatalf("bindings: got %v", got)
	}
	p := &jobs.Poller{Queue: o.client, Events: o.events, Memory: o.memory, Now: time.Now, Log: o.log}
	var want []string
	for _, phone := range []string{"79161234561", "79161234562", "79161234563"} {
		id, err := o.portal.ClickToCall(ctx, 17, "+"+phone)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	waiting := o.portal.QueuedEvents("")
	worked, err := p.RunOnce(ctx)
	if err != nil || worked != waiting || waiting == 0 {
		t.Fatalf("worked on %d of %d events, %v", worked, waiting, err)
	}
	if left := o.portal.QueuedEvents(""); left != 0 {
		t.Errorf("%d events stay in the queue", left)
	}
	for _, id := range want[:worked] {
		if got := o.next(t); !strings.HasPrefix(got, id+" ") {
			t.Errorf("got %q, want call %s", got, id)
		}
	}
	// A package that was fetched and never confirmed is fetched again.
	if _, err := o.portal.ClickToCall(ctx, 17, "+79161234564"); err != nil {
		t.Fatal(err)
	}
	pack, err := o.client.OfflineGet(ctx, "")
	if err != nil || len(pack.Events) != 1 {
		t.Fatalf("got %+v, %v", pack, err)
	}
	if err := o.memory.Remember(ctx, "offline-package", pack.ProcessID); err != nil {
		t.Fatal(err)
	}
	if worked, err := p.RunOnce(ctx); err != nil || worked != 1 {
		t.Errorf("worked on %d events, %v; want the one that was not confirmed", worked, err)
	}
	if left := o.portal.QueuedEvents(""); left != 0 {
		t.Errorf("%d events stay in the queue", left)
	}
}
