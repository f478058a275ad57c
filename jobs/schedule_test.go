package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/jobs"
)

// TestSchedule: a panic stays in its job and does not end it, a slow job is not started twice, trouble is told once, a stop waits.
func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := logrus.New()
		log.SetOutput(&out)
		var panics, slow, atOnce, fails, finished atomic.Int32
		s, err := jobs.NewSchedule(time.UTC, logrus.NewEntry(log),
			jobs.Job{Name: "panics", When: "@every 10s", Run: func(context.Context) error { panics.Add(1); panic("planted") }},
			jobs.Job{Name: "slow", When: "*/10 * * * * *", AtStart: true, Run: func(ctx context.Context) error {
				if atOnce.Add(1) > 1 {
					t.Error("the slow job runs twice at once")
				}
				slow.Add(1)
				<-time.After(25 * time.Second)
				atOnce.Add(-1)
				finished.Add(1)
				return ctx.Err()
			}},
			jobs.Job{Name: "fails", When: "@every 10s", Run: func(context.Context) error {
				if fails.Add(1) <= 3 {
					return errors.New("planted trouble")
				}
				return nil
			}},
		)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(62 * time.Second)
		cancel()
		<-done
		if got := panics.Load(); got != 6 {
			t.Errorf("the job that panics ran %d times, want 6", got)
		}
		if got := slow.Load(); got != 3 {
			t.Errorf("the slow job ran %d times, want 3", got)
		}
		if slow.Load() != finished.Load() {
			t.Errorf("%d runs began, %d ended", slow.Load(), finished.Load())
		}
		for words, want := range map[string]int{"planted trouble": 1, "job works again": 1, "error=planted ": 6} {
			if got := strings.Count(out.String(), words); got != want {
				t.Errorf("the log has %q %d times, want %d:\n%s", words, got, want, &out)
			}
		}
	})
}

func TestWhen(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"@every 30s", "*/5 * * * *", "30 */5 * * * *", "@daily", "0 9 * * MON-FRI"} {
		if _, err := jobs.NewSchedule(time.UTC, quiet(), jobs.Job{Name: "x", When: when}); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	for _, when := range []string{"", "x", "* * *", "61 * * * *", "@every", "@every -1x", "TZ=", "CRON_TZ=UTC", "* * * * * * *"} {
		_, err := jobs.NewSchedule(time.UTC, quiet(), jobs.Job{Name: "reconcile", When: when})
		if err == nil || !strings.Contains(err.Error(), "jobs.reconcile") {
			t.Errorf("%q: got %v, want an error that names jobs.reconcile", when, err)
		}
	}
}
