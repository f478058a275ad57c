package event_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator/event"
)

func TestBindTwice(t *testing.T) {
	t.Parallel()
	var b event.Book
	n := event.Binding{Event: "ONCRMLEADADD", Handler: "https://example.ru/"}
	if err := b.Bind(n); err != nil {
		t.Fatal(err)
	}
	if err := b.Bind(n); !errors.Is(err, event.ErrBound) {
		t.Errorf("got %v, want %v", err, event.ErrBound)
	}
	if got := len(b.Of("ONCRMLEADADD")); got != 1 {
		t.Errorf("bindings: got %d, want 1", got)
	}
}

func TestPingKeepsItsDistance(t *testing.T) {
	t.Parallel()
	var b event.Book
	now := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	n := event.Binding{ID: 1, MinTimeout: 5 * time.Second}
	var got []bool
	for _, after := range []time.Duration{0, 4 * time.Second, 5 * time.Second} {
		got = append(got, b.Ping(n, now.Add(after)))
	}
	if diff := cmp.Diff([]bool{true, false, true}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	var b event.Book
	now := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	push := func(object string) { b.Push(event.Record{Time: now, Event: "E", Object: object}) }
	take := func(q event.Request) (string, []string) {
		if q.Limit == 0 {
			q.Limit = 50
		}
		process, taken := b.Take(q, now)
		var objects []string
		for _, r := range taken {
			objects = append(objects, r.Object)
		}
		return process, objects
	}
	for _, o := range []string{"1", "2", "1", "3"} {
		push(o)
	}
	process, got := take(event.Request{Keep: true, Limit: 2})
	if diff := cmp.Diff([]string{"2", "1"}, got); diff != "" || process == "" {
		t.Errorf("process %q (-want +got):\n%s", process, diff)
	}
	if _, got := take(event.Request{Keep: true}); !cmp.Equal(got, []string{"3"}) {
		t.Errorf("the next process: got %q, want the third", got)
	}
	b.Confirm(process, []int64{2}, nil)
	if got := len(b.List("")); got != 2 {
		t.Errorf("after confirming one: got %d, want 2", got)
	}
	now = now.Add(31 * 24 * time.Hour)
	if _, got := take(event.Request{}); got != nil || len(b.List("")) != 0 {
		t.Errorf("packages that nobody confirmed for a month: got %q and %d, want none", got, len(b.List("")))
	}
}
