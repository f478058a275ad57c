package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/jobs"
)

// nothing is a portal and a ledger that hold nothing.
type nothing struct{}

func (nothing) Statistics(context.Context, time.Time, time.Time, func(portal.Row) error) error {
	return nil
}

func (nothing) StatisticsByExternalID(context.Context, []string) ([]portal.Row, error) {
	return nil, nil
}

func (nothing) StatisticsByCallID(context.Context, []portal.CallID) ([]portal.Row, error) {
	return nil, nil
}

func (nothing) Parts(context.Context, string, []string) ([]ledger.Part, error) { return nil, nil }

func (nothing) Save(context.Context, ...ledger.Change) error { return nil }

// TestDirectoryIsKept: when the portal answers badly, the employees that it named last serve, and the log says so once.
func TestDirectoryIsKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
	}{
		{"a page of HTML", http.StatusOK, "<html><body>Technical works</body></html>"},
		{"an error", http.StatusInternalServerError, `{"error":"INTERNAL_SERVER_ERROR","error_description":"Internal server error"}`},
		{"nobody", http.StatusOK, `{"result":[],"total":0,"time":{}}`},
		{"no scope", http.StatusForbidden, `{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the webhook token"}`},
		{"another shape", http.StatusOK, `{"result":[{"NAME":"no id"}],"total":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := inMemory(t, emulator.Options{Seed: emulator.Seed{Employees: []emulator.Employee{
					{ID: 17, Name: "Иван", Inner: "201", Active: true},
					{ID: 18, Name: "Анна", Inner: "202", Mobile: "+79030000018"},
				}}})
				ctx := context.Background()
				bad := w.dial(t, "https://bad.example", served{&answering{status: test.status, body: test.body}})
				if got, err := jobs.Directory(ctx, "office", bad, w.ledger, w.log); err == nil {
					t.Errorf("nothing is kept: got %v, want an error", got)
				}
				good, err := jobs.Directory(ctx, "office", w.client, w.ledger, w.log)
				if err != nil || len(good) != 3 {
					t.Fatalf("got %v, %v, want 3 employees", good, err)
				}
				if got := w.logged.String(); strings.Contains(got, "those kept last") {
					t.Errorf("warned without a reason:\n%s", got)
				}
				kept, err := jobs.Directory(ctx, "office", bad, w.ledger, w.log)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(kept, good); d != "" {
					t.Errorf("kept: got -, want +\n%s", d)
				}
				if n := strings.Count(w.logged.String(), "going on with those kept last"); n != 1 {
					t.Errorf("told %d times, want once:\n%s", n, w.logged.String())
				}
				if got, err := jobs.Directory(ctx, "another site", bad, w.ledger, w.log); err == nil {
					t.Errorf("another site: got %v, want an error", got)
				}
			})
		})
	}
}

// TestDirectoryUnreachable: without a portal there is nothing to go on with.
func TestDirectoryUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, emulator.Options{})
		ctx := context.Background()
		if _, err := jobs.Directory(ctx, "office", w.client, w.ledger, w.log); err != nil {
			t.Fatal(err)
		}
		got, err := jobs.Directory(ctx, "office", w.dial(t, "https://gone.example", gone{}), w.ledger, w.log)
		if portal.ClassOf(err) != portal.Unreachable {
			t.Errorf("got %v, %v, want an error of class %s", got, err, portal.Unreachable)
		}
	})
}

// bigOffice has more employees than any portal of ours.
func bigOffice() emulator.Seed {
	var s emulator.Seed
	for i := range 10_000 {
		s.Employees = append(s.Employees, emulator.Employee{
			ID: i + 2, Name: "Сотрудник", LastName: fmt.Sprint(i), Inner: fmt.Sprintf("%04d", i), Mobile: fmt.Sprintf("+7903%07d", i), Active: true,
		})
	}
	return s
}

// TestBigPortal: 10,000 employees and 200 lines start with a few requests, and again and again with the same memory.
func TestBigPortal(t *testing.T) { //nolint:paralleltest // it measures memory: nothing else may run
	w := setup(t, emulator.Options{Seed: bigOffice()})
	ctx := context.Background()
	lines := make([]portal.Line, 200)
	for i := range lines {
		lines[i] = portal.Line{Number: fmt.Sprintf("+7495000%04d", i), Name: fmt.Sprint("line ", i)}
	}
	var directory *portal.Directory
	start := func() int {
		before := w.portal.Requests().HTTP
		employees, err := jobs.Directory(ctx, "office", w.client, w.ledger, w.log)
		if err != nil {
			t.Fatal(err)
		}
		directory = portal.NewDirectory(employees, nil, func(s string) string { return s })
		if err := jobs.Lines(ctx, w.client, lines, w.log); err != nil {
			t.Fatal(err)
		}
		return w.portal.Requests().HTTP - before
	}
	if n := start(); n > 20 {
		t.Errorf("the first start took %d requests, want 20 at most: the portal gives 50 at once", n)
	}
	if e, ok := directory.Extension("9999"); !ok || e.ID != 10_001 || directory.Len() != 10_001 {
		t.Errorf("got %+v, %t of %d employees", e, ok, directory.Len())
	}
	if e, ok := directory.Phone("+79030004711"); !ok || e.Inner != "4711" {
		t.Errorf("got %+v, %t for the mobile of 4711", e, ok)
	}
	first := live()
	for range 3 {
		if n := start(); n > 8 {
			t.Errorf("a later start took %d requests, want 8 at most", n)
		}
	}
	const slack = 16 << 20
	if grown := live() - first; grown > slack {
		t.Errorf("memory grew by %d MB over three starts", grown>>20)
	}
	runtime.KeepAlive(directory)
}

// live gives the bytes in use.
func live() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkStart reads the employees of the largest portal, keeps them and makes the directory.
func BenchmarkStart(b *testing.B) {
	w := setup(b, emulator.Options{Seed: bigOffice()})
	b.ReportAllocs()
	for b.Loop() {
		employees, err := jobs.Directory(context.Background(), "office", w.client, w.ledger, w.log)
		if err != nil {
			b.Fatal(err)
		}
		portal.NewDirectory(employees, nil, func(s string) string { return s })
	}
}
