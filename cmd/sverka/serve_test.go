package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sverka/internal/emulator"
)

// text is what a running program has written so far.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// running is a service of a rig.
type running struct {
	*rig
	cmd    *exec.Cmd
	stderr text
	ended  chan error
}

// edit changes the rig's configuration.
func (r *rig) edit(from, to string) {
	r.t.Helper()
	text, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		r.t.Fatalf("the configuration lacks %q:\n%s", from, text)
	}
	if err := os.WriteFile(r.config, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// serveExtra listens anywhere and reconciles every second.
const serveExtra = "http: {listen: '127.0.0.1:0'}\njobs: {reconcile: '@every 1s'}"

func (r *rig) serve() *running {
	r.t.Helper()
	s := &running{rig: r, cmd: r.command("serve"), ended: make(chan error, 1)}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	r.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// until waits for something to come true.
func (s *running) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s did not happen:\n%s", what, &s.stderr)
		}
		select {
		case err := <-s.ended:
			s.t.Fatalf("sverka serve ended before %s: %v\n%s", what, err, &s.stderr)
		default:
		}
	}
}

var served = regexp.MustCompile(`address="?(127\.0\.0\.1:\d+)`)

// address gives where the service answers.
func (s *running) address() string {
	s.t.Helper()
	var m []string
	s.until("listening", func() bool {
		m = served.FindStringSubmatch(s.stderr.String())
		return m != nil
	})
	return "http://" + m[1]
}

func (s *running) health() int {
	resp, err := http.Get(s.address() + "/healthz")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// terminate stops the service as systemd does.
func (s *running) terminate() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Errorf("after SIGTERM: %v, want exit code 0\n%s", err, &s.stderr)
		}
	case <-time.After(20 * time.Second):
		s.t.Fatalf("still there after 20 s:\n%s", &s.stderr)
	}
}

func (r *rig) delivered() bool {
	current := 0
	for _, rec := range r.portal.Records() {
		if rec.Current {
			current++
		}
	}
	recorded := 0
	for _, p := range r.pbx.Parts() {
		if p.Recorded {
			recorded++
		}
	}
	return len(r.portal.Calls()) == len(r.pbx.Parts()) && current == recorded
}

// TestServe: calls and recordings reach the portal by themselves, once; a stop is orderly; the next start doubles nothing.
func TestServe(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 60, recorded: 10, keep: true, extra: serveExtra})
	r.edit("cdr: {dsn:", "cdr: {overlap: 200h, dsn:")
	s := r.serve()
	s.until("delivery", r.delivered)
	if got := s.health(); got != 200 {
		t.Errorf("healthz: got status %d, want 200", got)
	}
	s.until("telling it", func() bool { return strings.Contains(s.stderr.String(), "calls reconciled") })
	s.terminate()
	r.check()
	if got := strings.Count(s.stderr.String(), "calls reconciled"); got != 1 {
		t.Errorf("%d lines of figures, want 1: a run that does nothing is quiet\n%s", got, &s.stderr)
	}

	again := r.serve()
	asked := r.portal.Requests().Methods["voximplant.statistic.get"]
	again.until("the next comparison", func() bool { return r.portal.Requests().Methods["voximplant.statistic.get"] > asked })
	again.terminate()
	r.check()
	for _, words := range []string{"/demo/", "calls reconciled"} {
		if strings.Contains(again.stderr.String(), words) {
			t.Errorf("the log has %q:\n%s", words, &again.stderr)
		}
	}
}

// TestServeWaits: a portal that is away is waited for, and health tells so.
func TestServeWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 12, extra: serveExtra})
	r.edit("cdr: {dsn:", "cdr: {overlap: 200h, dsn:")
	r.portal.SetDown(true)
	s := r.serve()
	if got := s.health(); got != 503 {
		t.Errorf("healthz without a portal: got status %d, want 503", got)
	}
	r.portal.SetDown(false)
	s.until("delivery", r.delivered)
	s.terminate()
	r.check()
}

// inDoubt counts the parts whose last request has no known outcome.
func (r *rig) inDoubt() (n int) {
	r.t.Helper()
	db, err := sql.Open("sqlite", "file:"+r.ledger())
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(`SELECT count(*) FROM parts WHERE intent <> 0`).Scan(&n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestServeStoppedAtWork: stopped in the middle of a delivery it lets its request end, and the next start goes on.
func TestServeStoppedAtWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 400, faults: emulator.Faults{Slow: 200 * time.Millisecond}, extra: serveExtra})
	r.edit("cdr: {dsn:", "cdr: {overlap: 200h, dsn:")
	for i := range 3 {
		s, had := r.serve(), len(r.portal.Calls())
		s.until(fmt.Sprintf("delivery %d", i+1), func() bool { return len(r.portal.Calls()) > had })
		s.terminate()
		if doubtful := r.inDoubt(); doubtful != 0 {
			t.Errorf("%d parts are in doubt after an orderly stop, want none", doubtful)
		}
	}
	r.portal.SetFaults(emulator.Faults{})
	s := r.serve()
	s.until("delivery", r.delivered)
	s.terminate()
	r.check()
}

// TestServeCatchesUp: what was missed while the service was down for longer than the overlap is delivered, too.
func TestServeCatchesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 12, extra: serveExtra})
	last := time.Now().AddDate(0, 0, -6).UTC().Format(time.RFC3339)
	if err := os.WriteFile(r.ledger()+".service.json", fmt.Appendf(nil, `{"reconciled": %q}`, last), 0o600); err != nil {
		t.Fatal(err)
	}
	s := r.serve()
	s.until("delivery", r.delivered)
	s.terminate()
	r.check()
}

// TestServeNoHistory: history: false delivers nothing.
func TestServeNoHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 12, extra: "history: false\nhttp: {listen: '127.0.0.1:0'}\njobs: {employees: '@every 1s'}"})
	s := r.serve()
	asked := r.portal.Requests().Methods["user.get"]
	s.until("reading the employees", func() bool { return r.portal.Requests().Methods["user.get"] > asked+2 })
	s.terminate()
	if calls := r.portal.Calls(); len(calls) != 0 {
		t.Errorf("%d calls in the portal, want none", len(calls))
	}
}

// TestServeMistakes: a service that cannot work says so at once.
func TestServeMistakes(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{extra: serveExtra})
	r.edit("@every 1s", "every second")
	got := r.run("serve")
	if got.code != exitUsage {
		t.Errorf("a wrong expression: exit code %d, want %d", got.code, exitUsage)
	}
	wantWords(t, "the error", got.stderr, "jobs.reconcile", `"every second"`, "@every 30s")
	r.edit("every second", "@every 1s")
	s := r.serve()
	r.edit("127.0.0.1:0", strings.TrimPrefix(s.address(), "http://"))
	got = r.run("serve")
	if got.code != exitError {
		t.Errorf("a taken address: exit code %d, want %d", got.code, exitError)
	}
	wantWords(t, "the error", got.stderr, "http.listen", "address already in use")
	s.terminate()
}

var hookAddress = regexp.MustCompile(`webhook: '(http://[^/]+)/rest/1/demo/', `)

// byApp turns the rig's configuration to a local app, without a webhook, and gives the address that the portal tells its events to.
func (r *rig) byApp() (public string) {
	r.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	config, err := os.ReadFile(r.config)
	if err != nil {
		r.t.Fatal(err)
	}
	m := hookAddress.FindStringSubmatch(string(config))
	if m == nil {
		r.t.Fatalf("no webhook in the configuration:\n%s", config)
	}
	r.portal.SetAddress(m[1])
	r.edit(m[0], fmt.Sprintf("app: {portal: '%s', client_id: app.demo, client_secret: demo-secret, oauth: '%s'}, ", m[1], m[1]))
	r.edit("listen: '127.0.0.1:0'", fmt.Sprintf("listen: '%s', public_url: 'http://%s'", address, address))
	return "http://" + address
}

// TestServeApp: with nothing but a local app it waits for the installation, delivers, and takes events until the app is removed.
func TestServeApp(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 12, recorded: 2, keep: true, extra: serveExtra})
	r.edit("cdr: {dsn:", "cdr: {overlap: 200h, dsn:")
	public := r.byApp()
	s := r.serve()
	if got := s.health(); got != 503 {
		t.Errorf("healthz before the installation: got status %d, want 503", got)
	}
	if err := r.portal.Install(t.Context(), public+"/b24/install"); err != nil {
		t.Fatal(err)
	}
	s.until("delivery", r.delivered)
	s.until("binding", func() bool { return len(r.portal.Bindings()) == 3 })
	id, err := r.portal.ClickToCall(t.Context(), r.pbx.UserID("201"), "+79161234567")
	if err != nil {
		t.Fatal(err)
	}
	s.until("click-to-call", func() bool {
		return strings.Contains(s.stderr.String(), "click-to-call needs the live path (AMI), which is not configured") && strings.Contains(s.stderr.String(), id)
	})
	r.check()
	r.portal.RevokeApp()
	s.until("the end of the app", func() bool { return s.health() == 503 })
	s.terminate()
	for _, words := range []string{"demo-secret", "access_token=", "refresh_token="} {
		if strings.Contains(s.stderr.String(), words) {
			t.Errorf("the log has %q:\n%s", words, &s.stderr)
		}
	}
}

// TestServeOffline: without an address of its own the service polls the portal's queue.
func TestServeOffline(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 3, extra: serveExtra})
	public := r.byApp()
	r.edit("app: {portal:", "events: offline, app: {portal:")
	s := r.serve()
	s.address()
	if err := r.portal.Install(t.Context(), public+"/b24/install"); err != nil {
		t.Fatal(err)
	}
	s.until("binding", func() bool { return len(r.portal.Bindings()) == 2 })
	id, err := r.portal.ClickToCall(t.Context(), r.pbx.UserID("201"), "+79161234567")
	if err != nil {
		t.Fatal(err)
	}
	s.until("click-to-call", func() bool { return strings.Contains(s.stderr.String(), id) })
	s.until("an empty queue", func() bool { return r.portal.QueuedEvents("") == 0 })
	s.terminate()
}
