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

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// TestBatchCalls has portals of different speed: what is given next should take some ten seconds, and never come near the minute.
func TestBatchCalls(t *testing.T) {
	t.Parallel()
	batch := func(seconds float64) reply {
		return ok(fmt.Sprintf(`{"result":{"result":{},"result_error":{}},"time":{"duration":%g}}`, seconds))
	}
	lost := failing(504, "<h1>Gateway Timeout</h1>")
	for _, test := range []struct {
		name    string
		answers []reply // each to a batch of as many calls as the client wants
		want    int
	}{
		{"nothing known", nil, 25},
		{"fast", []reply{batch(1), batch(2)}, 25},
		{"50 commands in 20 s", []reply{batch(20)}, 12},
		{"50 commands in 50 s", []reply{batch(50)}, 5},
		{"very slow", []reply{batch(500)}, 1},
		{"slow once, then fast again", []reply{batch(50), batch(1), batch(1), batch(1), batch(1), batch(1), batch(1), batch(1), batch(1), batch(1)}, 25},
		{"no answer", []reply{lost}, 12},
		{"no answer three times", []reply{lost, lost, lost}, 3},
		{"no answer, then fast", []reply{lost, batch(1)}, 13},
		{"time unknown", []reply{ok(`{"result":{}}`)}, 25},
		{"refused as a whole", []reply{failing(401, `{"error":"NO_AUTH_FOUND"}`)}, 25},
	} {
		s := script(test.answers...)
		c := setup(t, bitrix24.Config{Transport: s})
		for range test.answers {
			calls := make([]portal.Call, c.BatchCalls())
			for i := range calls {
				calls[i] = call(fmt.Sprint(i))
			}
			_, _ = c.RegisterFinish(context.Background(), calls) // what becomes of the calls is told elsewhere
		}
		if got := c.BatchCalls(); got != test.want {
			t.Errorf("%s: got %d calls, want %d", test.name, got, test.want)
		}
	}
}

// TestLearnLimits counts the requests that go at once.
func TestLearnLimits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, license string
		cfg           bitrix24.Config
		want          int // requests of the live lane without waiting
	}{
		{"Enterprise", "ru_ent250", bitrix24.Config{}, 250},
		{"another plan", "ru_pro100", bitrix24.Config{}, 50},
		{"figures of the configuration", "ru_ent250", bitrix24.Config{Burst: 60}, 60},
	} {
		synctest.Test(t, func(t *testing.T) {
			test.cfg.App, test.cfg.Tokens = app, &memory{token: pair(1)}
			asked := 0
			test.cfg.Transport = inMemory(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/app.info.json") {
					_, _ = io.WriteString(w, `{"result":{"ID":1,"LICENSE":"`+test.license+`"}}`)
					return
				}
				asked++
				_, _ = io.WriteString(w, `{"result":{"ID":"1"}}`)
			})
			c := setup(t, test.cfg)
			if err := c.LearnLimits(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			began := time.Now()
			for time.Since(began) == 0 {
				if err := profile(c.Lane(bitrix24.Live)); err != nil {
					t.Fatal(err)
				}
			}
			if got := asked - 1; got != test.want {
				t.Errorf("%s: got %d requests at once, want %d", test.name, got, test.want)
			}
		})
	}
}
