package limit

import (
	"sync"
	"time"
)

// The portal adds up the execution time of each method over ten minutes, and blocks the method above a limit until the oldest minute
// falls out of the sum.
const (
	window  = 600.0            // seconds
	most    = 480.0            // seconds of execution in the window, of a cloud portal
	edge    = most - 5         // from here a method rests until the portal's reset
	busy    = most * 0.8       // from here bulk requests are paced
	slowest = 30 * time.Second // the most that pacing alone delays a request
)

// Spent is what the portal reports after a call.
type Spent struct {
	Seconds float64       // execution time of the method in the window
	Took    float64       // seconds of this call
	Reset   time.Duration // until the oldest minute falls out
}

// Operating keeps what the portal reported of each method's execution time.
type Operating struct {
	mu      sync.Mutex
	methods map[string]*use
}

type use struct {
	seconds float64
	blocked time.Time // no call before: the limit is reached
	paced   time.Time // no bulk call before: the limit is near
}

// NewOperating makes one that knows of no method yet.
func NewOperating() *Operating { return &Operating{methods: map[string]*use{}} }

func (o *Operating) of(method string) *use {
	u := o.methods[method]
	if u == nil {
		u = &use{}
		o.methods[method] = u
	}
	return u
}

// Report takes in what an answer said.
//
// Near the limit a method may go on at the rate at which time falls out of the window: a call that cost a second rests for window/most
// seconds. At the limit it rests until the reset.
func (o *Operating) Report(method string, s Spent, now time.Time) {
	if s.Seconds <= 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.of(method)
	cost := s.Seconds - u.seconds
	if cost <= 0 {
		cost = s.Took
	}
	u.seconds = s.Seconds
	switch {
	case u.seconds >= edge:
		u.blocked = now.Add(s.Reset)
	case u.seconds >= busy:
		if u.paced.Before(now) {
			u.paced = now
		}
		u.paced = u.paced.Add(time.Duration(cost * window / most * float64(time.Second)))
		if latest := now.Add(slowest); u.paced.After(latest) {
			u.paced = latest
		}
	}
}

// Block takes in that the portal blocked a method, and gives the time until which it rests.
func (o *Operating) Block(method string, reset time.Duration, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	u := o.of(method)
	u.blocked = now.Add(reset)
	return u.blocked
}

// Gate says which of the methods is blocked the longest, "" if none, and until when; and until when a bulk request waits by itself.
func (o *Operating) Gate(methods map[string]int64, now time.Time) (method string, blocked, paced time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for m := range methods {
		u := o.methods[m]
		if u == nil {
			continue
		}
		if u.blocked.After(now) && u.blocked.After(blocked) {
			method, blocked = m, u.blocked
		}
		if u.paced.After(paced) {
			paced = u.paced
		}
	}
	return method, blocked, paced
}

// Seconds gives the execution time of each method as last reported.
func (o *Operating) Seconds() map[string]float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := make(map[string]float64, len(o.methods))
	for m, u := range o.methods {
		if u.seconds > 0 {
			got[m] = u.seconds
		}
	}
	return got
}
