package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
)

func open(t *testing.T, path string) *sqlite.Ledger {
	t.Helper()
	l, err := sqlite.Open(context.Background(), path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestTokens(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "ledger.db")
	mine, others := open(t, path).Access("офис 1"), open(t, path).Access("office")
	if got, ok, err := mine.Token(ctx); ok || err != nil || got != (portal.Token{}) {
		t.Errorf("before: got %+v, %t, %v; want none", got, ok, err)
	}
	for _, n := range []string{"1", "2"} {
		want := portal.Token{
			AccessToken: "access-x", RefreshToken: "refresh-x", Expires: time.Date(2026, 11, 22, 20, 0, 1, 0, time.UTC),
			MemberID: "m" + n, Endpoint: "https://portal.example/rest/", Server: "https://oauth.example/rest/", Scope: "crm,telephony", ApplicationToken: "a",
		}
		if err := mine.SaveToken(ctx, want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := open(t, path).Access("офис 1").Token(ctx)
		if err != nil || !ok {
			t.Fatalf("got %t, %v; want tokens", ok, err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("tokens (-got +want):\n%s", diff)
		}
		if shown := fmt.Sprintf("%v %+v", got, got); strings.Contains(shown, "refresh-x") {
			t.Errorf("printed tokens show a secret: %s", shown)
		}
	}
	if _, ok, err := others.Token(ctx); ok || err != nil {
		t.Errorf("another site: got %t, %v; want none", ok, err)
	}
}

func TestLockTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	release, err := open(t, path).Access("office").LockTokens(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := open(t, path).Access("office").LockTokens(short); err == nil {
		t.Error("two have the lock of one site at once")
	}
	other, err := open(t, path).Access("another/../office").LockTokens(context.Background())
	if err != nil {
		t.Fatalf("lock of another site: %v", err)
	}
	other()
	release()
	again, err := open(t, path).Access("office").LockTokens(context.Background())
	if err != nil {
		t.Fatalf("lock that was let go: %v", err)
	}
	again()
}

func TestMoves(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a := open(t, filepath.Join(t.TempDir(), "ledger.db")).Access("office")
	if got, err := a.MovedTo(ctx, "old.example"); got != "" || err != nil {
		t.Errorf("before: got %q, %v; want none", got, err)
	}
	for _, want := range []string{"https://new.example", "https://newer.example"} {
		if err := a.SaveMove(ctx, "old.example", want); err != nil {
			t.Fatal(err)
		}
		if got, err := a.MovedTo(ctx, "old.example"); got != want || err != nil {
			t.Errorf("got %q, %v; want %s", got, err, want)
		}
	}
}

// TestLedgerIsPrivate has a ledger of an earlier version, which anybody could read.
func TestLedgerIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "ledger.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	for _, name := range []string{path, path + "-wal"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s: got rights %o, want 600", filepath.Base(name), got)
		}
	}
}
