package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/secret"
)

// checked is a whole site on one disk that `sverka check` finds in order.
type checked struct {
	t      *testing.T
	dir    string
	portal *emulator.Portal
	url    string            // of the portal
	keys   map[string]string // sections of config.yaml
}

func newChecked(t *testing.T) *checked {
	t.Helper()
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "cdr.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`CREATE TABLE cdr (calldate TEXT, clid TEXT, src TEXT, dst TEXT, dcontext TEXT, channel TEXT, dstchannel TEXT, lastapp TEXT, lastdata TEXT,
		duration INTEGER, billsec INTEGER, disposition TEXT, amaflags INTEGER, accountcode TEXT, uniqueid TEXT, linkedid TEXT, userfield TEXT, did TEXT, recordingfile TEXT)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := emulator.New(emulator.Options{Limits: emulator.Limits{Off: true}, Dir: t.TempDir(), Seed: emulator.Seed{Employees: []emulator.Employee{
		{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Active: true},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	p.SetAddress(server.URL)
	if err := os.Mkdir(filepath.Join(dir, "monitor"), 0o750); err != nil {
		t.Fatal(err)
	}
	return &checked{t: t, dir: dir, portal: p, url: server.URL, keys: map[string]string{
		"cdr":        fmt.Sprintf("{driver: sqlite, dsn: '%s', cel: ''}", filepath.Join(dir, "cdr.db")),
		"recordings": fmt.Sprintf("{dir: '%s', format: keep}", filepath.Join(dir, "monitor")),
		"staging":    fmt.Sprintf("{dir: '%s'}", filepath.Join(dir, "staging")),
		"ledger":     fmt.Sprintf("{dsn: '%s'}", filepath.Join(dir, "ledger.db")),
		"bitrix24":   fmt.Sprintf("{webhook: '%s/rest/1/demo/'}", server.URL),
	}}
}

// run gives the exit code, and the lines by their part.
func (c *checked) run() (code int, lines map[string]string) {
	c.t.Helper()
	var text strings.Builder
	for name, value := range c.keys {
		fmt.Fprintf(&text, "%s: %s\n", name, value)
	}
	config := filepath.Join(c.dir, "config.yaml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), []string{"check", "--config", config}, func(string) string { return "" }, nil, &stdout, &stderr)
	code = conclude(context.Background(), err, &stderr)
	lines = map[string]string{}
	form := regexp.MustCompile(`^([✓✗]) (.{14}) (.*)$`)
	for line := range strings.Lines(stdout.String()) {
		m := form.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			c.t.Errorf("a line of another form: %q", line)
			continue
		}
		lines[strings.TrimSpace(m[2])] = m[1] + " " + m[3]
	}
	if shown := stdout.String() + stderr.String(); strings.Contains(shown, "demo/") || strings.Contains(shown, "hunter2") {
		c.t.Errorf("the output shows a secret:\n%s", shown)
	}
	return code, lines
}

func TestCheckInOrder(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	for _, again := range []bool{false, true} {
		code, lines := c.run()
		if code != exitDone {
			t.Errorf("again %t: got exit code %d, want 0", again, code)
		}
		for _, part := range []string{
			"configuration", "CDR database", "recordings", "ffmpeg", "staging", "ledger", "portal", "administrator", "scopes", "clock", "statistics", "employees", "lines",
		} {
			if !strings.HasPrefix(lines[part], "✓") {
				t.Errorf("again %t: %s: got %q, want ✓", again, part, lines[part])
			}
			delete(lines, part)
		}
		if len(lines) > 0 {
			t.Errorf("again %t: further lines: %v", again, lines)
		}
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, "staging", "sverka-check", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the staging area: %v, %v", left, err)
	}
	if calls := c.portal.Calls(); len(calls) > 0 {
		t.Errorf("check made calls in the portal: %v", calls)
	}
}

// TestCheckFinds breaks one part after the other.
func TestCheckFinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		breaks func(c *checked)
		code   int
		part   string // the one that is ✗
		want   string // in its line
	}{
		{"configuration", func(c *checked) { c.keys["cdrs"] = "{}" }, exitUsage, "configuration", "cdrs"},
		{"no database", func(c *checked) { c.keys["cdr"] = "{driver: sqlite, dsn: /nowhere/cdr.db}" }, exitUnreachable, "CDR database", "/nowhere/cdr.db"},
		{
			"no server of the database", func(c *checked) { c.keys["cdr"] = "{dsn: 'sverka:hunter2@tcp(127.0.0.1:1)/asteriskcdrdb'}" },
			exitUnreachable, "CDR database", "127.0.0.1:1",
		},
		{"no table", func(c *checked) {
			c.keys["cdr"] = fmt.Sprintf("{driver: sqlite, dsn: '%s', table: calls}", filepath.Join(c.dir, "cdr.db"))
		}, exitUnreachable, "CDR database", "calls"},
		{"no recordings", func(c *checked) { c.keys["recordings"] = "{dir: /nowhere/monitor, format: keep}" }, exitError, "recordings", "recordings.dir"},
		{"recordings are a file", func(c *checked) {
			c.keys["recordings"] = fmt.Sprintf("{dir: '%s', format: keep}", filepath.Join(c.dir, "cdr.db"))
		}, exitError, "recordings", "recordings.dir"},
		{"staging cannot be written", func(c *checked) { c.keys["staging"] = "{dir: /proc/sverka}" }, exitError, "staging", "must be able to write"},
		{"staging is full", func(c *checked) {
			c.keys["staging"] = fmt.Sprintf("{dir: '%s', max_bytes: 1}", filepath.Join(c.dir, "staging"))
		}, exitError, "staging", "write a probe"},
		{"bucket is away", func(c *checked) {
			c.keys["staging"] = "{driver: s3, endpoint: '127.0.0.1:1', bucket: records, access_key: a, secret_key: hunter2, tls: false}"
		}, exitError, "staging", "write a probe"},
		{"ledger cannot be written", func(c *checked) { c.keys["ledger"] = "{dsn: /proc/sverka/ledger.db}" }, exitError, "ledger", "ledger.dsn"},
		{"portal is away", func(c *checked) { c.keys["bitrix24"] = "{webhook: 'http://127.0.0.1:1/rest/1/demo/'}" }, exitUnreachable, "portal", "firewall"},
		{"webhook is wrong", func(c *checked) { c.keys["bitrix24"] = "{webhook: '" + c.url + "/rest/1/hunter2/'}" }, exitUnreachable, "portal", "make a new one"},
		{"plan", func(c *checked) { c.portal.SetRules(emulator.Rules{NoREST: true}) }, exitUnreachable, "portal", "commercial plan"},
		{"statistics", func(c *checked) { c.portal.SetRules(emulator.Rules{NoStatistics: true}) }, exitError, "statistics", "view the call statistics"},
		{"confirmation", func(c *checked) { c.portal.SetRules(emulator.Rules{Confirm: []string{"voximplant.statistic.get"}}) }, exitError, "statistics", "must confirm"},
		{"application only", func(c *checked) { c.portal.SetRules(emulator.Rules{AppOnly: true}) }, exitError, "lines", "use a local app"},
		{"local app without tokens", func(c *checked) {
			c.keys["bitrix24"] = "{app: {portal: '" + c.url + "', client_id: app.demo, client_secret: hunter2, oauth: '" + c.url + "'}}"
		}, exitUnreachable, "portal", "save it again"},
		{"local app without tokens, beside a webhook", func(c *checked) {
			c.keys["bitrix24"] = "{webhook: '" + c.url + "/rest/1/demo/', app: {portal: '" + c.url + "', client_id: app.demo, client_secret: hunter2, oauth: '" + c.url + "'}}"
		}, exitError, "local app", "until then the webhook is used"},
		{"whoever installed the app is no administrator", func(c *checked) { c.install(17) }, exitError, "administrator", "no administrator"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newChecked(t)
			test.breaks(c)
			code, lines := c.run()
			if code != test.code {
				t.Errorf("got exit code %d, want %d", code, test.code)
			}
			var bad []string
			for part, line := range lines {
				if strings.HasPrefix(line, "✗") {
					bad = append(bad, part)
				}
			}
			if diff := cmp.Diff(bad, []string{test.part}); diff != "" {
				t.Errorf("parts that fail (-got +want):\n%s\n%v", diff, lines)
			}
			if !strings.Contains(lines[test.part], test.want) {
				t.Errorf("%s: got %q, want %q in it", test.part, lines[test.part], test.want)
			}
		})
	}
}

// install lets the app in, in the name of a user, as the portal's installation does.
func (c *checked) install(user int) {
	c.t.Helper()
	grant, err := c.portal.Grant(user)
	if err != nil {
		c.t.Fatal(err)
	}
	l, err := sqlite.Open(context.Background(), filepath.Join(c.dir, "ledger.db"), time.Now)
	if err != nil {
		c.t.Fatal(err)
	}
	err = l.Access("office").SaveToken(context.Background(), portal.Token{
		AccessToken: secret.Text(grant.AccessToken), RefreshToken: secret.Text(grant.RefreshToken), Endpoint: grant.ClientEndpoint,
	})
	err = errors.Join(err, l.Close())
	if err != nil {
		c.t.Fatal(err)
	}
	c.keys["bitrix24"] = "{app: {portal: '" + c.url + "', client_id: app.demo, client_secret: demo-secret, oauth: '" + c.url + "'}}"
}

// TestCheckThroughApp works through the local app, whose token has grown old since.
func TestCheckThroughApp(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	c.install(1)
	c.portal.ExpireTokens()
	c.portal.SetRules(emulator.Rules{AppOnly: true})
	code, lines := c.run()
	if code != exitDone || !strings.Contains(lines["portal"], "local app") {
		t.Errorf("got exit code %d, want 0: %v", code, lines)
	}
}

// TestCheckScopesAndClock has answers that the emulator does not give.
func TestCheckScopesAndClock(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	inner := c.portal.Handler()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/scope.json"):
			_, _ = fmt.Fprint(w, `{"result":["telephony","user_brief"]}`)
		case strings.HasSuffix(r.URL.Path, "/server.time.json"):
			_, _ = fmt.Fprintf(w, `{"result":%q}`, time.Now().Add(-time.Hour).Format(time.RFC3339))
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	c.keys["bitrix24"] = "{webhook: '" + s.URL + "/rest/1/demo/'}"
	code, lines := c.run()
	if code != exitError {
		t.Errorf("got exit code %d, want %d", code, exitError)
	}
	for part, want := range map[string]string{"scopes": "lacks the scope crm;", "clock": "differ by 1h0m"} {
		if !strings.HasPrefix(lines[part], "✗") || !strings.Contains(lines[part], want) {
			t.Errorf("%s: got %q, want ✗ with %q", part, lines[part], want)
		}
	}
}

// TestCheckNoConverter is alone with its PATH.
func TestCheckNoConverter(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	c := newChecked(t)
	c.keys["recordings"] = fmt.Sprintf("{dir: '%s'}", filepath.Join(c.dir, "monitor"))
	code, lines := c.run()
	if code != exitError || !strings.Contains(lines["ffmpeg"], "apt-get install ffmpeg") {
		t.Errorf("got exit code %d and %q, want %d and how to install it", code, lines["ffmpeg"], exitError)
	}
}
