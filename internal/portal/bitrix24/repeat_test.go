package bitrix24_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

const (
	full     = `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`
	broken   = `{"error":"INTERNAL_SERVER_ERROR","error_description":"Internal server error"}`
	done     = `{"result":{"result":{"r0":{"CALL_ID":"c1"},"r0f":{"CALL_ID":"c1","ID":5}}}}`
	someone  = `{"result":{"ID":"7"}}`
	blocked  = `{"error":"OPERATION_TIME_LIMIT","time":{"finish":1000,"operating_reset_at":1030}}`
	blockedL = `{"error":"OPERATION_TIME_LIMIT","time":{"finish":1000,"operating_reset_at":1500}}`
)

// TestRepeat says which answers are followed by another try, and when the client gives up. After "bucket full" a bulk request waits 5.5 s,
// until the part kept for live requests has leaked out.
func TestRepeat(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		do       func(*bitrix24.Client) error
		answers  []reply
		class    portal.Class // "": success
		requests int
		least    time.Duration
		most     time.Duration
	}{
		{"read, bucket full", profile, []reply{failing(503, full), failing(503, full), ok(someone)}, "", 3, 10 * time.Second, 12 * time.Second},
		{"write, bucket full", registerOne, []reply{failing(503, full), failing(503, full), ok(done)}, "", 3, 10 * time.Second, 12 * time.Second},
		{"write, bucket stays full", registerOne, []reply{failing(503, full)}, portal.RateLimited, 0, 90 * time.Second, 121 * time.Second},
		{"read, server faults", profile, []reply{failing(500, broken), failing(502, "<h1>Bad Gateway</h1>"), ok(someone)}, "", 3, time.Second, 3 * time.Second},
		{"read, server stays broken", profile, []reply{failing(500, broken)}, portal.Unknown, 5, 4 * time.Second, 20 * time.Second},
		{"write, server fault", registerOne, []reply{failing(500, broken), ok(done)}, portal.Unknown, 1, 0, 0},
		{"write, page of a gateway", registerOne, []reply{failing(504, "<h1>Gateway Time-out</h1>"), ok(done)}, portal.Unknown, 1, 0, 0},
		{"read, refused", profile, []reply{failing(401, `{"error":"NO_AUTH_FOUND"}`), ok(someone)}, portal.Access, 1, 0, 0},
		{"write, blocked for 30 s", registerOne, []reply{failing(429, blocked), ok(done)}, "", 2, 30 * time.Second, 35 * time.Second},
		{"write, blocked for long", registerOne, []reply{failing(429, blockedL), ok(done)}, portal.OperatingTime, 1, 0, 0},
		{"read, blocked in a batch", statistics, []reply{
			ok(`{"result":[],"total":60}`),
			ok(`{"result":{"result":[],"result_error":{"p1":` + blocked + `},"result_time":{"p1":{"finish":1000,"operating_reset_at":1030}}}}`),
			ok(`{"result":{"result":{"p1":[]}}}`),
			ok(`{"result":[]}`),
		}, "", 4, 30 * time.Second, 35 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := script(test.answers...)
				began := time.Now()
				err := test.do(setup(t, bitrix24.Config{Transport: s}))
				took := time.Since(began)
				if got := portal.ClassOf(err); got != test.class || (err == nil) != (test.class == "") {
					t.Errorf("got %v, want class %q", err, test.class)
				}
				if got := len(s.requests()); test.requests > 0 && got != test.requests {
					t.Errorf("got %d requests, want %d", got, test.requests)
				}
				if took < test.least || took > test.most {
					t.Errorf("took %s, want %s to %s", took, test.least, test.most)
				}
			})
		})
	}
}

// TestBlockedMethod wants a method that the portal has blocked to rest without being asked again, and all others to go on.
func TestBlockedMethod(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := script(failing(429, blockedL), ok(someone))
		c := setup(t, bitrix24.Config{Transport: s})
		began := time.Now()
		for range 3 {
			e := portalError(t, statistics(c))
			if e.Class != portal.OperatingTime || e.Method != "voximplant.statistic.get" || !e.Until.Equal(began.Add(501*time.Second)) {
				t.Errorf("got %s of %s until %s, want the statistics blocked for 501 s", e.Class, e.Method, e.Until.Sub(began))
			}
		}
		if err := profile(c); err != nil {
			t.Error(err)
		}
		if got := len(s.requests()); got != 2 {
			t.Errorf("got %d requests, want the first and that of the other method", got)
		}
	})
}

// TestOperatingTimeIsSaved has a portal that works ten seconds for each statistics request, and blocks the method above 480 s in ten
// minutes. The client must slow down before it is blocked.
func TestOperatingTimeIsSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const each = 10.0
		var spent [10]float64 // by minute
		minute := int64(0)
		var refused int
		transport := inMemory(func(w http.ResponseWriter, _ *http.Request) {
			now := time.Now().Unix() / 60
			for minute < now {
				minute = max(minute+1, now-10)
				spent[minute%10] = 0
			}
			sum, oldest := 0.0, now
			for i := range int64(10) {
				if spent[(now-i)%10] > 0 {
					oldest = now - i
				}
				sum += spent[(now-i)%10]
			}
			clock := fmt.Sprintf(`"finish":%d,"operating":%g,"operating_reset_at":%d`, time.Now().Unix(), sum+each, (oldest+10)*60)
			if sum > 480 {
				refused++
				w.WriteHeader(http.StatusTooManyRequests)
				_, _ = fmt.Fprintf(w, `{"error":"OPERATION_TIME_LIMIT","time":{%s}}`, clock)
				return
			}
			spent[now%10] += each
			_, _ = fmt.Fprintf(w, `{"result":[],"total":0,"time":{%s}}`, clock)
		})
		c := setup(t, bitrix24.Config{Transport: transport, RetryFor: 15 * time.Minute})
		began := time.Now()
		for range 200 {
			if err := statistics(c); err != nil {
				t.Fatal(err)
			}
		}
		if refused > 0 {
			t.Errorf("the portal refused %d requests, want none", refused)
		}
		// 200 requests are 2,000 s of work: 480 at once, the rest at 0.8 s per second.
		if took := time.Since(began); took < 25*time.Minute || took > 50*time.Minute {
			t.Errorf("took %s, want about 32 minutes", took)
		}
	})
}

// TestLanes runs bulk requests without end, and wants a live one to go at once, also when the bucket is empty for bulk.
func TestLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		transport := inMemory(func(w http.ResponseWriter, _ *http.Request) {
			sent.Add(1)
			_, _ = w.Write([]byte(someone))
		})
		c := setup(t, bitrix24.Config{Transport: transport})
		ctx, cancel := context.WithCancel(t.Context())
		for range 100 {
			go func() { _, _, _ = c.Profile(ctx) }()
		}
		synctest.Wait()
		if got := sent.Load(); got != 40 {
			t.Errorf("bulk sent %d requests at once, want 40: ten of the bucket are for live requests", got)
		}
		began := time.Now()
		for range 10 {
			if err := profile(c.Lane(bitrix24.Live)); err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("ten live requests took %s, want none of it waiting", took)
		}
		if err := profile(c.Lane(bitrix24.Live)); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 490*time.Millisecond || took > 510*time.Millisecond {
			t.Errorf("the live request behind a full bucket took %s, want 500ms", took)
		}
		if got := sent.Load(); got != 51 {
			t.Errorf("sent %d requests, want no bulk request meanwhile", got)
		}
		cancel()
		synctest.Wait()
	})
}
