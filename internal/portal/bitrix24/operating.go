package bitrix24

import (
	"sync"
	"time"
)

// The portal adds up the execution time of each method over ten minutes, and blocks the method above a limit until the oldest minute
// falls out of the sum.
const (
	operatingLimit  = 480.0 // seconds
	operatingWindow = 600.0 // seconds
	operatingEdge   = operatingLimit - 5
	operatingBusy   = operatingLimit * 0.8
	operatingMinute = time.Minute      // how soon the sum changes at the latest when the portal does not say
	longestPace     = 30 * time.Second // the most that pacing alone delays a request
)

// operating keeps what the portal reported of each method's execution time.
type operating struct {
	mu      sync.Mutex
	methods map[string]*spent
}

type spent struct {
	seconds float64
	blocked time.Time // no call before: the limit is reached
	paced   time.Time // no bulk call before: the limit is near
}

func newOperating() *operating { return &operating{methods: map[string]*spent{}} }

func (o *operating) of(method string) *spent {
	s := o.methods[method]
	if s == nil {
		s = &spent{}
		o.methods[method] = s
	}
	return s
}

// report takes in the time that an answer gave.
//
// Near the limit a method may go on at the rate at which time falls out of the window: a call that cost a second rests for window/limit
// seconds. At the limit it rests until the portal's own reset, counted from the portal's clock, which may differ from ours.
func (o *operating) report(method string, t timing, now time.Time) {
	if t.Operating <= 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.of(method)
	cost := float64(t.Operating) - s.seconds
	if cost <= 0 {
		cost = float64(t.Duration)
	}
	s.seconds = float64(t.Operating)
	switch {
	case s.seconds >= operatingEdge:
		s.blocked = now.Add(t.reset())
	case s.seconds >= operatingBusy:
		from := s.paced
		if from.Before(now) {
			from = now
		}
		s.paced = from.Add(time.Duration(cost * operatingWindow / operatingLimit * float64(time.Second)))
		if latest := now.Add(longestPace); s.paced.After(latest) {
			s.paced = latest
		}
	}
}

// block takes in that the portal blocked a method, and gives the time until which it rests.
func (o *operating) block(method string, t timing, now time.Time) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.of(method)
	if t.ResetAt > 0 || !s.blocked.After(now) {
		s.blocked = now.Add(t.reset())
	}
	return s.blocked
}

// gate says which of the methods is blocked, until when, and until when a bulk request should wait on its own.
func (o *operating) gate(methods map[string]int64, now time.Time) (method string, blocked, paced time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for m := range methods {
		s := o.methods[m]
		if s == nil {
			continue
		}
		if s.blocked.After(now) && s.blocked.After(blocked) {
			method, blocked = m, s.blocked
		}
		if s.paced.After(paced) {
			paced = s.paced
		}
	}
	return method, blocked, paced
}

func (o *operating) seconds() map[string]float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	got := make(map[string]float64, len(o.methods))
	for m, s := range o.methods {
		if s.seconds > 0 {
			got[m] = s.seconds
		}
	}
	return got
}
