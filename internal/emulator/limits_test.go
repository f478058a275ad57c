package emulator_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

func (s server) statuses(n int) map[int]int {
	s.t.Helper()
	out := map[int]int{}
	for range n {
		status, _ := s.call("server.time", nil)
		out[status]++
	}
	return out
}

func TestBucket(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Limits: emulator.Limits{Burst: 50}})
	if got := s.statuses(60); got[200] != 50 || got[503] != 10 {
		t.Errorf("60 at once: got %v, want 50 answered", got)
	}
	if _, out := s.call("server.time", nil); out["error"] != "QUERY_LIMIT_EXCEEDED" {
		t.Errorf("got %v", out)
	}
	s.clock.Advance(5 * time.Second)
	if got := s.statuses(20); got[200] != 10 {
		t.Errorf("5 s later: got %v, want 10 answered", got)
	}
	s.clock.Advance(time.Hour)
	if got := s.statuses(60); got[200] != 50 {
		t.Errorf("an hour later: got %v, want 50 answered", got)
	}
	if got := s.Requests(); got.HTTP != 141 || got.RefusedBucket != 10+1+10+10 || got.Methods["server.time"] != 110 {
		t.Errorf("counted %+v", got)
	}
}

func TestBatchIsOneRequest(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Limits: emulator.Limits{Burst: 2}})
	var cmd []string
	for range 50 {
		cmd = append(cmd, "server.time")
	}
	for range 2 {
		batchOf(s, cmd, 0)
	}
	if got, want := s.refused("server.time", nil), "503 QUERY_LIMIT_EXCEEDED Too many requests"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUploadIsARequest(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Limits: emulator.Limits{Burst: 4}})
	id := s.done(nil)
	address := s.uploadURL(id, "a.mp3")
	if status, _ := s.upload(address, "file", "a.mp3", []byte("x")); status != 200 {
		t.Fatalf("got %d", status)
	}
	if status, out := s.upload(address, "file", "a.mp3", []byte("x")); status != 503 || out["error"] != "QUERY_LIMIT_EXCEEDED" {
		t.Errorf("fifth request: got %d %v", status, out)
	}
}

func TestLimitClockRunsFaster(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Speed: 50})
	// Limits of zero value are the cloud's: the helper switches them off, so they are named here.
	fast := setup(t, emulator.Options{Speed: 50, Limits: emulator.Limits{Burst: 50, PerSecond: 2}})
	fast.statuses(50)
	fast.clock.Advance(time.Second)
	if got := fast.statuses(110); got[200] != 50 {
		t.Errorf("a second at 50 times the speed: got %v, want the bucket empty again", got)
	}
	if got := s.statuses(200); got[200] != 200 {
		t.Errorf("limits off: got %v", got)
	}
}

func TestOperatingTime(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Limits: emulator.Limits{Burst: 10_000, Operating: time.Second}})
	used, n := 0.0, 0
	var out m
	status := 200
	for ; status == 200; n++ {
		if n > 1000 {
			t.Fatal("no limit is ever reached")
		}
		status, out = s.call("user.get", nil)
		if block, ok := out["time"].(m); ok && status == 200 {
			if now := block["operating"].(float64); now <= used {
				t.Fatalf("operating does not grow: %v after %v", now, used)
			} else {
				used = now
			}
		}
	}
	if used <= 1 || status != http.StatusTooManyRequests || out["error"] != "OPERATION_TIME_LIMIT" {
		t.Errorf("after %d calls and %v s: got %d %v", n, used, status, out)
	}
	if got, want := out["time"].(m)["operating_reset_at"], float64(noon.Add(10*time.Minute).Unix()); got != want {
		t.Errorf("operating_reset_at: got %v, want %v", got, want)
	}
	s.must("server.time", nil) // other methods work on
	r := batchOf(s, m{"a": "user.get", "b": "server.time"}, 0)
	if got := r["result_error"].(m)["a"].(m)["error"]; got != "OPERATION_TIME_LIMIT" {
		t.Errorf("in a batch: got %v", got)
	}
	if got := r["result_time"].(m)["a"].(m)["operating_reset_at"]; got != float64(noon.Add(10*time.Minute).Unix()) {
		t.Errorf("in a batch: operating_reset_at %v", got)
	}
	s.clock.Advance(9*time.Minute + 59*time.Second)
	if status, _ := s.call("user.get", nil); status != http.StatusTooManyRequests {
		t.Errorf("before the reset: got %d", status)
	}
	s.clock.Advance(time.Second)
	s.must("user.get", nil)
	if got := s.Requests().RefusedOperating; got != 3 {
		t.Errorf("counted %d refusals, want 3", got)
	}
}

// The reset is told in the time of the client, whose clock does not run faster.
func TestOperatingResetAtSpeed(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Speed: 60, Limits: emulator.Limits{Burst: 10_000, Operating: time.Nanosecond}})
	s.must("profile", nil)
	_, out := s.call("profile", nil)
	if got, want := out["time"].(m)["operating_reset_at"], float64(noon.Add(10*time.Second).Unix()); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseFaults(t *testing.T) {
	t.Parallel()
	got, err := emulator.ParseFaults("lost=0.05, error=0.1,error_after=0.15,reset=0.2,slow=200ms")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(emulator.Faults{Lost: 0.05, Error: 0.1, ErrorAfter: 0.15, Reset: 0.2, Slow: 200 * time.Millisecond}, got); d != "" {
		t.Error(d)
	}
	if got, err := emulator.ParseFaults(""); err != nil || got != (emulator.Faults{}) {
		t.Errorf("empty list: got %+v, %v", got, err)
	}
	for list, word := range map[string]string{
		"loss=0.1": "loss", "lost=2": "probability", "lost=NaN": "probability", "lost": "probability", "slow=5": "duration", "slow=-1s": "duration",
		"lost=0.1,lost=0.2": "twice", "lost=0.6,error=0.6": "more than 1",
	} {
		if _, err := emulator.ParseFaults(list); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want an error about %q", list, err, word)
		}
	}
}

// What each fault does to one registration: what the client sees, and whether the work was done.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		faults emulator.Faults
		status int // 0: no answer
		done   bool
	}{
		{"lost", emulator.Faults{Lost: 1}, 0, true},
		{"error", emulator.Faults{Error: 1}, 500, false},
		{"error_after", emulator.Faults{ErrorAfter: 1}, 500, true},
		{"slow", emulator.Faults{Slow: time.Millisecond}, 200, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, emulator.Options{})
			s.SetFaults(c.faults)
			status, err := s.try()
			if status != c.status || (err == nil) != (c.status != 0) {
				t.Errorf("got %d, %v; want %d", status, err, c.status)
			}
			if c.name == "lost" && !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want a connection that ends", err)
			}
			if got := len(s.Live()) == 1; got != c.done {
				t.Errorf("work done: got %v, want %v", got, c.done)
			}
			if got := s.Requests().Faults; got[c.name] != 1 {
				t.Errorf("counted %v", got)
			}
		})
	}
}

// try registers a call on a connection of its own, and gives the status or the error of the connection.
func (s server) try() (int, error) {
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Post(s.URL+register, "application/json", strings.NewReader(`{"USER_ID":17,"PHONE_NUMBER":"+79995550001","TYPE":2}`))
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Body.Close()
}

func TestReset(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Faults: emulator.Faults{Reset: 1}, FaultSeed: 7})
	const tries = 40
	for range tries {
		if status, err := s.try(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("got %d, %v; want a reset", status, err)
		}
	}
	worked := s.Requests().Methods["telephony.externalCall.register"]
	if worked < tries/4 || worked > tries*3/4 {
		t.Errorf("the work was done %d times of %d, want about half", worked, tries)
	}
}

func TestFaultsOfUploads(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	address := s.uploadURL(s.done(nil), "a.mp3")
	s.SetFaults(emulator.Faults{ErrorAfter: 1})
	if status, _ := s.upload(address, "file", "a.mp3", []byte("x")); status != 500 || len(s.Records()) != 1 {
		t.Errorf("error_after: got %d and %d records", status, len(s.Records()))
	}
	s.SetFaults(emulator.Faults{Error: 1})
	if status, _ := s.upload(address, "file", "a.mp3", []byte("x")); status != 500 || len(s.Records()) != 1 {
		t.Errorf("error: got %d and %d records", status, len(s.Records()))
	}
}

// The same seed plays the same faults.
func TestFaultSeed(t *testing.T) {
	t.Parallel()
	play := func() string {
		s := setup(t, emulator.Options{Faults: emulator.Faults{Error: 0.5}, FaultSeed: 42})
		var b strings.Builder
		for range 32 {
			status, _ := s.call("server.time", nil)
			fmt.Fprint(&b, status, " ")
		}
		return b.String()
	}
	if a, b := play(), play(); a != b || !strings.Contains(a, "500") || !strings.Contains(a, "200") {
		t.Errorf("got %s and %s", a, b)
	}
}

func TestManyClientsAtOnce(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				id := s.done(m{"EXTERNAL_CALL_ID": fmt.Sprint(i, "-", j), "PHONE_NUMBER": fmt.Sprintf("+7999555%02d%02d", i, j), "CRM_CREATE": 1})
				s.upload(s.uploadURL(id, "a.mp3"), "file", "a.mp3", []byte(id))
				s.rows(m{"FILTER": m{"CALL_ID": id}})
				s.Calls()
				s.Live()
			}
		})
	}
	wg.Wait()
	if c, r, d := len(s.Calls()), len(s.Records()), len(s.Deals()); c != 80 || r != 80 || d != 81 {
		t.Errorf("got %d calls, %d records, %d deals; want 80, 80, 81", c, r, d)
	}
	for i, c := range s.Calls() {
		if c.ID != int64(i+1) {
			t.Fatalf("row %d has ID %d", i, c.ID)
		}
	}
}
