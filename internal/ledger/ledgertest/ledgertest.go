// Package ledgertest is the suite that every ledger passes, wherever it is kept.
package ledgertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sverka/internal/ledger"
	"sverka/internal/portal"
)

// Ledger is all that a ledger does.
type Ledger interface {
	Parts(ctx context.Context, site string, linkedIDs []string) ([]ledger.Part, error)
	Find(ctx context.Context, site, id string) ([]ledger.Part, error)
	Dead(ctx context.Context, site string) ([]ledger.Part, error)
	Save(ctx context.Context, changes ...ledger.Change) error
	History(ctx context.Context, key ledger.Key) ([]ledger.Entry, error)
	SaveEmployees(ctx context.Context, site string, employees []portal.Employee) error
	Employees(ctx context.Context, site string) ([]portal.Employee, time.Time, error)
	Lock(ctx context.Context, onWait func()) (release func(), err error)
}

var at = time.Date(2026, 11, 22, 10, 43, 58, 0, time.UTC)

func part(site, linkedID string, n int) ledger.Part {
	id := linkedID
	if n > 1 {
		id = fmt.Sprintf("%s/%d", linkedID, n)
	}
	return ledger.Part{
		Key: ledger.Key{Site: site, LinkedID: linkedID, N: n}, ExternalID: id, Phone: "+79161234567", Start: at, Hash: "h", Step: ledger.Seen,
	}
}

// Run holds the ledgers that open gives against what everybody relies on. Each call of open gives a ledger of its own; each call of the
// function that it returns opens the same one again.
func Run(t *testing.T, open func(t *testing.T) func() Ledger) {
	t.Helper()
	ctx := context.Background()
	ignoreUpdated := cmpopts.IgnoreFields(ledger.Part{}, "UpdatedAt")

	t.Run("what is saved is read again", func(t *testing.T) {
		t.Parallel()
		reopen := open(t)
		l := reopen()
		p := part("office", "1795344238.194", 2)
		p.Step, p.CallID, p.StatID, p.ActivityID, p.FileID = ledger.RecordStaged, "externalCall.a.1", 7, 8, 9
		p.Staged, p.Adopted = "office/2026-11-22/x/2.mp3", true
		p.Intend(ledger.ToAttach, at.Add(time.Second))
		p.Fail("retryable", "перегружен", at.Add(time.Hour))
		if err := l.Save(ctx, ledger.Change{Part: p, Note: "staged"}); err != nil {
			t.Fatal(err)
		}
		got, err := reopen().Parts(ctx, "office", []string{"1795344238.194"})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, []ledger.Part{p}, ignoreUpdated); d != "" {
			t.Errorf("got -, want +\n%s", d)
		}
		if len(got) == 1 && got[0].UpdatedAt.IsZero() {
			t.Error("no time of the change")
		}
	})

	t.Run("saving again replaces, history grows", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		p := part("office", "1.1", 1)
		for i, note := range []string{"first", "", "third"} {
			p.StatID = int64(i)
			if err := l.Save(ctx, ledger.Change{Part: p, Note: note}); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.Parts(ctx, "office", []string{"1.1"})
		if err != nil || len(got) != 1 || got[0].StatID != 2 {
			t.Errorf("got %+v, %v, want one part with row 2", got, err)
		}
		history, err := l.History(ctx, p.Key)
		if err != nil {
			t.Fatal(err)
		}
		var texts []string
		for _, h := range history {
			texts = append(texts, h.Text)
		}
		if d := cmp.Diff(texts, []string{"first", "third"}); d != "" {
			t.Errorf("history: got -, want +\n%s", d)
		}
	})

	t.Run("sites stay apart", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		if err := l.Save(ctx, ledger.Change{Part: part("a", "1.1", 1)}, ledger.Change{Part: part("b", "1.1", 1)}); err != nil {
			t.Fatal(err)
		}
		got, err := l.Parts(ctx, "a", []string{"1.1"})
		if err != nil || len(got) != 1 || got[0].Site != "a" {
			t.Errorf("got %+v, %v", got, err)
		}
	})

	t.Run("many calls at once", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		const n = 1203 // more than fits one query
		changes := make([]ledger.Change, n)
		ids := make([]string, n)
		for i := range n {
			ids[i] = fmt.Sprintf("%d.%d", 1795344000+i, i)
			changes[i] = ledger.Change{Part: part("office", ids[i], 1)}
		}
		if err := l.Save(ctx, changes...); err != nil {
			t.Fatal(err)
		}
		got, err := l.Parts(ctx, "office", append(ids, "unknown"))
		if err != nil || len(got) != n {
			t.Errorf("got %d parts, %v, want %d", len(got), err, n)
		}
		none, err := l.Parts(ctx, "office", nil)
		if err != nil || len(none) != 0 {
			t.Errorf("asked for nothing: got %d parts, %v", len(none), err)
		}
	})

	t.Run("all or nothing", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		done, cancel := context.WithCancel(ctx)
		cancel()
		if err := l.Save(done, ledger.Change{Part: part("office", "1.1", 1)}); err == nil {
			t.Error("saved under a context that is done")
		}
		if got, err := l.Parts(ctx, "office", []string{"1.1"}); err != nil || len(got) != 0 {
			t.Errorf("got %+v, %v, want nothing", got, err)
		}
	})

	t.Run("a call is found by any of its names", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		p := part("office", "1.1", 2)
		p.CallID = "externalCall.a.1"
		if err := l.Save(ctx, ledger.Change{Part: p}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"1.1", "1.1/2", "externalCall.a.1"} {
			if got, err := l.Find(ctx, "office", id); err != nil || len(got) != 1 {
				t.Errorf("%s: got %d parts, %v", id, len(got), err)
			}
		}
		if got, err := l.Find(ctx, "office", "2.2"); err != nil || len(got) != 0 {
			t.Errorf("unknown: got %d parts, %v", len(got), err)
		}
	})

	t.Run("dead parts, oldest first", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		young, old, alive := part("office", "2.2", 1), part("office", "1.1", 1), part("office", "3.3", 1)
		old.Start = at.Add(-time.Hour)
		young.Bury("refused", "no")
		old.Bury("refused", "no")
		if err := l.Save(ctx, ledger.Change{Part: young}, ledger.Change{Part: old}, ledger.Change{Part: alive}); err != nil {
			t.Fatal(err)
		}
		got, err := l.Dead(ctx, "office")
		if err != nil || len(got) != 2 || got[0].LinkedID != "1.1" {
			t.Errorf("got %+v, %v", got, err)
		}
	})

	t.Run("employees are kept", func(t *testing.T) {
		t.Parallel()
		l := open(t)()
		if got, when, err := l.Employees(ctx, "office"); err != nil || len(got) != 0 || !when.IsZero() {
			t.Errorf("at first: got %v, %v, %v", got, when, err)
		}
		want := []portal.Employee{{ID: 17, Name: "Иван Петров", Inner: "201", Active: true}}
		for range 2 {
			if err := l.SaveEmployees(ctx, "office", want); err != nil {
				t.Fatal(err)
			}
		}
		got, when, err := l.Employees(ctx, "office")
		if d := cmp.Diff(got, want); d != "" || err != nil || when.IsZero() {
			t.Errorf("got %v, %v, want %v", when, err, d)
		}
	})

	t.Run("one delivers at a time", func(t *testing.T) {
		t.Parallel()
		reopen := open(t)
		first, second := reopen(), reopen()
		release, err := first.Lock(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		waits := make(chan struct{})
		got := make(chan error)
		go func() {
			free, err := second.Lock(ctx, func() { close(waits) })
			if err == nil {
				free()
			}
			got <- err
		}()
		<-waits
		select {
		case err := <-got:
			t.Fatalf("two hold the lock (%v)", err)
		default:
		}
		release()
		if err := <-got; err != nil {
			t.Errorf("after the release: %v", err)
		}
	})

	t.Run("waiting for the lock ends with the context", func(t *testing.T) {
		t.Parallel()
		reopen := open(t)
		release, err := reopen().Lock(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		done, cancel := context.WithCancel(ctx)
		if _, err := reopen().Lock(done, cancel); err == nil {
			t.Error("got the lock that another holds")
		}
	})

	t.Run("many write at once", func(t *testing.T) {
		t.Parallel()
		reopen := open(t)
		var all sync.WaitGroup
		for w := range 4 {
			l := reopen()
			all.Go(func() {
				for i := range 25 {
					if err := l.Save(ctx, ledger.Change{Part: part("office", fmt.Sprintf("%d.%d", w, i), 1), Note: "x"}); err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			})
		}
		all.Wait()
		l := reopen()
		for w := range 4 {
			for i := range 25 {
				if got, err := l.Find(ctx, "office", fmt.Sprintf("%d.%d", w, i)); err != nil || len(got) != 1 {
					t.Fatalf("part %d.%d: %d found, %v", w, i, len(got), err)
				}
			}
		}
	})
}
