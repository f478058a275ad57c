// Package limit keeps a client below the limits of a Bitrix24 portal: requests per second over all methods, and execution time per method.
//
// Source: the page on limits of Bitrix24's documentation.
package limit

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Bucket is the portal's leaky bucket as seen from here: each request adds one, it leaks at a steady rate, and a request that would make
// it overflow waits. Waiting requests are served first come, first served within a lane, live before bulk.
type Bucket struct {
	size    float64
	leak    float64 // per second
	reserve float64 // of size, for live requests only

	mu    sync.Mutex
	level float64
	at    time.Time // when level was right
	live  []chan struct{}
	bulk  []chan struct{}
	timer *time.Timer
}

// NewBucket makes an empty bucket for size requests at once that loses perSecond of them. A fifth of it is kept for live requests.
func NewBucket(size int, perSecond float64) *Bucket {
	b := &Bucket{at: time.Now()}
	b.shape(size, perSecond)
	return b
}

func (b *Bucket) shape(size int, perSecond float64) {
	b.size, b.leak, b.reserve = float64(size), perSecond, 0
	if size > 1 {
		b.reserve = max(1, float64(size/5))
	}
}

// Resize gives the bucket another shape; what is in it stays. Whoever waits is served by the new one.
func (b *Bucket) Resize(size int, perSecond float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.level = max(0, b.level-now.Sub(b.at).Seconds()*b.leak)
	b.at = now
	b.shape(size, perSecond)
	b.serve()
}

// Take waits for a place in the bucket. Its error is that of ctx; then no place was taken.
func (b *Bucket) Take(ctx context.Context, live bool) error {
	granted := make(chan struct{})
	b.mu.Lock()
	queue := b.queue(live)
	*queue = append(*queue, granted)
	b.serve()
	b.mu.Unlock()
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(*queue, granted); i >= 0 {
		*queue = slices.Delete(*queue, i, i+1)
	} else {
		b.level = max(0, b.level-1) // granted at the same moment
	}
	b.serve()
	return context.Cause(ctx)
}

func (b *Bucket) queue(live bool) *[]chan struct{} {
	if live {
		return &b.live
	}
	return &b.bulk
}

// serve grants what there is room for and sets the timer for the next grant. The caller holds mu.
func (b *Bucket) serve() {
	now := time.Now()
	b.level = max(0, b.level-now.Sub(b.at).Seconds()*b.leak)
	b.at = now
	for {
		queue, room := &b.live, b.size
		if len(b.live) == 0 {
			queue, room = &b.bulk, b.size-b.reserve
		}
		if len(*queue) == 0 {
			return
		}
		// A thousandth is forgiven, or rounding would make a timer that fires a nanosecond early start another one.
		if over := b.level + 1 - room; over > 0.001 {
			b.wakeIn(time.Duration(over / b.leak * float64(time.Second)))
			return
		}
		b.level++
		close((*queue)[0])
		*queue = (*queue)[1:]
	}
}

func (b *Bucket) wakeIn(d time.Duration) {
	if b.timer != nil {
		b.timer.Stop()
	}
	b.timer = time.AfterFunc(d, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.serve()
	})
}

// Fill makes the bucket full: the portal said that its own is, so others on this machine use it too.
func (b *Bucket) Fill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.level, b.at = b.size, time.Now()
}
