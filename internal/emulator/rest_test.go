package emulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	root := strings.TrimSuffix(s.URL, "1/demo/")
	for path, want := range map[string]string{
		"1/demo/server.time":       "200 <nil>",
		"1/demo/SERVER.Time.json":  "200 <nil>",
		"1/wrong/server.time":      "401 INVALID_CREDENTIALS",
		"2/demo/server.time":       "401 INVALID_CREDENTIALS",
		"server.time":              "401 NO_AUTH_FOUND",
		"1/demo/":                  "404 ERROR_METHOD_NOT_FOUND",
		"1/demo/crm.exclusion.add": "404 ERROR_METHOD_NOT_FOUND",
		"1/demo/app.info":          "400 ACCESS_DENIED",
		"1/demo/feature.get":       "400 CODE_EMPTY",
	} {
		status, out := s.post(root+path, "application/json", "{}")
		if got := fmt.Sprint(status, " ", out["error"]); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestParametersComeInManyForms(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	const form = "application/x-www-form-urlencoded"
	const multi = "multipart/form-data; boundary=X"
	for _, c := range []struct {
		name, path, kind, body string
		want                   int // users found
	}{
		{"JSON", "user.get", "application/json", `{"FILTER":{"UF_PHONE_INNER":"201"}}`, 1},
		{"JSON with charset", "user.get", "application/json; charset=utf-8", `{"filter":{"UF_PHONE_INNER":["201","202"]}}`, 2},
		{"form", "user.get", form, "FILTER[UF_PHONE_INNER]=201", 1},
		{"form with escaped brackets", "user.get", form, "FILTER%5BUF_PHONE_INNER%5D%5B%5D=201&FILTER%5BUF_PHONE_INNER%5D%5B%5D=202", 2},
		{"query", "user.get?FILTER[UF_PHONE_INNER]=202", form, "", 1},
		{"multipart", "user.get", multi, "--X\r\nContent-Disposition: form-data; name=\"FILTER[ID]\"\r\n\r\n18\r\n--X--\r\n", 1},
		{"malformed JSON runs without parameters", "user.get", "application/json", `{"FILTER":{"UF_PHONE_INNER":"201"}`, 4},
		{"text after JSON", "user.get", "application/json", `{"FILTER":{"UF_PHONE_INNER":"201"}} x`, 4},
		{"JSON without its content type", "user.get", "text/plain", `{"FILTER":{"UF_PHONE_INNER":"201"}}`, 4},
	} {
		status, out := s.post(s.URL+c.path, c.kind, c.body)
		users, _ := out["result"].([]any)
		if status != http.StatusOK || len(users) != c.want {
			t.Errorf("%s: got %d users (%d), want %d", c.name, len(users), status, c.want)
		}
	}
	res, err := http.Get(s.URL + "user.get.json?FILTER[LAST_NAME]=" + "%D0%9F%D0%B5%D1%82%D1%80%D0%BE%D0%B2")
	if err != nil {
		t.Fatal(err)
	}
	if users, _ := s.decode(res)["result"].([]any); len(users) != 1 {
		t.Errorf("GET: got %d users, want 1", len(users))
	}
}

func TestAnswerHasTimeBlock(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Limits: emulator.Limits{Burst: 50}})
	_, out := s.call("server.time", nil)
	if got, want := out["result"], "2026-03-11T12:00:00+03:00"; got != want {
		t.Errorf("server.time: got %v, want %v", got, want)
	}
	block, _ := out["time"].(m)
	for _, k := range []string{"start", "finish", "duration", "processing", "date_start", "date_finish", "operating", "operating_reset_at"} {
		if _, ok := block[k]; !ok {
			t.Errorf("time block has no %s: %v", k, block)
		}
	}
}

func TestEmptyMapsAreLists(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	got := s.must("batch", m{"cmd": m{}})
	want := m{"result": []any{}, "result_error": []any{}, "result_total": []any{}, "result_next": []any{}, "result_time": []any{}}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Error(d)
	}
	if got := s.must("crm.duplicate.findbycomm", m{"type": "PHONE", "values": []any{"+70000000000"}}); !cmp.Equal(got, []any{}) {
		t.Errorf("nothing found: got %v, want []", got)
	}
}

func TestDownForMaintenance(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.SetDown(true)
	res, err := http.Post(s.URL+"server.time", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := fmt.Sprint(res.StatusCode, res.Header.Get("Content-Type")); got != "503text/html; charset=utf-8" {
		t.Errorf("got %s, want a page with 503", got)
	}
	s.SetDown(false)
	s.must("server.time", nil)
}

func batchOf(s server, cmd any, halt int) m {
	s.t.Helper()
	return s.must("batch", m{"cmd": cmd, "halt": halt}).(m)
}

func TestBatchPutsResultsIntoLaterCommands(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	// Sent as text: the order of the keys is that of the commands, and Go would sort them.
	status, out := s.post(s.URL+"batch", "application/json", `{"halt":1,"cmd":{
		"reg":"telephony.externalCall.register?USER_ID=17&PHONE_NUMBER=%2B79995550001&TYPE=2&EXTERNAL_CALL_ID=b1",
		"fin":"telephony.externalCall.finish.json?CALL_ID=$result[reg][CALL_ID]&USER_ID=17&DURATION=5",
		"a stat":"voximplant.statistic.get?FILTER[ID]=$result[fin][ID]",
		"att":"telephony.externalCall.attachRecord?CALL_ID=$result[a stat][0][CALL_ID]&FILENAME=x-$result[fin][ID].mp3"}}`)
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, out)
	}
	r := out["result"].(m)
	if errs := r["result_error"]; !cmp.Equal(errs, []any{}) {
		t.Fatalf("got errors %v", errs)
	}
	results := r["result"].(m)
	rows := results["a stat"].([]any)
	if len(rows) != 1 || rows[0].(m)["EXTERNAL_CALL_ID"] != "b1" || rows[0].(m)["PHONE_NUMBER"] != "+79995550001" {
		t.Errorf("row found by a nested reference: got %v", rows)
	}
	if _, ok := results["att"].(m)["uploadUrl"]; !ok {
		t.Errorf("attach by a reference into a list: got %v", results["att"])
	}
	if got := r["result_total"].(m)["a stat"]; got != 1.0 {
		t.Errorf("result_total: got %v, want 1", got)
	}
	if got := s.Requests(); got.HTTP != 1 || got.Commands != 4 || got.Methods["telephony.externalCall.finish"] != 1 {
		t.Errorf("counted %+v", got)
	}
}

func TestBatchTraps(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	r := batchOf(s, m{
		"a": "telephony.externalCall.finish?CALL_ID=$result[none][CALL_ID]&USER_ID=17",
		"b": "batch?cmd[x]=server.time",
		"c": "upload?token=x",
		"d": "nonsense",
		"e": "server.time",
	}, 0)
	errs := r["result_error"].(m)
	want := map[string]string{
		"a": "ERROR_CORE", "b": "ERROR_BATCH_METHOD_NOT_ALLOWED", "c": "ERROR_BATCH_METHOD_NOT_ALLOWED", "d": "ERROR_METHOD_NOT_FOUND",
	}
	got := map[string]string{}
	for k, e := range errs {
		got[k] = e.(m)["error"].(string)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if ok, isMap := r["result"].(m); !isMap || ok["e"] == nil {
		t.Errorf("later commands run on: got %v", r["result"])
	}

	r = batchOf(s, []string{"nonsense", "server.time"}, 1)
	if got := jsonOf(t, r["result"]); got != "[]" {
		t.Errorf("halt: got results %s, want none", got)
	}
	if got := jsonOf(t, r["result_error"]); !strings.HasPrefix(got, "[") {
		t.Errorf("errors with the keys 0, 1… are a list, as PHP writes it: got %s", got)
	}

	batchOf(s, []string{"telephony.externalCall.register?USER_ID=17&TYPE=2&PHONE_NUMBER=+79995550002"}, 0)
	if s.Live()[0].Phone != "79995550002" {
		t.Errorf("a + that is not escaped is a space: got phone %s", s.Live()[0].Phone)
	}
	r = batchOf(s, []string{"crm.contact.add?fields[NAME]=$result[ghost][ID]"}, 0)
	id := r["result"].([]any)[0]
	if got := s.must("crm.contact.get", m{"id": id}).(m)["NAME"]; got != "$result[ghost][ID]" {
		t.Errorf("a reference to nothing stays as written: got %v", got)
	}

	var many []string
	for range 52 {
		many = append(many, "server.time")
	}
	r = batchOf(s, many, 0)
	if errs := r["result_error"].(m); len(errs) != 2 || errs["51"].(m)["error"] != "ERROR_BATCH_LENGTH_EXCEEDED" {
		t.Errorf("52 commands: got errors %v, want two of ERROR_BATCH_LENGTH_EXCEEDED", errs)
	}
}
