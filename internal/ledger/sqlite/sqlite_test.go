package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sverka/internal/ledger/ledgertest"
	"sverka/internal/ledger/sqlite"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T) func() ledgertest.Ledger {
		path := filepath.Join(t.TempDir(), "new folder", "ledger #1.db")
		return func() ledgertest.Ledger {
			l, err := sqlite.Open(context.Background(), path, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(path); err != nil {
					t.Errorf("the ledger is not where it should be: %v", err)
				}
			})
			return l
		}
	})
}

func TestOpenWhereNothingMayBeWritten(t *testing.T) {
	t.Parallel()
	file := filepath.Join("/proc", "sverka", "ledger.db")
	if _, err := sqlite.Open(context.Background(), file, time.Now); err == nil {
		t.Errorf("opened %s", file)
	}
}
