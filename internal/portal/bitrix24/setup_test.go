package bitrix24_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// code stands in the webhook of every test here, and must never come out of the client.
const code = "s3cr3tc0de1234"

const hook = secret.Text("https://portal.example/rest/7/" + code + "/")

// inMemory is a portal without a network, so that a test can run on synctest's clock.
type inMemory func(w http.ResponseWriter, r *http.Request)

func (f inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	f(w, r)
	_ = r.Body.Close()
	return w.Result(), nil
}

func setup(t *testing.T, cfg bitrix24.Config) *bitrix24.Client {
	t.Helper()
	if cfg.Webhook == "" && cfg.App.ClientID == "" {
		cfg.Webhook = hook
	}
	c, err := bitrix24.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// scripted answers one request after the other, the last answer again and again, and keeps the requests.
type scripted struct {
	mu      sync.Mutex
	answers []reply
	asked   []request
}

type reply struct {
	status int
	body   string
	header http.Header
}

type request struct {
	path string
	body []byte
	at   time.Time
}

func script(answers ...reply) *scripted { return &scripted{answers: answers} }

func ok(body string) reply                  { return reply{status: 200, body: body} }
func failing(status int, body string) reply { return reply{status: status, body: body} }

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	return inMemory(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		a := s.answers[min(len(s.asked), len(s.answers)-1)]
		s.asked = append(s.asked, request{r.URL.Path, body, time.Now()})
		s.mu.Unlock()
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.body)
	}).RoundTrip(r)
}

func (s *scripted) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// portalError gives err as the portal's, and fails the test when it is none or shows a secret.
func portalError(t *testing.T, err error) *portal.Error {
	t.Helper()
	mustHide(t, err)
	var e *portal.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v (%T), want a *portal.Error", err, err)
	}
	return e
}

// mustHide fails the test when anything in the chain of an error shows the webhook's code or the token of an upload.
func mustHide(t *testing.T, err error) {
	t.Helper()
	for ; err != nil; err = errors.Unwrap(err) {
		for _, s := range []string{code, "/rest/7/", uploadToken} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("the error shows %q: %v", s, err)
			}
		}
	}
}

const uploadToken = "telephony|Y2FsbA|signature"

var moscow = time.FixedZone("", 3*3600)

func call(n string) portal.Call {
	return portal.Call{
		ExternalID: n, Type: portal.Incoming, UserID: 17, Phone: "+79161234567", Line: "+74951234567",
		Start: time.Date(2026, 3, 7, 10, 20, 30, 0, moscow), Duration: 42, Status: portal.StatusOK,
	}
}

// sentCommand is one command of a batch as the portal reads it.
type sentCommand struct {
	key, method string
	params      url.Values
}

// sentBatch reads the body of a batch in the order in which it is written.
func sentBatch(t *testing.T, body []byte) []sentCommand {
	t.Helper()
	var envelope struct {
		Halt *int            `json:"halt"`
		Cmd  json.RawMessage `json:"cmd"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Fatalf("batch %s: %v", body, err)
	}
	if envelope.Halt == nil || *envelope.Halt != 0 {
		t.Errorf("batch %s: want halt 0", body)
	}
	d := json.NewDecoder(bytes.NewReader(envelope.Cmd))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	var sent []sentCommand
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value string
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		method, query, _ := strings.Cut(value, "?")
		params, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("command %s: %v", value, err)
		}
		sent = append(sent, sentCommand{key.(string), method, params})
	}
	return sent
}

func registerOne(c *bitrix24.Client) error {
	_, err := c.RegisterFinish(context.Background(), []portal.Call{call("1")})
	return err
}

func profile(c *bitrix24.Client) error {
	_, _, err := c.Profile(context.Background())
	return err
}

func statistics(c *bitrix24.Client) error {
	day := time.Date(2026, 3, 7, 0, 0, 0, 0, moscow)
	return c.Statistics(context.Background(), day, day.AddDate(0, 0, 1), func(portal.Row) error { return nil })
}

func employees(c *bitrix24.Client) error {
	_, err := c.Employees(context.Background())
	return err
}

func attach(c *bitrix24.Client) error {
	_, err := c.AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
	return err
}

func opener(content string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }
}
