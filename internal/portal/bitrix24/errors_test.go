package bitrix24_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sverka/internal/emulator"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// mistaken changes the parameters of what the client sends, so that mistakes reach the portal that the client itself would not make.
type mistaken struct {
	next   http.RoundTripper
	change func(method string, params map[string]any)
}

func (m mistaken) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var params map[string]any
	if json.Unmarshal(body, &params) == nil {
		if cmd, ok := params["cmd"].(map[string]any); ok {
			for key, command := range cmd {
				method, query, _ := strings.Cut(command.(string), "?")
				values, err := url.ParseQuery(query)
				if err != nil {
					return nil, err
				}
				inner := nested(values)
				m.change(method, inner)
				values = url.Values{}
				for name, v := range inner {
					switch v := v.(type) {
					case string:
						values.Set(name, v)
					case []any:
						for _, item := range v {
							values.Add(name+"[0]", item.(string))
						}
					}
				}
				cmd[key] = method + "?" + values.Encode()
			}
		} else {
			m.change(strings.TrimSuffix(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], ".json"), params)
		}
		if body, err = json.Marshal(params); err != nil {
			return nil, err
		}
	}
	again := r.Clone(r.Context())
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return m.next.RoundTrip(again)
}

// TestDocumentedErrors makes each documented mistake of the telephony methods at the emulated portal.
func TestDocumentedErrors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	gone := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(gone.Close)
	register := func(c *bitrix24.Client) error { _, err := c.Register(ctx, call("pbx-2.1"), false); return err }
	// open leaves a registered call behind for the mistakes of finish.
	open := func(c *bitrix24.Client, id string) portal.CallID {
		r, err := c.Register(ctx, call(id), false)
		if err != nil {
			t.Error(err)
		}
		return r.CallID
	}
	finishing := func(c *bitrix24.Client, id portal.CallID) error {
		got, err := c.FinishAll(ctx, []portal.Ending{{CallID: id, Call: call("pbx-2.1")}})
		if err != nil {
			return err
		}
		return got[0].Err
	}
	finish := func(c *bitrix24.Client) error { return finishing(c, open(c, "pbx-2.1")) }
	record := func(c *bitrix24.Client) error {
		id := open(c, "pbx-2.1")
		if err := finishing(c, id); err != nil {
			return err
		}
		_, err := c.AttachFile(ctx, id, "a.mp3", 3, opener("abc"))
		return err
	}
	line := func(c *bitrix24.Client) error { return c.UpdateLine(ctx, portal.Line{Number: "101", Name: "x"}) }
	set := func(pairs ...any) func(map[string]any) {
		return func(p map[string]any) {
			for i := 0; i < len(pairs); i += 2 {
				p[pairs[i].(string)] = pairs[i+1]
			}
		}
	}
	without := func(names ...string) func(map[string]any) {
		return func(p map[string]any) {
			for _, name := range names {
				delete(p, name)
			}
		}
	}
	const reg, fin, att = "telephony.externalCall.register", "telephony.externalCall.finish", "telephony.externalCall.attachRecord"
	for _, test := range []struct {
		name   string
		do     func(*bitrix24.Client) error
		method string
		change func(map[string]any)
		rules  emulator.Rules
		class  portal.Class
		text   string // in the portal's words
		mend   string
	}{
		{"register: nobody", register, reg, without("USER_ID"), emulator.Rules{}, portal.NoUser, "USER_ID or USER_PHONE_INNER should be set", "employees"},
		{"register: type", register, reg, set("TYPE", 9), emulator.Rules{}, portal.Refused, "Unknown TYPE", ""},
		{"register: date", register, reg, set("CALL_START_DATE", "yesterday"), emulator.Rules{}, portal.Refused, "ISO-8601", ""},
		{"register: number", register, reg, set("PHONE_NUMBER", "abc"), emulator.Rules{}, portal.Refused, "Unsupported phone number format", "number"},
		{"register: dismissed", register, reg, set("USER_ID", 19), emulator.Rules{}, portal.NoUser, "not found or is not active", "employees"},
		{"register: app only", register, reg, set(), emulator.Rules{AppOnly: true}, portal.Access, "authorization type", "local app"},
		{"register: scope", register, reg, set(), emulator.Rules{NoScopes: []string{"telephony"}}, portal.Access, "privileges", "scopes"},
		{"register: plan", register, reg, set(), emulator.Rules{NoREST: true}, portal.Access, "commercial plans", "plan"},
		{"register: confirmation", register, reg, set(), emulator.Rules{Confirm: []string{reg}}, portal.Access, "confirmation", "administrator"},

		{"finish: no text", finish, fin, set("CALL_ID", []any{"x"}), emulator.Rules{}, portal.Refused, "CALL_ID must be a string", ""},
		{"finish: nobody", finish, fin, without("USER_ID"), emulator.Rules{}, portal.NoUser, "USER_ID or USER_PHONE_INNER should be set", "employees"},
		{"finish: unknown call", finish, fin, set("CALL_ID", "externalCall.x"), emulator.Rules{}, portal.NotFound, "Call is not found", "finished before"},
		{"finish: dismissed", finish, fin, set("USER_ID", "19"), emulator.Rules{}, portal.NoUser, "not found or is not active", "employees"},
		{"finish: too long", finish, reg, set("EXTERNAL_CALL_ID", strings.Repeat("x", 65)), emulator.Rules{}, portal.Refused, "Unexpected database error", "64"},

		{"record: neither URL nor name", record, att, without("FILENAME"), emulator.Rules{}, portal.Refused, "Required parameters are not set", ""},
		{"record: not finished", func(c *bitrix24.Client) error {
			_, err := c.AttachFile(ctx, open(c, "pbx-2.1"), "a.mp3", 3, opener("abc"))
			return err
		}, "", nil, emulator.Rules{}, portal.NotFound, "not finished yet", "finish it first"},
		{"record: no name", record, att, set("FILENAME", ""), emulator.Rules{}, portal.Refused, "", ".mp3"},
		{"record: extension", record, att, set("FILENAME", "a.ogg"), emulator.Rules{}, portal.Refused, "Wrong file extension", ".mp3"},
		{"record: empty", record, att, set("FILE_CONTENT", ""), emulator.Rules{}, portal.Refused, "File content is empty", ""},
		{"record: no base64", record, att, set("FILE_CONTENT", "?"), emulator.Rules{}, portal.Refused, "not properly encoded", ""},
		{"record: URL", record, att, set("RECORD_URL", gone.URL+"/a.mp3"), emulator.Rules{}, portal.Retryable, "HTTP error code 404", "could not fetch"},

		{"search: no number", func(c *bitrix24.Client) error { _, err := c.SearchCRM(ctx, ""); return err }, "", nil, emulator.Rules{}, portal.Refused, "PHONE_NUMBER is empty", ""},
		{"search: no CRM", func(c *bitrix24.Client) error { _, err := c.SearchCRM(ctx, "+79161234567"); return err }, "", nil, emulator.Rules{NoCRM: true}, portal.Access, "CRM is not installed", "switch the CRM"},
		{"record: no Disk", record, "", nil, emulator.Rules{DiskFault: "Disk module is not installed"}, portal.Access, "Disk module", "Drive"},
		{"record: no folder", record, "", nil, emulator.Rules{DiskFault: "Could not create shared folder for call records"}, portal.Access, "shared folder", "Drive"},
		{"record: disk full", record, "", nil, emulator.Rules{DiskFault: "Disk resource exhausted"}, portal.DiskFull, "exhausted", "free some space"},
		{"line: too long", func(c *bitrix24.Client) error { return c.AddLine(ctx, portal.Line{Number: strings.Repeat("1", 51)}) }, "", nil, emulator.Rules{}, portal.Refused, "DB error", ""},
		{"line: no number", func(c *bitrix24.Client) error { return c.AddLine(ctx, portal.Line{}) }, "", nil, emulator.Rules{}, portal.Refused, "NUMBER should not be empty", ""},
		{"line: not there", line, "", nil, emulator.Rules{}, portal.Refused, "Could not find line", ""},
		{"line: nothing to change", line, "telephony.externalLine.update", without("NAME", "CRM_AUTO_CREATE"), emulator.Rules{}, portal.Refused, "no fields to update", ""},
		{"line: app only", line, "", nil, emulator.Rules{AppOnly: true}, portal.Access, "authorization type", "local app"},
		{"statistics: no right", statistics, "", nil, emulator.Rules{NoStatistics: true}, portal.Access, "Access denied", "view the call statistics"},
		{"events: webhook", func(c *bitrix24.Client) error { _, err := c.EventGet(ctx); return err }, "", nil, emulator.Rules{}, portal.Access, "pplication context", "local app"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p, err := emulator.New(emulator.Options{Limits: emulator.Limits{Off: true}, Seed: emulator.Seed{Employees: []emulator.Employee{
				{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Active: true}, {ID: 19, Name: "Пётр", LastName: "Уволен"},
			}}})
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
			p.SetRules(test.rules)
			cfg := fast()
			cfg.RetryFor, cfg.Webhook = 1, secret.Text(s.URL+"/rest/1/demo/")
			cfg.Transport = mistaken{http.DefaultTransport, func(method string, params map[string]any) {
				if method == test.method && test.change != nil {
					test.change(params)
				}
			}}
			e := portalError(t, test.do(setup(t, cfg)))
			if e.Class != test.class || !strings.Contains(e.Text, test.text) || !strings.Contains(e.Hint, test.mend) || (e.Hint == "") != (test.mend == "") {
				t.Errorf("got %s %q, hint %q; want %s %q, hint with %q", e.Class, e.Text, e.Hint, test.class, test.text, test.mend)
			}
		})
	}
}
