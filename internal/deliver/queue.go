package deliver

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"sverka/internal/ledger"
	"sverka/internal/reconcile"
)

// item is one part on its way.
type item struct {
	want     reconcile.Want
	part     ledger.Part
	look     bool  // look into the portal before anything else
	answered bool  // the portal has surely done with the request in doubt
	lostLive bool  // the portal says that it does not know the registered call
	err      error // of the last outcome
	done     bool
}

// queue holds the parts still to deliver, a line for each phone number. Only the first of a line may be on its way.
type queue struct {
	lines    map[string][]*item
	heads    heads
	out      func(Result)
	troubles int // requests in a row that failed as a whole
}

func newQueue(tell func(Result)) *queue {
	if tell == nil {
		tell = func(Result) {}
	}
	return &queue{lines: make(map[string][]*item), out: tell}
}

func (q *queue) tell(r Result) { q.out(r) }

// add puts a part into the line of its phone number, by time.
func (q *queue) add(it *item) {
	phone := it.want.Call.Phone
	line := q.lines[phone]
	at, _ := slices.BinarySearchFunc(line, it, older)
	line = slices.Insert(line, at, it)
	q.lines[phone] = line
	q.heads = nil // built when first asked for
}

// older orders the parts of one number: by start, and the parts of one call by their number.
func older(a, b *item) int {
	return cmp.Or(
		a.want.Call.Start.Compare(b.want.Call.Start),
		cmp.Compare(a.want.Key.LinkedID, b.want.Key.LinkedID),
		cmp.Compare(a.want.Key.N, b.want.Key.N),
	)
}

// ready gives up to n parts that may go now, oldest first and no two of one number.
func (q *queue) ready(now time.Time, n int) []*item {
	q.build()
	var batch, back []*item
	for len(batch) < n && q.heads.Len() > 0 {
		it := heap.Pop(&q.heads).(*item)
		if it.done {
			continue
		}
		back = append(back, it)
		if !it.part.Failure.Next.After(now) {
			batch = append(batch, it)
		}
	}
	for _, it := range back {
		heap.Push(&q.heads, it)
	}
	return batch
}

// nextTry gives the earliest time at which a part may go. waiting is false when no part is left.
func (q *queue) nextTry() (at time.Time, waiting bool) {
	q.build()
	for _, it := range q.heads {
		if it.done {
			continue
		}
		if !waiting || it.part.Failure.Next.Before(at) {
			at, waiting = it.part.Failure.Next, true
		}
	}
	return at, waiting
}

// finish takes a part out of its line, lets the next one of that number go, and tells of it.
func (q *queue) finish(it *item, r Result) {
	if it.done {
		return
	}
	it.done = true
	phone := it.want.Call.Phone
	line := q.lines[phone]
	if len(line) > 0 && line[0] == it {
		line = line[1:]
	} else {
		line = slices.DeleteFunc(line, func(other *item) bool { return other == it })
	}
	if len(line) == 0 {
		delete(q.lines, phone)
	} else {
		q.lines[phone] = line
		if q.heads != nil {
			heap.Push(&q.heads, line[0])
		}
	}
	q.tell(r)
}

func (q *queue) build() {
	if q.heads != nil {
		return
	}
	q.heads = make(heads, 0, len(q.lines))
	for _, line := range q.lines {
		q.heads = append(q.heads, line[0])
	}
	heap.Init(&q.heads)
}

// heads is a heap of the first parts of the lines: the oldest on top.
type heads []*item

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return older(h[i], h[j]) < 0 }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *heads) Push(x any) { *h = append(*h, x.(*item)) }

// Pop is for package heap.
func (h *heads) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}
