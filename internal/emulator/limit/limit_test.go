package limit_test

import (
	"testing"
	"time"

	"sverka/internal/emulator/limit"
)

var start = time.Date(2026, 3, 11, 12, 0, 30, 0, time.UTC)

func TestClock(t *testing.T) {
	t.Parallel()
	now := start
	c := limit.NewClock(func() time.Time { return now }, 10)
	now = start.Add(3 * time.Second)
	if got, want := c.Now(), start.Add(30*time.Second); !got.Equal(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := c.Outside(start.Add(30 * time.Second)); !got.Equal(now) {
		t.Errorf("outside: got %v, want %v", got, now)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	now := start
	b := limit.Bucket{Clock: limit.NewClock(func() time.Time { return now }, 1), Size: 3, Leak: 2}
	takes := func(n int) (ok int) {
		for range n {
			if b.Take() {
				ok++
			}
		}
		return ok
	}
	for _, c := range []struct {
		wait time.Duration
		want int
	}{{0, 3}, {400 * time.Millisecond, 0}, {100 * time.Millisecond, 1}, {time.Second, 2}, {time.Hour, 3}} {
		now = now.Add(c.wait)
		if got := takes(5); got != c.want {
			t.Errorf("%v later: got %d, want %d", c.wait, got, c.want)
		}
	}
}

func TestWork(t *testing.T) {
	t.Parallel()
	now := start
	w := limit.Work{Clock: limit.NewClock(func() time.Time { return now }, 1), Limit: 5 * time.Second}
	check := func(when string, wantSeconds float64, wantReset time.Time, wantOver bool) {
		t.Helper()
		seconds, reset, over := w.Use("a")
		if seconds != wantSeconds || !reset.Equal(wantReset) || over != wantOver {
			t.Errorf("%s: got %v s, %v, %v; want %v s, %v, %v", when, seconds, reset.UTC(), over, wantSeconds, wantReset, wantOver)
		}
	}
	minute := start.Truncate(time.Minute)
	w.Add("a", 3)
	w.Add("b", 100)
	check("first minute", 3, minute.Add(10*time.Minute), false)
	now = now.Add(time.Minute)
	w.Add("a", 4)
	check("second minute", 7, minute.Add(10*time.Minute), true)
	now = minute.Add(10 * time.Minute)
	check("the first falls out", 4, minute.Add(11*time.Minute), false)
	now = minute.Add(11 * time.Minute)
	check("the second falls out", 0, minute.Add(21*time.Minute), false)
}
