package bitrix24_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"sverka/internal/emulator"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// emulated starts an emulated portal and a client for it.
func emulated(t *testing.T, o emulator.Options, cfg bitrix24.Config, tls bool) (*emulator.Portal, *bitrix24.Client) {
	t.Helper()
	o.Seed = emulator.Seed{
		Employees: []emulator.Employee{
			{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Mobile: "+79030000017", Active: true},
			{ID: 19, Name: "Пётр", LastName: "Уволен", Inner: "203"},
		},
		Contacts: []emulator.SeedItem{{Phone: "+79161234567", Name: "Мария", Assigned: 17}},
	}
	for id := 100; id < 220; id++ {
		o.Seed.Employees = append(o.Seed.Employees, emulator.Employee{ID: id, Name: "N", LastName: fmt.Sprint(id), Active: true})
	}
	p, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(p.Handler())
	if tls {
		s.StartTLS()
		cfg.Transport = s.Client().Transport
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg.Webhook = secret.Text(s.URL + "/rest/1/demo/")
	return p, setup(t, cfg)
}

func noLimits() emulator.Options { return emulator.Options{Limits: emulator.Limits{Off: true}} }

// fast makes the client's bucket no hindrance.
func fast() bitrix24.Config { return bitrix24.Config{Burst: 1e6, PerSecond: 1e6} }

// TestDeliverToEmulator brings calls and a recording to an emulated portal and reads them back, over HTTP and HTTPS.
func TestDeliverToEmulator(t *testing.T) {
	t.Parallel()
	for _, tls := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %t", tls), func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			p, c := emulated(t, noLimits(), fast(), tls)

			owner, admin, err := c.Profile(ctx)
			if err != nil || !admin || owner.ID != 1 {
				t.Fatalf("got owner %+v, admin %t, %v; want the administrator", owner, admin, err)
			}
			if now, err := c.ServerTime(ctx); err != nil || time.Since(now).Abs() > time.Minute {
				t.Errorf("server time: got %s, %v", now, err)
			}
			staff, err := c.Employees(ctx)
			if err != nil || len(staff) != 123 {
				t.Fatalf("got %d employees, %v; want 123", len(staff), err)
			}
			want := []portal.Employee{
				{ID: 17, Name: "Иван Петров", Inner: "201", Mobile: "+79030000017", Active: true},
				{ID: 19, Name: "Пётр Уволен", Inner: "203"},
			}
			if diff := cmp.Diff(staff[1:3], want); diff != "" {
				t.Errorf("employees (-got +want):\n%s", diff)
			}

			calls := make([]portal.Call, bitrix24.MaxCalls)
			var externals []string
			for i := range calls {
				calls[i] = call(fmt.Sprintf("1700000000.%d/2", i))
				calls[i].Start = calls[i].Start.Add(time.Duration(i) * time.Minute)
				externals = append(externals, calls[i].ExternalID)
			}
			calls[3].UserID = 19
			calls[4].Phone, calls[4].CreateCRM = "+79169999999", false
			outcomes, err := c.RegisterFinish(ctx, calls)
			if err != nil {
				t.Fatal(err)
			}
			var wantRows []portal.Row
			for i, o := range outcomes {
				switch {
				case i == 3:
					if e := portalError(t, o.Err); e.Class != portal.NoUser || o.Registered {
						t.Errorf("dismissed employee: got %s, registered %t", e.Class, o.Registered)
					}
					continue
				case o.Err != nil || !o.Registered || o.Finished.CallID == "" || o.Finished.StatID == 0:
					t.Fatalf("call %d: got %+v", i, o)
				case i == 4 && (o.Finished.ActivityID != 0 || !strings.Contains(o.Finished.CRMNote, "associated crm entity")):
					t.Errorf("unknown client: got %+v, want a note and no activity", o.Finished)
				case i != 4 && (o.Finished.ActivityID == 0 || o.Finished.CRMNote != ""):
					t.Errorf("known client: got %+v, want an activity", o.Finished)
				}
				wantRows = append(wantRows, portal.Row{
					ID: o.Finished.StatID, CallID: o.Finished.CallID, ExternalID: calls[i].ExternalID, UserID: 17, Phone: calls[i].Phone, Line: calls[i].Line,
					Type: calls[i].Type, Start: calls[i].Start, Duration: 42, Status: portal.StatusOK, ActivityID: o.Finished.ActivityID,
				})
			}
			rows, err := c.StatisticsByExternalID(ctx, externals)
			if diff := cmp.Diff(rows, wantRows); diff != "" || err != nil {
				t.Errorf("by external id: %v, rows (-got +want):\n%s", err, diff)
			}
			rows = nil
			err = c.Statistics(ctx, calls[1].Start, calls[20].Start, func(r portal.Row) error {
				rows = append(rows, r)
				return nil
			})
			if diff := cmp.Diff(rows, wantRows[1:19]); diff != "" || err != nil {
				t.Errorf("by time: %v, rows (-got +want):\n%s", err, diff)
			}

			again, err := c.FinishAll(ctx, []portal.Ending{{CallID: outcomes[0].Finished.CallID, Call: calls[0]}})
			if err != nil || portal.ClassOf(again[0].Err) != portal.NotFound || again[0].Registered {
				t.Errorf("second finish: got %+v, %v; want %s", again, err, portal.NotFound)
			}

			sound := bytes.Repeat([]byte("ID3 sound"), 100_000)
			id, err := c.AttachFile(ctx, outcomes[0].Finished.CallID, "1700000000.0.mp3", int64(len(sound)), func() (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(sound)), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			record, err := p.Record(id)
			if err != nil {
				t.Fatal(err)
			}
			if stored, err := os.ReadFile(record.Path); err != nil || !bytes.Equal(stored, sound) || record.Name != "1700000000.0.mp3" {
				t.Errorf("got %d bytes as %s, %v; want the %d that were sent", len(stored), record.Name, err, len(sound))
			}
			rows, err = c.StatisticsByCallID(ctx, []portal.CallID{outcomes[0].Finished.CallID})
			if err != nil || len(rows) != 1 || rows[0].RecordFileID != id {
				t.Errorf("by call id: got %+v, %v; want the file %d", rows, err, id)
			}
			for what, test := range map[string]struct {
				id    portal.CallID
				name  string
				class portal.Class
			}{
				"a call nobody knows": {"externalCall.0.0", "a.mp3", portal.NotFound},
				"a wrong extension":   {outcomes[0].Finished.CallID, "a.ogg", portal.Refused},
			} {
				if _, err := c.AttachFile(ctx, test.id, test.name, 3, opener("abc")); portal.ClassOf(err) != test.class {
					t.Errorf("%s: got %v, want %s", what, err, test.class)
				}
			}
			if live := p.Live(); len(live) != 0 {
				t.Errorf("live calls are left: %v", live)
			}
		})
	}
}

func TestWrongWebhook(t *testing.T) {
	t.Parallel()
	p, err := emulator.New(noLimits())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		s.Close()
		_ = p.Close()
	})
	for path, hint := range map[string]string{"/rest/1/" + code + "/": "make a new one", "/elsewhere/rest/1/" + code + "/": "check bitrix24.webhook"} {
		err := profile(setup(t, bitrix24.Config{Webhook: secret.Text(s.URL + path)}))
		if e := portalError(t, err); e.Class != portal.Access || !strings.Contains(e.Hint, hint) {
			t.Errorf("%s: got %s, hint %q; want %s, %q", path, e.Class, e.Hint, portal.Access, hint)
		}
	}
}

// TestBelowLimits delivers as fast as it may to a portal whose limits run 50 times faster, and wants not to be refused once.
func TestBelowLimits(t *testing.T) {
	t.Parallel()
	const batches, speed = 150, 50
	p, c := emulated(t, emulator.Options{Speed: speed}, bitrix24.Config{PerSecond: bitrix24.DefaultPerSecond * speed}, false)
	var g errgroup.Group
	g.SetLimit(4)
	for n := range batches {
		g.Go(func() error {
			calls := make([]portal.Call, 5)
			for i := range calls {
				calls[i] = call(fmt.Sprintf("%d.%d", n, i))
			}
			outcomes, err := c.RegisterFinish(context.Background(), calls)
			for _, o := range outcomes {
				if o.Err != nil {
					return o.Err
				}
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	count := p.Requests()
	if got := len(p.Calls()); got != 5*batches || count.RefusedBucket != 0 || count.RefusedOperating != 0 {
		t.Errorf("got %d calls, %d and %d refusals; want %d and none", got, count.RefusedBucket, count.RefusedOperating, 5*batches)
	}
}

// TestAboveLimits has a client that thinks the bucket larger than it is, as when another program on this machine uses it too. The portal's
// clock stands until it has refused a request. All calls arrive all the same.
func TestAboveLimits(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var refusedAt atomic.Pointer[time.Time]
	clock := func() time.Time {
		if at := refusedAt.Load(); at != nil {
			return start.Add(time.Since(*at))
		}
		return start
	}
	cfg := fast()
	cfg.Transport = transportFunc(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if now := time.Now(); err == nil && resp.StatusCode == http.StatusServiceUnavailable {
			refusedAt.CompareAndSwap(nil, &now)
		}
		return resp, err
	})
	p, c := emulated(t, emulator.Options{Speed: 50, Now: clock}, cfg, false)
	var g errgroup.Group
	for n := range 70 {
		g.Go(func() error {
			_, err := c.RegisterFinish(context.Background(), []portal.Call{call(fmt.Sprint(n))})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if count := p.Requests(); len(p.Calls()) != 70 || count.RefusedBucket == 0 || c.Counters().Refused != int64(count.RefusedBucket) {
		t.Errorf("got %d calls after %d refusals (%d counted); want 70 after some", len(p.Calls()), count.RefusedBucket, c.Counters().Refused)
	}
}

// TestErrorsAreTrue breaks a quarter of all requests, and holds each error against what the portal has really done: only an unknown outcome
// may leave something behind, and success is always complete.
func TestErrorsAreTrue(t *testing.T) {
	t.Parallel()
	o := noLimits()
	o.Faults = emulator.Faults{Lost: 0.06, Error: 0.06, ErrorAfter: 0.06, Reset: 0.07}
	o.FaultSeed = 7
	p, c := emulated(t, o, fast(), false)
	ctx := context.Background()
	var mu sync.Mutex
	seen := map[portal.Class]int{}
	var g errgroup.Group
	g.SetLimit(16)
	for n := range 300 {
		g.Go(func() error {
			id := fmt.Sprint("call ", n)
			outcomes, err := c.RegisterFinish(ctx, []portal.Call{call(id)})
			mustHide(t, err)
			done := 0
			for _, row := range p.Calls() {
				if row.ExternalID == id {
					done++
				}
			}
			class := portal.ClassOf(err)
			mu.Lock()
			seen[class]++
			mu.Unlock()
			switch {
			case err == nil && (outcomes[0].Err != nil || done != 1):
				return fmt.Errorf("%s: success (%w) with %d rows in the portal", id, outcomes[0].Err, done)
			case err != nil && class != portal.Unknown && done != 0:
				return fmt.Errorf("%s: %s (%w) with %d rows in the portal", id, class, err, done)
			case done > 1:
				return fmt.Errorf("%s: %d rows in the portal", id, done)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if seen[""] < 150 || seen[portal.Unknown] < 30 {
		t.Errorf("got %v, want most done and some unknown", seen)
	}

	// Reading goes through all of it.
	read := 0
	if err := c.Statistics(ctx, day, day.AddDate(0, 0, 1), func(portal.Row) error { read++; return nil }); err != nil {
		t.Error(err)
	}
	if want := len(p.Calls()); read != want {
		t.Errorf("read %d rows, want %d", read, want)
	}
	if staff, err := c.Employees(ctx); err != nil || len(staff) != 123 {
		t.Errorf("read %d employees, %v; want 123", len(staff), err)
	}
}

func TestPortalIsDown(t *testing.T) {
	t.Parallel()
	p, c := emulated(t, noLimits(), fast(), false)
	p.SetDown(true)
	e := portalError(t, registerOne(c))
	if e.Class != portal.Unknown || !e.InFlight || !strings.Contains(e.Text, "503 Service Temporarily Unavailable") {
		t.Errorf("got %s, in flight %t, %q; want %s with the page's words", e.Class, e.InFlight, e.Text, portal.Unknown)
	}
	p.SetDown(false)
	if err := registerOne(c); err != nil {
		t.Errorf("after the outage: %v", err)
	}
}
