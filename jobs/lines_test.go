package jobs_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sverka/internal/emulator"
	"sverka/internal/portal"
	"sverka/jobs"
)

// linesOf gives the lines of a portal by number.
func linesOf(t *testing.T, w *world) []portal.Line {
	t.Helper()
	lines, err := w.client.Lines(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestLines: the lines of the configuration come into the portal once, those that calls made before get their names, and no other is touched.
func TestLines(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	ctx := context.Background()
	for _, number := range []string{"+74950000001", "theirs"} {
		if err := w.client.AddLine(ctx, portal.Line{Number: number, AutoCreate: true}); err != nil {
			t.Fatal(err)
		}
	}
	want := []portal.Line{
		{Number: "+74950000001", Name: "Продажи", AutoCreate: true},
		{Number: "+74950000002", Name: "Склад", AutoCreate: true},
		{Number: strings.Repeat("7", 51), Name: "longer than the portal holds"},
	}
	if err := jobs.Lines(ctx, w.client, want, w.log); err != nil {
		t.Fatal(err)
	}
	sorted := cmpopts.SortSlices(func(a, b portal.Line) bool { return a.Number < b.Number })
	if d := cmp.Diff(linesOf(t, w), append(slices.Clone(want[:2]), portal.Line{Number: "theirs", AutoCreate: true}), sorted); d != "" {
		t.Errorf("got -, want +\n%s", d)
	}
	if got := w.logged.String(); strings.Count(got, "the portal does not take a line") != 1 || !strings.Contains(got, strings.Repeat("7", 51)) {
		t.Errorf("want one warning of the long line:\n%s", got)
	}
	before := w.portal.Requests()
	if err := jobs.Lines(ctx, w.client, want[:2], w.log); err != nil {
		t.Fatal(err)
	}
	after := w.portal.Requests()
	if got := after.HTTP - before.HTTP; got != 1 {
		t.Errorf("both sides agree: %d requests, want 1", got)
	}
	if err := jobs.Lines(ctx, w.client, nil, w.log); err != nil {
		t.Fatal(err)
	}
	if got := w.portal.Requests().HTTP - after.HTTP; got != 0 {
		t.Errorf("no lines are configured: %d requests, want none", got)
	}
}

// TestManyLines: 200 lines are a few requests, not 200.
func TestManyLines(t *testing.T) {
	t.Parallel()
	w := setup(t, emulator.Options{})
	want := make([]portal.Line, 200)
	for i := range want {
		want[i] = portal.Line{Number: fmt.Sprintf("+7495000%04d", i), Name: fmt.Sprint("line ", i)}
	}
	if err := jobs.Lines(context.Background(), w.client, want, w.log); err != nil {
		t.Fatal(err)
	}
	if got := w.portal.Requests().HTTP; got > 10 {
		t.Errorf("%d requests for 200 lines, want 10 at most", got)
	}
	if d := cmp.Diff(linesOf(t, w), want); d != "" {
		t.Errorf("got -, want +\n%s", d)
	}
}

// TestLinesFaults: what the portal did without saying so is done again, and nothing is doubled.
func TestLinesFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, emulator.Options{Faults: emulator.Faults{Error: 0.2, ErrorAfter: 0.3}, FaultSeed: 3})
		want := make([]portal.Line, 60)
		for i := range want {
			want[i] = portal.Line{Number: fmt.Sprintf("+7495000%04d", i), Name: fmt.Sprint("line ", i), AutoCreate: true}
		}
		if err := jobs.Lines(context.Background(), w.client, want, w.log); err != nil {
			t.Fatal(err)
		}
		if n := w.portal.Requests().Faults["error_after"]; n == 0 {
			t.Error("no answer was lost: the test shows nothing")
		}
		w.portal.SetFaults(emulator.Faults{})
		if d := cmp.Diff(linesOf(t, w), want); d != "" {
			t.Errorf("got -, want +\n%s\n%s", d, w.logged.String())
		}
	})
}

// TestLinesRefused: a portal that takes lines from applications only is told of once, and stops nothing.
func TestLinesRefused(t *testing.T) {
	t.Parallel()
	w := inMemory(t, emulator.Options{})
	ctx, want := context.Background(), []portal.Line{{Number: "+74950000001"}}
	refusing := &answering{
		status: http.StatusForbidden, body: `{"error":"WRONG_AUTH_TYPE","error_description":"Current authorization type is denied for this method"}`,
	}
	if err := jobs.Lines(ctx, w.dial(t, "https://refusing.example", served{refusing}), want, w.log); err != nil {
		t.Errorf("got %v, want no error: calls do without lines", err)
	}
	if got := w.logged.String(); strings.Count(got, "level=warning") != 1 || !strings.Contains(got, "bitrix24.app") {
		t.Errorf("want one warning with the mend:\n%s", got)
	}
	if refusing.asked != 1 {
		t.Errorf("asked %d times, want once", refusing.asked)
	}
}

// TestLinesUnreachable: without a portal going on makes no sense.
func TestLinesUnreachable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := inMemory(t, emulator.Options{})
		err := jobs.Lines(context.Background(), w.dial(t, "https://gone.example", gone{}), []portal.Line{{Number: "+74950000001"}}, w.log)
		if portal.ClassOf(err) != portal.Unreachable {
			t.Errorf("got %v, want an error of class %s", err, portal.Unreachable)
		}
	})
}
