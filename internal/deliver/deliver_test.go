package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/deliver"
	"sverka/internal/emulator"
	"sverka/internal/ledger"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/reconcile"
	"sverka/internal/secret"
)

// world is a portal over real HTTP, a ledger on disk, and something between them that can break.
type world struct {
	t      *testing.T
	portal *emulator.Portal
	client *bitrix24.Client
	ledger *sqlite.Ledger
}

func setup(t *testing.T) *world {
	t.Helper()
	p, err := emulator.New(emulator.Options{
		Limits: emulator.Limits{Off: true},
		Seed: emulator.Seed{Employees: []emulator.Employee{
			{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Active: true},
			{ID: 19, Name: "Пётр", LastName: "Иванов", Inner: "203", Active: false},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	c, err := bitrix24.New(bitrix24.Config{Webhook: secret.Text(server.URL + "/rest/1/demo/"), Burst: 10_000, PerSecond: 10_000, RetryFor: 200 * time.Millisecond, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	l, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &world{t: t, portal: p, client: c, ledger: l}
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

var noon = time.Now().Add(-48 * time.Hour).Truncate(time.Second)

// wants gives n missed calls of a few numbers, and every third of them answered.
func wants(n int) []reconcile.Want {
	list := make([]reconcile.Want, n)
	for i := range list {
		id := fmt.Sprintf("1795344%03d.%d", i, i)
		list[i] = reconcile.Want{
			Key: ledger.Key{Site: "office", LinkedID: id, N: 1},
			Call: portal.Call{
				ExternalID: id, Type: portal.Incoming, UserID: 17, Phone: fmt.Sprintf("+7916000%04d", i%7), Start: noon.Add(time.Duration(i) * time.Minute),
				Status: portal.StatusMissed, CreateCRM: i%2 == 0,
			},
		}
		if i%3 == 0 {
			list[i].Call.Status, list[i].Call.Duration = portal.StatusOK, 10+i
		}
	}
	return list
}

func (w *world) deliverer(p deliver.Portal, l deliver.Ledger) *deliver.Deliverer {
	return deliver.New(p, l, deliver.Options{Grace: 10 * time.Millisecond, Backoff: time.Millisecond, Fallback: 1}, time.Now, quiet())
}

// check holds the promise: each part is in the portal once and as it should be, and the ledger knows it.
func (w *world) check(list []reconcile.Want) {
	w.t.Helper()
	rows := make(map[string][]emulator.Call)
	for _, c := range w.portal.Calls() {
		rows[c.ExternalID] = append(rows[c.ExternalID], c)
	}
	for _, want := range list {
		got := rows[want.Call.ExternalID]
		if len(got) != 1 {
			w.t.Errorf("part %s: %d calls in the portal, want 1", want.Call.ExternalID, len(got))
			continue
		}
		if got[0].Duration != want.Call.Duration || got[0].Status != string(want.Call.Status) || !got[0].Start.Equal(want.Call.Start) {
			w.t.Errorf("part %s: got %+v", want.Call.ExternalID, got[0])
		}
		parts, err := w.ledger.Parts(context.Background(), "office", []string{want.Key.LinkedID})
		if err != nil || len(parts) != 1 || parts[0].Step < ledger.Finished || parts[0].InDoubt() || string(parts[0].CallID) != got[0].CallID {
			w.t.Errorf("part %s: the ledger has %+v, %v; the portal %s", want.Call.ExternalID, parts, err, got[0].CallID)
		}
	}
	if len(rows) != len(list) {
		w.t.Errorf("%d different calls in the portal, want %d", len(rows), len(list))
	}
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(60)
	told := make(map[string]int)
	err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, func(r deliver.Result) {
		told[r.Want.Call.ExternalID]++
		if r.Err != nil || r.Adopted {
			t.Errorf("%s: %+v", r.Want.Call.ExternalID, r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	w.check(list)
	for _, want := range list {
		if told[want.Call.ExternalID] != 1 {
			t.Errorf("%s: told %d times, want once", want.Call.ExternalID, told[want.Call.ExternalID])
		}
	}
	requests := w.portal.Requests().HTTP
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, nil); err != nil {
		t.Fatal(err)
	}
	if again := w.portal.Requests().HTTP - requests; again != 0 {
		t.Errorf("delivering what is delivered took %d requests, want none", again)
	}
}

// TestOrder: the calls of one number reach the portal oldest first, whatever the order they come in.
func TestOrder(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(80)
	mixed := slices.Clone(list)
	slices.Reverse(mixed)
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), mixed, nil); err != nil {
		t.Fatal(err)
	}
	w.check(list)
	last := make(map[string]time.Time)
	for _, c := range w.portal.Calls() { // by ID: in the order of finish
		if c.Start.Before(last[c.Phone]) {
			t.Errorf("%s: a call of %s was finished after one of %s", c.Phone, c.Start, last[c.Phone])
		}
		last[c.Phone] = c.Start
	}
}

// TestLedgerLost: what is in the portal is adopted, never sent again.
func TestLedgerLost(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(40)
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list[:30], nil); err != nil {
		t.Fatal(err)
	}
	fresh, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fresh.Close() })
	w.ledger = fresh
	adopted := 0
	err = w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, func(r deliver.Result) {
		if r.Adopted {
			adopted++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if adopted != 30 {
		t.Errorf("adopted %d, want 30", adopted)
	}
	w.check(list)
}

var errKilled = errors.New("killed")

// killer stops everything at the n-th step: before a write to the ledger, before a request, or after one whose answer is then lost.
type killer struct {
	*world
	mu   sync.Mutex
	left int
}

func (k *killer) step() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left--
	if k.left < 0 {
		return errKilled
	}
	return nil
}

func (k *killer) Save(ctx context.Context, changes ...ledger.Change) error {
	if err := k.step(); err != nil {
		return err
	}
	return k.ledger.Save(ctx, changes...)
}

func (k *killer) Parts(ctx context.Context, site string, ids []string) ([]ledger.Part, error) {
	return k.ledger.Parts(ctx, site, ids)
}

func (k *killer) around(request func() ([]portal.Outcome, error)) ([]portal.Outcome, error) {
	if err := k.step(); err != nil {
		return nil, err
	}
	out, err := request()
	if dead := k.step(); dead != nil {
		return nil, dead
	}
	return out, err
}

func (k *killer) RegisterFinish(ctx context.Context, calls []portal.Call) ([]portal.Outcome, error) {
	return k.around(func() ([]portal.Outcome, error) { return k.client.RegisterFinish(ctx, calls) })
}

func (k *killer) FinishAll(ctx context.Context, endings []portal.Ending) ([]portal.Outcome, error) {
	return k.around(func() ([]portal.Outcome, error) { return k.client.FinishAll(ctx, endings) })
}

func (k *killer) StatisticsByExternalID(ctx context.Context, ids []string) ([]portal.Row, error) {
	if err := k.step(); err != nil {
		return nil, err
	}
	return k.client.StatisticsByExternalID(ctx, ids)
}

// TestKilledBetweenAnyTwoSteps kills the deliverer at its first step, then at its second, and so on, and starts it again each time.
func TestKilledBetweenAnyTwoSteps(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(90)
	for n := 0; ; n++ {
		if n > 500 {
			t.Fatal("never done")
		}
		// A killed run leaves its steps behind, so the next one is given one more step than it needs to get to the same place.
		k := &killer{world: w, left: n % 12}
		err := w.deliverer(k, k).Deliver(context.Background(), list, nil)
		if err == nil && k.left >= 0 {
			break
		}
	}
	w.check(list)
}

// TestFaults: answers lost, errors before and after the work, connections reset.
func TestFaults(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.portal.SetFaults(emulator.Faults{Lost: 0.08, Error: 0.05, ErrorAfter: 0.08, Reset: 0.08})
	list := wants(200)
	for n := 0; ; n++ {
		if n > 100 {
			t.Fatal("never done")
		}
		failed := 0
		err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, func(r deliver.Result) {
			if r.Err != nil {
				failed++
			}
		})
		if err == nil && failed == 0 {
			break
		}
	}
	w.check(list)
}

// TestRefused: what the portal refuses costs no other call anything, and is remembered with the portal's words.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(30)
	list[3].Call.Phone = "anonymous"
	var refused []deliver.Result
	err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, func(r deliver.Result) {
		if r.Err != nil {
			refused = append(refused, r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(refused) != 1 || refused[0].Want.Key != list[3].Key || !refused[0].Part.Failure.Dead {
		t.Fatalf("refused: got %+v, want call 3 dead", refused)
	}
	w.check(slices.Delete(slices.Clone(list), 3, 4))
}

// TestDismissed: the calls of an employee whom the portal refuses go to the fallback.
func TestDismissed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(3)
	list[1].Call.UserID = 19
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, nil); err != nil {
		t.Fatal(err)
	}
	w.check(list)
	for _, c := range w.portal.Calls() {
		if want := map[bool]int{true: 1, false: 17}[c.ExternalID == list[1].Call.ExternalID]; c.UserID != want {
			t.Errorf("%s: user %d, want %d", c.ExternalID, c.UserID, want)
		}
	}
}

// TestRungFirstIsDismissed: a call whose first rung employee the portal refuses is registered for who finishes it, not lost to the fallback.
func TestRungFirstIsDismissed(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(3)
	list[0].Call.RegisterUserID = 1
	list[1].Call.RegisterUserID = 19
	list[2].Call.UserID, list[2].Call.RegisterUserID = 19, 17
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, nil); err != nil {
		t.Fatal(err)
	}
	w.check(list)
	for _, c := range w.portal.Calls() {
		if want := map[bool]int{true: 1, false: 17}[c.ExternalID == list[2].Call.ExternalID]; c.UserID != want {
			t.Errorf("%s: user %d, want %d", c.ExternalID, c.UserID, want)
		}
	}
}

// TestRegisteredNeverFinished: the live call of an earlier run is finished, not registered again; when it is gone, it is made anew.
func TestRegisteredNeverFinished(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone=%t", gone), func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			list := wants(1)
			call := list[0].Call
			answer, err := w.portal.Do(context.Background(), "telephony.externalCall.register", map[string]any{
				"USER_ID": call.UserID, "PHONE_NUMBER": call.Phone, "TYPE": int(call.Type), "CALL_START_DATE": call.Start.Format(time.RFC3339),
				"EXTERNAL_CALL_ID": call.ExternalID, "SHOW": 0,
			})
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprint(answer.(map[string]any)["CALL_ID"])
			if gone {
				id = "externalCall.gone.1"
			}
			p := ledger.Part{Key: list[0].Key, ExternalID: call.ExternalID, Start: call.Start, Step: ledger.Registered, CallID: portal.CallID(id)}
			if err := w.ledger.Save(context.Background(), ledger.Change{Part: p}); err != nil {
				t.Fatal(err)
			}
			if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, nil); err != nil {
				t.Fatal(err)
			}
			w.check(list)
			if got := w.portal.Calls()[0].CallID; !gone && got != id {
				t.Errorf("finished %s, want the registered %s", got, id)
			}
		})
	}
}

// TestPortalDown: the queue stops instead of wearing itself out, and goes on where it was.
func TestPortalDown(t *testing.T) {
	t.Parallel()
	w := setup(t)
	list := wants(40)
	w.portal.SetDown(true)
	err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, func(r deliver.Result) { t.Errorf("told of %s", r.Want.Call.ExternalID) })
	if portal.ClassOf(err) == "" {
		t.Fatalf("got %v, want an error of the portal", err)
	}
	w.portal.SetDown(false)
	if err := w.deliverer(w.client, w.ledger).Deliver(context.Background(), list, nil); err != nil {
		t.Fatal(err)
	}
	w.check(list)
}
