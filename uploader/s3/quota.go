package s3

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/minio/minio-go/v7"

	"sverka/uploader"
)

const (
	// recount is how long the count of used bytes is trusted: other processes may use the same bucket.
	recount = 10 * time.Minute
	// recountFull is how long it is trusted that there is no room. A listing costs a request for each 1,000 objects.
	recountFull = 20 * time.Second
)

// quota keeps count of what the objects take, from a listing and from what was put since.
type quota struct {
	max   int64
	now   func() time.Time
	count func(context.Context) (int64, error)

	mu      sync.Mutex
	used    int64 // bytes of objects, as far as known; never less than there are of our own
	pending int64 // bytes being sent
	counted time.Time
	stale   bool // something was deleted or perhaps replaced: there may be more room than is known
}

// reserve takes n bytes for an object that is to be sent; settle ends it.
func (q *quota) reserve(ctx context.Context, n int64) error {
	if q.max <= 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	age := q.now().Sub(q.counted)
	tight := q.used+q.pending+n > q.max
	if age > recount || tight && (q.stale || age > recountFull) {
		used, err := q.count(ctx)
		if err != nil {
			return err
		}
		q.used, q.counted, q.stale = used, q.now(), false
	}
	if q.used+q.pending+n > q.max {
		return fmt.Errorf("%w: %s are used of staging.max_bytes %s, and it needs %s more: raise staging.max_bytes, or see why recordings are not attached",
			uploader.ErrStagingFull, humanize.IBytes(uint64(q.used+q.pending)), humanize.IBytes(uint64(q.max)), humanize.IBytes(uint64(n)))
	}
	q.pending += n
	return nil
}

// settle ends a reservation; kept says whether the object is there now.
func (q *quota) settle(n int64, kept bool) {
	if q.max <= 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pending -= n
	if kept {
		q.used += n
		q.stale = true // it may have replaced another
	}
}

// outdate notes that there may be more room than is known.
func (q *quota) outdate() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stale = true
}

// count adds up all objects of this site.
func (s *Store) count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	var used int64
	for info := range s.core.ListObjectsIter(ctx, s.cfg.Bucket, minio.ListObjectsOptions{Prefix: s.cfg.Prefix, Recursive: true}) {
		if info.Err != nil {
			return 0, fmt.Errorf("count what is staged: %w", s.explain(ctx, info.Err))
		}
		used += info.Size
	}
	return used, nil
}
