package bitrix24_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// parameter is what Bitrix24's documentation says of one parameter.
type parameter struct {
	Type      string `json:"type"`     // alternatives are separated by |
	Required  any    `json:"required"` // true, or "one of A, B"
	Enum      []any  `json:"enum"`
	MaxLength int    `json:"maxLength"`
}

// contract holds the documented parameters of each method that the client uses.
func contract(t *testing.T) map[string]map[string]parameter {
	t.Helper()
	text, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		t.Fatal(err)
	}
	var facts map[string]map[string]parameter
	if err := json.Unmarshal(text, &facts); err != nil {
		t.Fatal(err)
	}
	return facts
}

// violations tells what of a request is not as documented. query says that the values are texts, as inside a batch.
func violations(facts map[string]parameter, sent map[string]any, query bool) []string {
	var found []string
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		p, ok := facts[name]
		if !ok {
			found = append(found, name+" is not documented")
			continue
		}
		v := sent[name]
		if !slices.ContainsFunc(strings.Split(p.Type, "|"), func(kind string) bool { return fits(kind, v, query) }) {
			found = append(found, fmt.Sprintf("%s: %v is no %s", name, v, p.Type))
		}
		if len(p.Enum) > 0 && !slices.ContainsFunc(p.Enum, func(e any) bool { return fmt.Sprint(e) == fmt.Sprint(v) }) {
			found = append(found, fmt.Sprintf("%s: %v is none of %v", name, v, p.Enum))
		}
		if s, ok := v.(string); ok && p.MaxLength > 0 && utf8.RuneCountInString(s) > p.MaxLength {
			found = append(found, fmt.Sprintf("%s: longer than %d", name, p.MaxLength))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		switch required := facts[name].Required.(type) {
		case bool:
			if _, ok := sent[name]; required && !ok {
				found = append(found, name+" is missing")
			}
		case string:
			names := strings.Split(strings.TrimPrefix(required, "one of "), ", ")
			if !slices.ContainsFunc(names, func(n string) bool { _, ok := sent[n]; return ok }) {
				found = append(found, name+": none of "+strings.Join(names, ", "))
			}
		}
	}
	return found
}

func fits(kind string, v any, query bool) bool {
	switch v := v.(type) {
	case string:
		number, err := strconv.ParseFloat(v, 64)
		switch kind {
		case "string":
			return true
		case "integer":
			return query && err == nil && number == math.Trunc(number)
		case "double":
			return query && err == nil
		case "boolean":
			return query && (v == "0" || v == "1")
		}
	case float64:
		return kind == "double" || kind == "integer" && v == math.Trunc(v) || kind == "boolean" && (v == 0 || v == 1) || kind == fmt.Sprint(v)
	case bool:
		return kind == "boolean"
	case []any:
		element, typed := strings.CutSuffix(kind, "[]")
		return kind == "array" || typed && !slices.ContainsFunc(v, func(item any) bool { return !fits(element, item, query) })
	case map[string]any:
		return kind == "object"
	}
	return false
}

// TestViolations: the measure itself finds what is wrong.
func TestViolations(t *testing.T) {
	t.Parallel()
	facts := contract(t)
	for _, test := range []struct {
		method string
		sent   string // JSON
		want   []string
	}{
		{"telephony.externalCall.show", `{"CALL_ID":"1","USER_ID":[1,2]}`, nil},
		{"telephony.externalCall.show", `{"USER_ID":["x"]}`, []string{"USER_ID: [x] is no integer|integer[]", "CALL_ID is missing"}},
		{"telephony.externalCall.show", `{"CALL_ID":1,"USERS":1}`, []string{"CALL_ID: 1 is no string", "USERS is not documented"}},
		{"event.bind", `{"event":"E","handler":"h","event_type":"sometimes"}`, []string{"event_type: sometimes is none of [online offline]"}},
		{"telephony.externalLine.add", `{"NUMBER":"` + strings.Repeat("1", 51) + `"}`, []string{"NUMBER: longer than 50"}},
		{"telephony.externalCall.attachRecord", `{"CALL_ID":"1"}`, []string{"FILENAME: none of RECORD_URL, FILENAME", "RECORD_URL: none of RECORD_URL, FILENAME"}},
		{"event.offline.get", `{"clear":0.5}`, []string{"clear: 0.5 is no integer", "clear: 0.5 is none of [0 1]"}},
		{"user.get", `{"ADMIN_MODE":2,"select":{}}`, []string{"ADMIN_MODE: 2 is no boolean", "select: map[] is no array"}},
	} {
		var sent map[string]any
		if err := json.Unmarshal([]byte(test.sent), &sent); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(violations(facts[test.method], sent, false), test.want); diff != "" {
			t.Errorf("%s %s (-got +want):\n%s", test.method, test.sent, diff)
		}
	}
}

// asked is one call of a method, from a request of its own or from a batch.
type asked struct {
	method string
	params map[string]any
	query  bool
}

// recorder answers whatever is asked with enough of an answer to go on, and keeps what was asked.
type recorder struct {
	mu    sync.Mutex
	calls []asked
	bad   []string
}

var bracket = regexp.MustCompile(`^([^\[]+)((?:\[[^\]]*\])*)$`)

// nested reads the names of a query the way PHP does, as deep as it takes to know a list from a map.
func nested(values url.Values) map[string]any {
	params := map[string]any{}
	for name, v := range values {
		m := bracket.FindStringSubmatch(name)
		switch {
		case m == nil:
			params[name] = nil
		case m[2] == "":
			params[m[1]] = v[0]
		case regexp.MustCompile(`^\[\d+\]$`).MatchString(m[2]):
			list, _ := params[m[1]].([]any)
			params[m[1]] = append(list, v[0])
		default:
			table, ok := params[m[1]].(map[string]any)
			if !ok {
				table = map[string]any{}
				params[m[1]] = table
			}
			table[m[2]] = v[0]
		}
	}
	return params
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	return inMemory(r.serve).RoundTrip(req)
}

func (r *recorder) serve(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if strings.HasSuffix(req.URL.Path, "/upload") {
		_, _ = io.WriteString(w, `{"result":{"FILE_ID":1}}`)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	method := strings.TrimSuffix(path.Base(req.URL.Path), ".json")
	var params map[string]any
	if err := json.Unmarshal(body, &params); err != nil || req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" {
		r.bad = append(r.bad, fmt.Sprintf("%s %s %s: %v", req.Method, method, body, err))
	}
	if token, ok := params["auth"]; ok {
		if token != "access-token-1" {
			r.bad = append(r.bad, fmt.Sprintf("%s: auth is %v", method, token))
		}
		delete(params, "auth")
	}
	r.calls = append(r.calls, asked{method, params, false})
	cmd, _ := params["cmd"].(map[string]any)
	if len(cmd) > 50 {
		r.bad = append(r.bad, fmt.Sprintf("a batch of %d commands", len(cmd)))
	}
	results := map[string]any{}
	for key, command := range cmd {
		name, query, _ := strings.Cut(command.(string), "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			r.bad = append(r.bad, fmt.Sprintf("%s: %v", command, err))
		}
		r.calls = append(r.calls, asked{name, nested(values), true})
		results[key] = map[string]any{}
	}
	answers := map[string]string{
		"batch":                               `{}`,
		"telephony.externalCall.register":     `{"CALL_ID":"c"}`,
		"telephony.externalCall.attachRecord": `{"uploadUrl":"https://portal.example/upload?token=x","fieldName":"file"}`,
		"telephony.externalCall.show":         `true`,
		"telephony.externalCall.hide":         `true`,
		"server.time":                         `"2026-11-22T20:00:01+03:00"`,
		"profile":                             `{"ID":"1"}`,
		"telephony.externalLine.delete":       `[]`,
		"crm.item.update":                     `{"item":{}}`,
	}
	result, ok := answers[method]
	if !ok {
		result = `[]`
	}
	if len(cmd) > 0 {
		text, _ := json.Marshal(map[string]any{"result": results})
		result = string(text)
	}
	total := ""
	if strings.HasSuffix(method, ".get") && params["start"] == float64(0) {
		total = `,"total":120` // so that the other pages are asked for in a batch
	}
	_, _ = io.WriteString(w, `{"result":`+result+total+`}`)
}

// TestContract sends everything that the client can send, with values at the edge of what callers may give, and holds each request and each
// command of a batch against the documentation.
func TestContract(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	facts := contract(t)
	for _, cfg := range []bitrix24.Config{{Webhook: hook}, {App: app, Tokens: &memory{token: pair(1)}}} {
		r := &recorder{}
		cfg.Transport, cfg.Burst, cfg.PerSecond = r, 1e6, 1e6
		c := setup(t, cfg)
		long := call(strings.Repeat("я", 32)) // 64 bytes
		long.Line, long.Phone, long.CreateCRM = strings.Repeat("л", 60), "+1234567890123456789", true
		calls := []portal.Call{long}
		for _, kind := range []portal.CallType{portal.Outgoing, portal.Incoming, portal.IncomingRedirected, portal.Callback} {
			for _, status := range []portal.StatusCode{
				portal.StatusOK, portal.StatusMissed, portal.StatusBusy, portal.StatusNoAnswer, portal.StatusFailed, portal.StatusCancelled,
			} {
				one := call(fmt.Sprintf("pbx %s & ?%d", status, kind))
				one.Type, one.Status, one.Line = kind, status, ""
				calls = append(calls, one)
			}
		}
		var endings []portal.Ending
		for _, one := range calls {
			endings = append(endings, portal.Ending{CallID: "externalCall.1", Call: one})
			_, _ = c.Register(ctx, one, true)
		}
		line := portal.Line{Number: "+74951234567", Name: "Main", AutoCreate: true}
		// What each of them answers is told elsewhere: here it counts what was sent.
		_, _ = c.RegisterFinish(ctx, calls)
		_, _ = c.FinishAll(ctx, endings)
		_, _ = c.AttachFile(ctx, "externalCall.1", "a.mp3", 3, opener("abc"))
		_ = statistics(c)
		_, _ = c.StatisticsByExternalID(ctx, []string{"a", "b & c", strings.Repeat("я", 32)})
		_, _ = c.StatisticsByCallID(ctx, []portal.CallID{"externalCall.1"})
		_, _ = c.Employees(ctx)
		_ = profile(c)
		_, _ = c.ServerTime(ctx)
		_, _ = c.Show(ctx, "externalCall.1", 17, 18)
		_, _ = c.Hide(ctx, "externalCall.1", 17)
		_, _ = c.SearchCRM(ctx, "+79161234567")
		_ = c.CRMItemUpdate(ctx, portal.Entity{Type: portal.Contact, ID: 7}, 17)
		_, _ = c.Lines(ctx)
		_ = c.AddLine(ctx, line)
		_ = c.UpdateLine(ctx, line)
		_, _ = c.PutLines(ctx, []portal.Line{line, {Number: "101"}})
		_ = c.DeleteLine(ctx, "101")
		_, _ = c.AppInfo(ctx)
		_, _ = c.Scope(ctx)
		_ = c.EventBind(ctx, portal.Binding{Event: "ONEXTERNALCALLSTART", Handler: "https://pbx.example/b24/event", UserID: 1})
		_ = c.EventBind(ctx, portal.Binding{Event: "ONEXTERNALCALLSTART", Offline: true})
		_, _ = c.EventGet(ctx)
		_, _ = c.EventUnbind(ctx, portal.Binding{Event: "ONEXTERNALCALLSTART", Offline: true})
		_, _ = c.OfflineGet(ctx, "")
		_, _ = c.OfflineGet(ctx, "p1")
		_ = c.OfflineClear(ctx, "p1", "m1", "m2")

		if len(r.bad) > 0 {
			t.Errorf("requests that cannot be read: %v", r.bad)
		}
		used := map[string]bool{}
		for _, call := range r.calls {
			params, ok := facts[call.method]
			if !ok {
				t.Errorf("%s is not in testdata/contract.json", call.method)
				continue
			}
			used[call.method] = true
			if found := violations(params, call.params, call.query); len(found) > 0 {
				t.Errorf("%s %v:\n%s", call.method, call.params, strings.Join(found, "\n"))
			}
			if start, ok := call.params["CALL_START_DATE"].(string); ok {
				if _, err := time.Parse(time.RFC3339, start); err != nil {
					t.Errorf("%s: CALL_START_DATE: %v", call.method, err)
				}
			}
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(facts))); diff != "" {
			t.Errorf("methods that were sent (-got +want):\n%s", diff)
		}
	}
}
