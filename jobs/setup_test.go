package jobs_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"path/filepath"
	"sync"
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

func setup(t *testing.T, o emulator.Options) *world {
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
	server := httptest.NewServer(w.portal.Handler())
	t.Cleanup(server.Close)
	w.client = w.dial(t, server.URL)
	if w.ledger, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.ledger.Close() })
	return w
}

// dial gives a client of a portal that does not wait long.
func (w *world) dial(t *testing.T, url string) *bitrix24.Client {
	t.Helper()
	c, err := bitrix24.New(bitrix24.Config{
		Webhook: secret.Text(url + "/rest/1/demo/"), Burst: 10_000, PerSecond: 10_000, RetryFor: 100 * time.Millisecond, Log: w.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
