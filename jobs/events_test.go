package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/jobs"
)

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// calls is a handler that keeps what it was asked for.
type calls struct {
	clicks    []string
	callbacks []string
	fail      error
}

func (c *calls) ClickToCall(_ context.Context, click portal.ClickToCall) error {
	if c.fail == nil {
		c.clicks = append(c.clicks, string(click.CallID))
	}
	return c.fail
}

func (c *calls) CallbackRequest(_ context.Context, callback portal.CallbackRequest) error {
	if c.fail == nil {
		c.callbacks = append(c.callbacks, callback.Phone)
	}
	return c.fail
}

var began = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func click(id string) portal.Event {
	return portal.Event{Name: portal.EventClickToCall, At: began, Data: map[string]string{"CALL_ID": id, "USER_ID": "17", "PHONE_NUMBER": "+79161234567"}}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	ctx, now, c := t.Context(), began, &calls{}
	e := jobs.NewEvents(c, func() time.Time { return now }, quiet())
	receive := func(event portal.Event) {
		t.Helper()
		if err := e.Receive(ctx, event); err != nil {
			t.Errorf("%s: %v", event.Name, err)
		}
	}
	receive(click("a"))
	receive(click("a")) // delivered again
	receive(click("b"))
	callback := portal.Event{Name: portal.EventCallback, Data: map[string]string{"PHONE_NUMBER": "112233"}}
	receive(callback)
	receive(callback)
	receive(portal.Event{Name: "ONCRMLEADADD"})
	now = now.Add(6 * time.Minute)
	receive(callback) // the visitor asks once more
	if diff := cmp.Diff(c.clicks, []string{"a", "b"}); diff != "" {
		t.Errorf("clicks, -got +want:\n%s", diff)
	}
	if diff := cmp.Diff(c.callbacks, []string{"112233", "112233"}); diff != "" {
		t.Errorf("callbacks, -got +want:\n%s", diff)
	}
	bad := click("c")
	bad.Data["PHONE_NUMBER"] = "100&SIP/x"
	if err := e.Receive(ctx, bad); !errors.Is(err, jobs.ErrBadEvent) {
		t.Errorf("no phone number: got %v, want ErrBadEvent", err)
	}
	// What failed is worked on when it comes again.
	c.fail = io.ErrUnexpectedEOF
	if err := e.Receive(ctx, click("d")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	c.fail = nil
	receive(click("d"))
	if got := c.clicks[len(c.clicks)-1]; got != "d" {
		t.Errorf("got %s, want d", got)
	}
}

var errCrash = errors.New("crash")

// queue is the portal's queue in memory. It dies at the given step, once.
type queue struct {
	mu       sync.Mutex
	waiting  []portal.OfflineEvent
	packages map[string][]portal.OfflineEvent
	next     int
	step     int
	dieAt    int // 0: never
	noIDs    bool
}

func (q *queue) add(ids ...string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		q.next++
		item := portal.OfflineEvent{
			ID: int64(q.next), Name: portal.EventClickToCall, At: began, MessageID: fmt.Sprintf("m%d", q.next),
			Data: fmt.Appendf(nil, `{"CALL_ID":%q,"USER_ID":17,"PHONE_NUMBER":"+79161234567"}`, id),
		}
		if q.noIDs {
			item.MessageID = ""
		}
		q.waiting = append(q.waiting, item)
	}
}

func (q *queue) left() int {
	n := len(q.waiting)
	for _, p := range q.packages {
		n += len(p)
	}
	return n
}

func (q *queue) dies() bool {
	q.step++
	return q.step == q.dieAt
}

func (q *queue) OfflineGet(_ context.Context, id string) (portal.Package, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dies() {
		return portal.Package{}, errCrash
	}
	if id != "" {
		return portal.Package{Events: slices.Clone(q.packages[id])}, nil
	}
	n := min(2, len(q.waiting)) // small packages, so that there are several
	if n == 0 {
		return portal.Package{}, nil
	}
	id = fmt.Sprintf("p%d", len(q.packages)+1)
	if q.packages == nil {
		q.packages = map[string][]portal.OfflineEvent{}
	}
	q.packages[id], q.waiting = slices.Clone(q.waiting[:n]), q.waiting[n:]
	return portal.Package{ProcessID: id, Events: slices.Clone(q.packages[id])}, nil
}

func (q *queue) OfflineClear(_ context.Context, id string, messages ...string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.dies() {
		return errCrash
	}
	q.packages[id] = slices.DeleteFunc(q.packages[id], func(e portal.OfflineEvent) bool {
		return len(messages) == 0 || slices.Contains(messages, e.MessageID)
	})
	if q.dies() {
		return errCrash // cleared, and the answer is lost
	}
	return nil
}

// memory is kept over a crash.
type memory map[string]string

func (m memory) Recall(_ context.Context, key string) (string, error) { return m[key], nil }
func (m memory) Remember(_ context.Context, key, text string) error   { m[key] = text; return nil }

// TestCrashWhilePolling: wherever it dies, each event is worked on and leaves the queue. A repeat in a new process is known by its CALL_ID.
func TestCrashWhilePolling(t *testing.T) {
	t.Parallel()
	for dieAt := range 14 {
		q, m, c := &queue{dieAt: dieAt}, memory{}, &calls{}
		q.add("a", "b", "c", "d", "e")
		crashed := false
		for range 3 {
			events := jobs.NewEvents(c, func() time.Time { return began }, quiet()) // a new process knows nothing
			p := &jobs.Poller{Queue: q, Events: events, Memory: m, Now: func() time.Time { return began }, Log: quiet()}
			if _, err := p.RunOnce(t.Context()); errors.Is(err, errCrash) {
				crashed = true
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if want := dieAt > 0 && dieAt <= 12; crashed != want {
			t.Errorf("dies at %d: crashed %t, want %t", dieAt, crashed, want)
		}
		slices.Sort(c.clicks)
		if diff := cmp.Diff(slices.Compact(c.clicks), []string{"a", "b", "c", "d", "e"}); diff != "" {
			t.Errorf("dies at %d: worked on, -got +want:\n%s", dieAt, diff)
		}
		if q.left() != 0 {
			t.Errorf("dies at %d: %d events stay in the queue", dieAt, q.left())
		}
		if m["offline-package"] != "" {
			t.Errorf("dies at %d: package %s is still remembered", dieAt, m["offline-package"])
		}
	}
}

// TestPollFailure: what fails stays in the queue, the rest leaves it; what can never be done, or is too old, leaves it too.
func TestPollFailure(t *testing.T) {
	t.Parallel()
	for _, noIDs := range []bool{false, true} {
		q, m, now, c := &queue{noIDs: noIDs}, memory{}, began, &calls{fail: io.ErrUnexpectedEOF}
		q.add("a", "b")
		q.waiting[0].Data = []byte(`{"CALL_ID":"a","USER_ID":17,"PHONE_NUMBER":"evil"}`)
		clock := func() time.Time { return now }
		p := &jobs.Poller{Queue: q, Events: jobs.NewEvents(c, clock, quiet()), Memory: m, Now: clock, Log: quiet()}
		if _, err := p.RunOnce(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("got %v", err)
		}
		want := 1
		if noIDs {
			want = 2
		}
		if q.left() != want {
			t.Errorf("%d events in the queue, want %d", q.left(), want)
		}
		now = now.Add(20 * time.Minute)
		if _, err := p.RunOnce(t.Context()); err != nil {
			t.Errorf("too old: got %v", err)
		}
		if q.left() != 0 || len(c.clicks) != 0 {
			t.Errorf("%d events in the queue, worked on %v", q.left(), c.clicks)
		}
	}
}

// TestPollerRuns: it goes on through trouble, and ends when it is told to.
func TestPollerRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, c := &queue{dieAt: 1}, &calls{}
		p := &jobs.Poller{Queue: q, Events: jobs.NewEvents(c, time.Now, quiet()), Memory: memory{}, Every: 5 * time.Second, Now: time.Now, Log: quiet()}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		synctest.Wait()
		q.add("a")
		time.Sleep(11 * time.Second)
		q.add("b")
		time.Sleep(6 * time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(c.clicks, []string{"a", "b"}); diff != "" {
			t.Errorf("-got +want:\n%s", diff)
		}
	})
}

// binder is the portal's bindings in memory.
type binder struct {
	have    []portal.Binding
	bound   int
	unbound int
	refuse  string // this event cannot be bound
}

func (b *binder) EventGet(context.Context) ([]portal.Binding, error) {
	return slices.Clone(b.have), nil
}

func (b *binder) EventBind(_ context.Context, x portal.Binding) error {
	if x.Event == b.refuse {
		return &portal.Error{Class: portal.Refused, Method: "event.bind", Code: "ERROR_EVENT_NOT_FOUND"}
	}
	b.bound++
	b.have = append(b.have, x)
	return nil
}

func (b *binder) EventUnbind(_ context.Context, x portal.Binding) (int, error) {
	b.unbound++
	before := len(b.have)
	b.have = slices.DeleteFunc(b.have, func(y portal.Binding) bool { return x == y })
	return before - len(b.have), nil
}

func TestKeepBindings(t *testing.T) {
	t.Parallel()
	const url, moved = "https://pbx.example/b24/event", "https://new.example/b24/event"
	foreign := []portal.Binding{
		{Event: portal.EventClickToCall, Handler: "https://other.example/hook"},
		{Event: "ONCRMLEADADD", Handler: "https://other.example/hook"},
		{Event: portal.EventCallback, Offline: true},
	}
	stray := portal.Binding{Event: "ONCRMDEALADD", Handler: url} // leads to us, and we no longer want it
	p, m := &binder{have: append(slices.Clone(foreign), stray)}, memory{}
	keep := func(want []portal.Binding) {
		t.Helper()
		if err := jobs.KeepBindings(t.Context(), p, m, want, quiet()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(p.have, append(slices.Clone(foreign), want...)); diff != "" {
			t.Fatalf("-got +want:\n%s", diff)
		}
	}
	keep(jobs.OnlineBindings(url))
	bound, unbound := p.bound, p.unbound
	keep(jobs.OnlineBindings(url)) // nothing to do
	if p.bound != bound || p.unbound != unbound {
		t.Errorf("the second run bound %d and unbound %d", p.bound-bound, p.unbound-unbound)
	}
	keep(jobs.OnlineBindings(moved)) // the service moved
	keep(nil)                        // no address any more
	// The queue: one of the two events is there already, by somebody else, and stays when we go.
	if err := jobs.KeepBindings(t.Context(), p, m, jobs.OfflineBindings(), quiet()); err != nil {
		t.Fatal(err)
	}
	if got := p.have[len(p.have)-1]; got != (portal.Binding{Event: portal.EventClickToCall, Offline: true}) || len(p.have) != len(foreign)+1 {
		t.Errorf("queue: got %+v", p.have)
	}
	keep(nil)
}

// TestBindingRefused: an event that the portal does not know keeps no other from being bound.
func TestBindingRefused(t *testing.T) {
	t.Parallel()
	p := &binder{refuse: portal.EventClickToCall}
	err := jobs.KeepBindings(t.Context(), p, memory{}, jobs.OnlineBindings("https://pbx.example/b24/event"), quiet())
	if portal.ClassOf(err) != portal.Refused {
		t.Errorf("got %v", err)
	}
	if len(p.have) != 2 {
		t.Errorf("got %+v, want the two others", p.have)
	}
}
