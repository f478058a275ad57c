// Package limit counts what a client of the emulated portal uses up: the requests in a leaky bucket, and the time that each method has worked.
//
// The rules are those of the portal's limits page: a bucket of 50 that loses 2 a second, and 480 s of work per method in ten minutes.
package limit

import (
	"math"
	"sync"
	"time"
)

// Clock is a clock that runs Speed times faster than the one it is made of.
type Clock struct {
	now   func() time.Time
	start time.Time
	speed float64
}

// NewClock makes a clock that shows the same time as now does, now.
func NewClock(now func() time.Time, speed float64) *Clock {
	return &Clock{now: now, start: now(), speed: speed}
}

// Now is the time of this clock.
func (c *Clock) Now() time.Time {
	return c.start.Add(time.Duration(float64(c.now().Sub(c.start)) * c.speed))
}

// Outside tells what the ordinary clock shows when this one shows t.
func (c *Clock) Outside(t time.Time) time.Time {
	return c.start.Add(time.Duration(float64(t.Sub(c.start)) / c.speed))
}

// Bucket is a leaky bucket. Requests that do not fit do not fill it.
type Bucket struct {
	Clock *Clock
	Size  int
	Leak  float64 // requests per second

	mu    sync.Mutex
	level float64
	seen  time.Time
}

// Take puts one request in, or reports that there is no room.
func (b *Bucket) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.Clock.Now()
	if !b.seen.IsZero() {
		b.level = max(0, b.level-now.Sub(b.seen).Seconds()*b.Leak)
	}
	b.seen = now
	if b.level+1 > float64(b.Size) {
		return false
	}
	b.level++
	return true
}

const window = 10 // buckets of a minute

// Work is the time that each method has worked in the last ten minutes, kept in one-minute buckets.
type Work struct {
	Clock *Clock
	Limit time.Duration

	mu      sync.Mutex
	methods map[string]map[int64]float64 // method, minute: seconds
}

// Use tells how long a method worked in the window, when its oldest minute falls out (in ordinary time, rounded up to a second), and whether it
// is over the limit.
func (w *Work) Use(method string) (seconds float64, reset time.Time, over bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	minute := w.Clock.Now().Unix() / 60
	oldest := minute
	for m, s := range w.methods[method] {
		if m <= minute-window {
			delete(w.methods[method], m)
			continue
		}
		seconds += s
		oldest = min(oldest, m)
	}
	out := w.Clock.Outside(time.Unix((oldest+window)*60, 0))
	reset = time.Unix(int64(math.Ceil(float64(out.UnixNano())/1e9)), 0)
	return seconds, reset, seconds > w.Limit.Seconds()
}

// Add charges a method with work.
func (w *Work) Add(method string, seconds float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.methods == nil {
		w.methods = map[string]map[int64]float64{}
	}
	if w.methods[method] == nil {
		w.methods[method] = map[int64]float64{}
	}
	w.methods[method][w.Clock.Now().Unix()/60] += seconds
}
