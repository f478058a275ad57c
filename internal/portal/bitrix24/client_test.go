package bitrix24_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

func TestNewReadsWebhook(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		webhook secret.Text
		wantURL string // of profile; "" wants an error
		mend    string
	}{
		{"https://portal.example/rest/1/abcdefgh/", "https://portal.example/rest/1/abcdefgh/profile.json", ""},
		{"  https://portal.example/rest/1/abcdefgh\n", "https://portal.example/rest/1/abcdefgh/profile.json", ""},
		{"https://portal.example:8443/b24/rest/1/abcdefgh/", "https://portal.example:8443/b24/rest/1/abcdefgh/profile.json", ""},
		{"http://127.0.0.1:8024/rest/1/demo/", "http://127.0.0.1:8024/rest/1/demo/profile.json", ""},
		{"http://localhost/rest/1/demo/", "http://localhost/rest/1/demo/profile.json", ""},
		{"http://[::1]:80/rest/1/demo/", "http://[::1]:80/rest/1/demo/profile.json", ""},
		{"", "", "empty"},
		{"http://portal.example/rest/1/abcdefgh/", "", "write https://"},
		{"http://127.0.0.1.example/rest/1/abcdefgh/", "", "write https://"},
		{"ftp://portal.example/rest/1/abcdefgh/", "", "must begin with https://"},
		{"portal.example/rest/1/abcdefgh/", "", "not an address"},
		{"https://por tal/rest/1/abcdefgh/", "", "not an address"},
		{"https://portal.example/rest/1/abcdefgh/profile.json", "", "without a method"},
		{"https://portal.example/rest/abcdefgh/", "", "/rest/USER/CODE/"},
		{"https://portal.example/", "", "/rest/USER/CODE/"},
		{"https://u:p@portal.example/rest/1/abcdefgh/", "", "no user name"},
		{"https://portal.example/rest/1/abcdefgh/?x=1", "", "no user name, ?"},
	} {
		var asked string
		transport := inMemory(func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.String()
			_, _ = io.WriteString(w, `{"result":{"ID":"1"}}`)
		})
		c, err := bitrix24.New(bitrix24.Config{Webhook: test.webhook, Transport: transport})
		if test.wantURL == "" {
			if err == nil || !strings.Contains(err.Error(), test.mend) || strings.Contains(err.Error(), "abcdefgh") {
				t.Errorf("%q: got error %v, want one with %q and without the code", test.webhook.Reveal(), err, test.mend)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.webhook.Reveal(), err)
			continue
		}
		if err := profile(c); err != nil || asked != test.wantURL {
			t.Errorf("%q: got %s, %v; want %s", test.webhook.Reveal(), asked, err, test.wantURL)
		}
	}
}

func TestNewRefusesNegativeNumbers(t *testing.T) {
	t.Parallel()
	for _, cfg := range []bitrix24.Config{{Burst: -1}, {PerSecond: -1}, {Timeout: -1}, {RetryFor: -1}} {
		cfg.Webhook = hook
		if _, err := bitrix24.New(cfg); err == nil {
			t.Errorf("%+v: got no error", cfg)
		}
	}
}

func TestConfigPrintsNoSecret(t *testing.T) {
	t.Parallel()
	if got := fmt.Sprintf("%v %+v %#v", bitrix24.Config{Webhook: hook}, bitrix24.Config{Webhook: hook}, bitrix24.Config{Webhook: hook}); strings.Contains(got, code) {
		t.Errorf("printed config shows the code: %s", got)
	}
}

func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	var got http.Header
	var body string
	transport := inMemory(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r.Header.Clone(), r.Method+" "+string(b)
		_, _ = io.WriteString(w, `{"result":{"ID":"7","ADMIN":true,"NAME":"Иван","LAST_NAME":"Петров"}}`)
	})
	c := setup(t, bitrix24.Config{Transport: transport, UserAgent: "sverka/1.2"})
	owner, admin, err := c.Profile(context.Background())
	if err != nil || !admin {
		t.Fatalf("got admin %t, %v; want an administrator", admin, err)
	}
	if diff := cmp.Diff(owner, portal.Employee{ID: 7, Name: "Иван Петров", Active: true}); diff != "" {
		t.Errorf("owner (-got +want):\n%s", diff)
	}
	for name, want := range map[string]string{"User-Agent": "sverka/1.2", "Content-Type": "application/json", "Accept": "application/json"} {
		if got.Get(name) != want {
			t.Errorf("%s: got %q, want %q", name, got.Get(name), want)
		}
	}
	if want := "POST {}"; body != want {
		t.Errorf("request: got %q, want %q", body, want)
	}
}

func TestProfileOfDismissed(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"result":[]}`, `{"result":{}}`, `{"result":null}`, `{"result":false}`} {
		err := profile(setup(t, bitrix24.Config{Transport: script(ok(body))}))
		if e := portalError(t, err); e.Class != portal.Access || e.Hint == "" {
			t.Errorf("%s: got %s with hint %q, want %s with one", body, e.Class, e.Hint, portal.Access)
		}
	}
}

func TestServerTime(t *testing.T) {
	t.Parallel()
	c := setup(t, bitrix24.Config{Transport: script(ok(`{"result":"2026-11-22T20:00:01+03:00"}`))})
	got, err := c.ServerTime(context.Background())
	if want := time.Date(2026, 11, 22, 20, 0, 1, 0, moscow); err != nil || !got.Equal(want) || got.Format(time.RFC3339) != "2026-11-22T20:00:01+03:00" {
		t.Errorf("got %s, %v; want %s with its offset", got, err, want)
	}
}

func TestCounters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := script(ok(`{"result":{"ID":"1"},"time":{"finish":10,"duration":1,"operating":2.5}}`), failing(503, `{"error":"QUERY_LIMIT_EXCEEDED"}`),
			ok(`{"result":{"result":{"r0":{"CALL_ID":"c"},"r0f":{"CALL_ID":"c","ID":1}},"result_time":{"r0":{"operating":"7"}}}}`))
		c := setup(t, bitrix24.Config{Transport: s})
		if err := profile(c.Lane(bitrix24.Live)); err != nil {
			t.Fatal(err)
		}
		if err := registerOne(c); err != nil {
			t.Fatal(err)
		}
		got := c.Counters()
		if got.Waited < time.Second/2 {
			t.Errorf("waited %s, want the pause after the refusal", got.Waited)
		}
		got.Waited = 0
		want := bitrix24.Counters{
			Requests: 3, Refused: 1,
			Methods:   map[string]int64{"profile": 1, "telephony.externalCall.register": 2, "telephony.externalCall.finish": 2},
			Operating: map[string]float64{"profile": 2.5, "telephony.externalCall.register": 7},
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("counters (-got +want):\n%s", diff)
		}
	})
}
