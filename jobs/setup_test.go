package jobs_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/emulator"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// world is a portal over real HTTP and a ledger on disk.
type world struct {
	portal *emulator.Portal
	client *bitrix24.Client
	ledger *sqlite.Ledger
	log    *logrus.Entry
	logged *logbook
}

// logbook keeps what was logged.
type logbook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// setup starts a portal behind a real server.
func setup(t testing.TB, o emulator.Options) *world {
	t.Helper()
	w := inMemory(t, o)
	server := httptest.NewServer(w.portal.Handler())
	t.Cleanup(server.Close)
	w.client = w.dial(t, server.URL, nil)
	return w
}

// inMemory makes a portal without a network, so that a test can run on synctest's clock.
func inMemory(t testing.TB, o emulator.Options) *world {
	t.Helper()
	w := &world{logged: &logbook{}}
	log := logrus.New()
	log.SetOutput(w.logged)
	w.log = logrus.NewEntry(log)
	if o.Limits == (emulator.Limits{}) {
		o.Limits.Off = true
	}
	o.Dir = t.TempDir()
	var err error
	if w.portal, err = emulator.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.portal.Close() })
	w.client = w.dial(t, "https://portal.example", served{w.portal.Handler()})
	if w.ledger, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ledger.Close() })
	return w
}

// served is a handler as a transport.
type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	_ = r.Body.Close()
	return rec.Result(), nil
}

// answering is a portal that gives one answer to everything, and counts the questions.
type answering struct {
	status int
	body   string
	asked  int
}

func (a *answering) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.asked++
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, a.body)
}

// gone is the transport to a portal where nobody listens.
type gone struct{}

func (gone) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// dial gives a client of a portal.
func (w *world) dial(t testing.TB, url string, transport http.RoundTripper) *bitrix24.Client {
	t.Helper()
	c, err := bitrix24.New(bitrix24.Config{
		Webhook: secret.Text(url + "/rest/1/demo/"), Burst: 10_000, PerSecond: 10_000, Transport: transport, Log: w.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
