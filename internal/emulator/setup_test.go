package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sverka/internal/emulator"
)

// noon is when the driven clocks of the tests start.
var noon = time.Date(2026, 3, 11, 12, 0, 0, 0, time.FixedZone("MSK", 3*3600))

// clock is a clock that a test drives.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: noon} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var seed = emulator.Seed{
	Employees: []emulator.Employee{
		{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Mobile: "+79030000017", Active: true},
		{ID: 18, Name: "Анна", LastName: "Сидорова", Inner: "202", Active: true},
		{ID: 19, Name: "Пётр", LastName: "Уволен", Inner: "203", Active: false},
	},
	Contacts: []emulator.SeedItem{
		{Phone: "+79161234567", Name: "Мария", Assigned: 17, Deal: true},
		{Phone: "+79161230000", Name: "Олег", Assigned: 18},
	},
	Leads:    []emulator.SeedItem{{Phone: "+79160000001", Title: "Заявка", Assigned: 17}},
	Excluded: []string{"+79160000009"},
}

type server struct {
	*emulator.Portal
	t     *testing.T
	URL   string // of the webhook
	clock *clock
}

// setup starts a portal with the seed, a driven clock and no limits unless o says otherwise.
func setup(t *testing.T, o emulator.Options) server {
	t.Helper()
	c := newClock()
	if o.Now == nil {
		o.Now = c.Now
	}
	if o.Limits == (emulator.Limits{}) {
		o.Limits.Off = true
	}
	if o.Seed.Employees == nil {
		o.Seed = seed
	}
	p, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		s.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return server{p, t, s.URL + "/rest/1/demo/", c}
}

type m = map[string]any

// post sends a request and gives the status and the decoded answer.
func (s server) post(url, contentType, body string) (int, m) {
	s.t.Helper()
	res, err := http.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, s.decode(res)
}

func (s server) decode(res *http.Response) m {
	s.t.Helper()
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	var out m
	if err := json.Unmarshal(b, &out); err != nil {
		s.t.Fatalf("%v in %s", err, b)
	}
	return out
}

func (s server) call(method string, params m) (int, m) {
	s.t.Helper()
	b, err := json.Marshal(params)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.post(s.URL+method, "application/json", string(b))
}

// must calls a method that has to work and gives its result.
func (s server) must(method string, params m) any {
	s.t.Helper()
	status, out := s.call(method, params)
	if status != http.StatusOK {
		s.t.Fatalf("%s: %d %v", method, status, out)
	}
	return out["result"]
}

// refused calls a method that has to fail and gives "status code text".
func (s server) refused(method string, params m) string {
	s.t.Helper()
	status, out := s.call(method, params)
	return fmt.Sprintf("%d %v %v", status, out["error"], out["error_description"])
}

func with(base m, more m) m {
	out := m{}
	for k, v := range base {
		out[k] = v
	}
	for k, v := range more {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

// register registers an incoming call of the present moment and gives its CALL_ID.
func (s server) register(more m) string {
	s.t.Helper()
	out := s.must("telephony.externalCall.register", with(m{
		"USER_ID": 17, "PHONE_NUMBER": "+79995550001", "TYPE": 2, "CALL_START_DATE": s.clock.Now().Format(time.RFC3339), "SHOW": 0,
	}, more))
	return out.(m)["CALL_ID"].(string)
}

func (s server) finish(callID string, more m) m {
	s.t.Helper()
	return s.must("telephony.externalCall.finish", with(m{"CALL_ID": callID, "USER_ID": 17, "DURATION": 10, "STATUS_CODE": "200"}, more)).(m)
}

// done registers and finishes a call.
func (s server) done(more m) string {
	s.t.Helper()
	id := s.register(more)
	s.finish(id, nil)
	return id
}

func (s server) rows(params m) []any {
	s.t.Helper()
	return s.must("voximplant.statistic.get", params).([]any)
}

func textOf(err error) string {
	var e *emulator.Error
	if errors.As(err, &e) {
		return e.Text
	}
	return fmt.Sprint(err)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}
