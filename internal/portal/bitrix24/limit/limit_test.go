package limit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal/bitrix24/limit"
)

// take takes n places one after the other and gives how long that took.
func take(t *testing.T, b *limit.Bucket, live bool, n int) time.Duration {
	t.Helper()
	began := time.Now()
	for range n {
		if err := b.Take(t.Context(), live); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(began)
}

func about(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := got - want; d < -10*time.Millisecond || d > 10*time.Millisecond {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBucket(50, 2)
		about(t, "bulk burst", take(t, b, false, 40), 0)
		about(t, "bulk behind the burst", take(t, b, false, 10), 5*time.Second)
		about(t, "live burst beside it", take(t, b, true, 10), 0)
		about(t, "live behind it", take(t, b, true, 2), time.Second)
		time.Sleep(time.Hour)
		about(t, "live burst of an empty bucket", take(t, b, true, 50), 0)
		time.Sleep(time.Hour)
		b.Fill()
		about(t, "live in a full bucket", take(t, b, true, 1), 500*time.Millisecond)
		about(t, "bulk in a full bucket", take(t, b, false, 1), 5500*time.Millisecond)
	})
}

func TestBucketResized(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBucket(50, 2)
		take(t, b, true, 50)
		waiting := make(chan time.Duration)
		began := time.Now()
		go func() {
			if b.Take(t.Context(), true) == nil {
				waiting <- time.Since(began)
			}
		}()
		synctest.Wait()
		b.Resize(250, 5)
		about(t, "one that waited", <-waiting, 0)
		about(t, "the rest of the wider bucket", take(t, b, true, 199), 0)
		about(t, "behind it", take(t, b, true, 5), time.Second)
	})
}

// TestBucketNeverOverflows plays the portal's side: a leaky bucket of the same size must never run over, whoever asks.
func TestBucketNeverOverflows(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 2, 7, 50} {
		synctest.Test(t, func(t *testing.T) {
			b := limit.NewBucket(size, 2)
			granted := make(chan time.Time, 1000)
			for i := range 200 {
				go func() {
					time.Sleep(time.Duration(i%7) * 300 * time.Millisecond)
					if b.Take(t.Context(), i%3 == 0) == nil {
						granted <- time.Now()
					}
				}()
			}
			began := time.Now()
			level, at := 0.0, began
			for range 200 {
				now := <-granted
				level = max(0, level-now.Sub(at).Seconds()*2) + 1
				at = now
				if level > float64(size)+0.01 {
					t.Fatalf("size %d: the level is %.3f after %s", size, level, now.Sub(began))
				}
			}
			if took := time.Since(began); took > 105*time.Second {
				t.Errorf("size %d: 200 requests took %s, want about 100 s or less", size, took)
			}
		})
	}
}

func TestBucketOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBucket(2, 1)
		take(t, b, true, 2)
		var order []int
		done := make(chan int)
		for i, live := range []bool{false, false, true, true, false} {
			go func() {
				if b.Take(t.Context(), live) == nil {
					done <- i
				}
			}()
			synctest.Wait()
		}
		for range 5 {
			order = append(order, <-done)
		}
		if diff := cmp.Diff(order, []int{2, 3, 0, 1, 4}); diff != "" {
			t.Errorf("order (-got +want):\n%s", diff)
		}
	})
}

func TestBucketCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := limit.NewBucket(1, 1)
		take(t, b, false, 1)
		why := errors.New("shutdown")
		ctx, cancel := context.WithCancelCause(t.Context())
		failed := make(chan error)
		go func() { failed <- b.Take(ctx, false) }()
		synctest.Wait()
		cancel(why)
		if err := <-failed; !errors.Is(err, why) {
			t.Errorf("got %v, want the cause", err)
		}
		about(t, "behind one that gave up", take(t, b, false, 1), time.Second)
	})
}

func TestOperating(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 7, 10, 0, 0, 0, time.UTC)
	uses := func(methods ...string) map[string]int64 {
		m := map[string]int64{}
		for _, name := range methods {
			m[name] = 1
		}
		return m
	}
	o := limit.NewOperating()
	gate := func(what, wantMethod string, wantBlocked, wantPaced time.Duration, methods ...string) {
		t.Helper()
		method, blocked, paced := o.Gate(uses(methods...), now)
		since := func(at time.Time) time.Duration {
			if at.IsZero() {
				return 0
			}
			return at.Sub(now)
		}
		if method != wantMethod || since(blocked) != wantBlocked || since(paced) != wantPaced {
			t.Errorf("%s: got %q blocked for %s, paced for %s; want %q, %s, %s",
				what, method, since(blocked), since(paced), wantMethod, wantBlocked, wantPaced)
		}
	}
	gate("nothing known", "", 0, 0, "a", "b")
	o.Report("a", limit.Spent{Seconds: 100, Took: 1, Reset: time.Minute}, now)
	gate("far from the limit", "", 0, 0, "a")
	o.Report("b", limit.Spent{Seconds: 390, Took: 1, Reset: time.Minute}, now)
	gate("first report near the limit", "", 0, 30*time.Second, "b")
	o.Report("c", limit.Spent{Seconds: 380}, now)
	o.Report("c", limit.Spent{Seconds: 388}, now)
	gate("eight seconds rest ten", "", 0, 10*time.Second, "c")
	o.Report("c", limit.Spent{Seconds: 386, Took: 4}, now)
	gate("the sum fell, four seconds rest five more", "", 0, 15*time.Second, "c")
	o.Report("d", limit.Spent{Seconds: 476, Took: 1, Reset: 2 * time.Minute}, now)
	gate("at the limit", "d", 2*time.Minute, 0, "a", "d")
	gate("another method", "", 0, 0, "a")
	if until := o.Block("a", 4*time.Minute, now); until != now.Add(4*time.Minute) {
		t.Errorf("blocked until %s", until)
	}
	gate("the longest of two", "a", 4*time.Minute, 0, "d", "a")
	now = now.Add(5 * time.Minute)
	gate("later", "", 0, 0, "d", "a")
	want := map[string]float64{"a": 100, "b": 390, "c": 386, "d": 476}
	if diff := cmp.Diff(o.Seconds(), want); diff != "" {
		t.Errorf("seconds (-got +want):\n%s", diff)
	}
}
