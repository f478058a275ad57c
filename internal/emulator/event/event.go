// Package event keeps what an application wants to hear from a portal: its bindings, and the queue of its offline events.
package event

import (
	"cmp"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// Binding is one subscription.
type Binding struct {
	ID         int64
	Event      string // in upper case
	Handler    string // address; "" for an offline event
	AuthType   int    // user whose tokens the event carries; 0: who caused it
	Offline    bool
	Connector  string        // offline: source key, and queue of its own
	MinTimeout time.Duration // ONOFFLINEEVENT: between two pings
}

// Record is an event in the offline queue.
type Record struct {
	ID        int64
	Time      time.Time
	Event     string
	Data      any
	User      int
	Message   string // MESSAGE_ID
	Object    string // what it is about: a newer event of the same object takes its place; "": nothing takes it
	Connector string
	Process   string // who has reserved it; "": nobody
	Reserved  time.Time
	Failed    bool
}

// keepReserved is how long a reserved package waits for its confirmation.
const keepReserved = 30 * 24 * time.Hour

// ErrBound says that the same binding is there.
var ErrBound = errors.New("handler already exists")

// Book holds bindings and queue. All methods may be used at once by several goroutines.
type Book struct {
	mu       sync.Mutex
	bindings []Binding
	queue    []Record // by ID
	last     int64
	pinged   map[int64]time.Time // by binding
}

// Bind adds a subscription and gives it an ID, or says ErrBound.
func (b *Book) Bind(n Binding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.bindings, func(o Binding) bool {
		return o.Event == n.Event && o.Handler == n.Handler && o.AuthType == n.AuthType && o.Offline == n.Offline && o.Connector == n.Connector
	}) {
		return ErrBound
	}
	b.last++
	n.ID = b.last
	b.bindings = append(b.bindings, n)
	return nil
}

// Bindings gives all subscriptions in the order of binding.
func (b *Book) Bindings() []Binding {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.bindings)
}

// Of gives the subscriptions of an event.
func (b *Book) Of(event string) []Binding {
	return slices.DeleteFunc(b.Bindings(), func(o Binding) bool { return o.Event != event })
}

// Unbind removes what gone says, and tells how many.
func (b *Book) Unbind(gone func(Binding) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := len(b.bindings)
	b.bindings = slices.DeleteFunc(b.bindings, gone)
	return before - len(b.bindings)
}

// Clear forgets everything.
func (b *Book) Clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bindings, b.queue, b.pinged = nil, nil, nil
}

// Ping reports whether a binding of ONOFFLINEEVENT is to be told now, and notes that it was.
func (b *Book) Ping(n Binding, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at, ok := b.pinged[n.ID]; ok && now.Sub(at) < n.MinTimeout {
		return false
	}
	if b.pinged == nil {
		b.pinged = map[int64]time.Time{}
	}
	b.pinged[n.ID] = now
	return true
}

// Push puts an event into the queue. It takes the place of an older one of the same object that nobody has reserved.
func (b *Book) Push(r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	r.ID, r.Message = b.last, strings.ToLower(rand.Text())
	b.queue = slices.DeleteFunc(b.queue, func(o Record) bool {
		return r.Object != "" && o.Object == r.Object && o.Event == r.Event && o.Connector == r.Connector && o.Process == ""
	})
	b.queue = append(b.queue, r)
}

// Request says which records Take is to give.
type Request struct {
	Match     func(Record) bool     // nil: all
	Order     func(a, b Record) int // nil: by time
	Limit     int
	Keep      bool   // reserve instead of deleting
	Process   string // give again what this process has reserved
	Connector string
	Failed    bool // those marked as failed
}

// Take gives records and deletes them, or reserves them for the process whose name it gives.
func (b *Book) Take(q Request, now time.Time) (process string, taken []Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = slices.DeleteFunc(b.queue, func(o Record) bool { return o.Process != "" && now.Sub(o.Reserved) > keepReserved })
	for _, r := range b.queue {
		free := r.Process == q.Process || q.Failed && r.Failed
		if free && r.Failed == q.Failed && r.Connector == q.Connector && (q.Match == nil || q.Match(r)) {
			taken = append(taken, r)
		}
	}
	if q.Order == nil {
		q.Order = func(a, b Record) int { return a.Time.Compare(b.Time) }
	}
	slices.SortStableFunc(taken, func(x, y Record) int { return cmp.Or(q.Order(x, y), cmp.Compare(x.ID, y.ID)) })
	taken = taken[:min(len(taken), q.Limit)]
	chosen := func(o Record) bool { return slices.ContainsFunc(taken, func(r Record) bool { return r.ID == o.ID }) }
	if !q.Keep {
		b.queue = slices.DeleteFunc(b.queue, chosen)
		return "", taken
	}
	if process = q.Process; process == "" {
		process = strings.ToLower(rand.Text())
	}
	for i := range b.queue {
		if chosen(b.queue[i]) {
			b.queue[i].Process, b.queue[i].Reserved = process, now
		}
	}
	return process, taken
}

// List gives the queue of a connector, reserved and failed records too.
func (b *Book) List(connector string) []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.queue), func(o Record) bool { return o.Connector != connector })
}

// Confirm deletes records that a process has reserved: all, or those that are named by id or else by message.
func (b *Book) Confirm(process string, ids []int64, messages []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queue = slices.DeleteFunc(b.queue, func(o Record) bool { return o.Process == process && named(o, ids, messages) })
}

// Fail marks records that a process has reserved: all, or those that are named.
func (b *Book) Fail(process string, messages []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, o := range b.queue {
		if o.Process == process && named(o, nil, messages) {
			b.queue[i].Failed = true
		}
	}
}

func named(r Record, ids []int64, messages []string) bool {
	switch {
	case len(ids) > 0:
		return slices.Contains(ids, r.ID)
	case len(messages) > 0:
		return slices.Contains(messages, r.Message)
	}
	return true
}
