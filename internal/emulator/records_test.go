package emulator_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sverka/internal/emulator"
)

const attach = "telephony.externalCall.attachRecord"

// upload posts bytes to an uploadUrl the way the portal wants them.
func (s server) upload(address, field, name string, data []byte) (int, m) {
	s.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(field, name)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := part.Write(data); err != nil {
		s.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		s.t.Fatal(err)
	}
	return s.post(address, w.FormDataContentType(), b.String())
}

func (s server) uploadURL(callID, name string) string {
	s.t.Helper()
	got := s.must(attach, m{"CALL_ID": callID, "FILENAME": name}).(m)
	if got["fieldName"] != "file" {
		s.t.Fatalf("got %v", got)
	}
	return got["uploadUrl"].(string)
}

func record(callID, name string, id int64, data string, current bool) emulator.Record {
	sum := sha256.Sum256([]byte(data))
	return emulator.Record{FileID: id, CallID: callID, Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:]), Current: current, Created: noon}
}

var anyPath = cmpopts.IgnoreFields(emulator.Record{}, "Path")

func TestAttachInTwoSteps(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.done(m{"PHONE_NUMBER": "+79161234567"})
	address := s.uploadURL(id, "a.mp3")
	if got := s.rows(m{})[0].(m)["RECORD_FILE_ID"]; got != nil {
		t.Errorf("before the upload: RECORD_FILE_ID %v, want null", got)
	}
	// The name in the form does not count, that of the token does.
	status, out := s.upload(address, "file", "other.bin", []byte("first"))
	if status != http.StatusOK || out["result"].(m)["FILE_ID"] != 1.0 {
		t.Fatalf("upload: got %d %v", status, out)
	}
	row := s.rows(m{})[0].(m)
	if row["RECORD_FILE_ID"] != 1.0 || row["CALL_RECORD_URL"] != nil {
		t.Errorf("got RECORD_FILE_ID %v, CALL_RECORD_URL %v", row["RECORD_FILE_ID"], row["CALL_RECORD_URL"])
	}
	if a := s.Activities()[0]; a.FileID != 1 {
		t.Errorf("activity: got file %d, want 1", a.FileID)
	}
	// Again: the new one counts, the old one stays as an orphan.
	s.upload(address, "file", "a.mp3", []byte("second"))
	want := []emulator.Record{record(id, "a.mp3", 1, "first", false), record(id, "a.mp3", 2, "second", true)}
	if d := cmp.Diff(want, s.Records(), anyPath, cmpopts.EquateApproxTime(0)); d != "" {
		t.Error(d)
	}
	for _, r := range s.Records() {
		b, err := os.ReadFile(r.Path)
		if err != nil || int64(len(b)) != r.Size {
			t.Errorf("file %d: %d bytes, %v", r.FileID, len(b), err)
		}
	}
	res, err := http.Get(strings.TrimSuffix(s.URL, "rest/1/demo/") + "records/2")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if b, _ := io.ReadAll(res.Body); string(b) != "second" || res.Header.Get("Content-Type") != "audio/mpeg" {
		t.Errorf("/records/2: got %q as %s", b, res.Header.Get("Content-Type"))
	}
	if got := s.must("disk.file.get", m{"id": 2}).(m); got["SIZE"] != "6" || got["NAME"] != "a.mp3" {
		t.Errorf("disk.file.get: got %v", got)
	}
	if got, want := s.refused("disk.file.get", m{"id": 9}), "400 ERROR_NOT_FOUND Could not find entity with id 9"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUploadIsBoundToItsToken(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	one, two := s.done(m{"EXTERNAL_CALL_ID": "1"}), s.done(m{"EXTERNAL_CALL_ID": "2"})
	first, second := s.uploadURL(one, "1.mp3"), s.uploadURL(two, "2.mp3")
	cut := func(u string) []string { return strings.Split(u, "%7C") }
	forged := cut(first)[0] + "%7C" + cut(second)[1] + "%7C" + cut(first)[2]
	for name, c := range map[string]struct{ address, field, file, want string }{
		"forged":      {forged, "file", "x.mp3", "403 ACCESS_DENIED"},
		"no token":    {s.URL + "upload", "file", "x.mp3", "403 ACCESS_DENIED"},
		"other field": {first, "record", "x.mp3", "400 ERROR_CORE"},
		"other code":  {strings.Replace(first, "/demo/", "/other/", 1), "file", "x.mp3", "401 INVALID_CREDENTIALS"},
	} {
		status, out := s.upload(c.address, c.field, c.file, []byte("data"))
		if got := fmt.Sprint(status, " ", out["error"]); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if status, out := s.upload(first, "file", "x.mp3", nil); status != 400 {
		t.Errorf("empty file: got %d %v", status, out)
	}
	// A body that ends too early attaches nothing.
	const head = "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.mp3\"\r\n\r\n"
	if status, out := s.post(first, "multipart/form-data; boundary=X", head+"half of it"); status < 400 {
		t.Errorf("truncated upload: got %d %v", status, out)
	}
	if n := len(s.Records()); n != 0 {
		t.Errorf("got %d records, want 0", n)
	}
	if got := s.Requests().Uploads; got != 5 {
		t.Errorf("counted %d uploads, want 5", got)
	}
	status, _ := s.upload(second, "file", "x.mp3", []byte("data"))
	if r := s.Records(); status != 200 || len(r) != 1 || r[0].CallID != two || r[0].Name != "2.mp3" {
		t.Errorf("got %d, %+v", status, r)
	}
}

func TestAttachInline(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := setup(t, emulator.Options{Dir: dir})
	id := s.done(nil)
	send := func(text string) any {
		return s.must(attach, m{"CALL_ID": id, "FILENAME": "a.wav", "FILE_CONTENT": base64.StdEncoding.EncodeToString([]byte(text))})
	}
	send("first")
	if got := jsonOf(t, send("second")); got != `{"FILE_ID":2}` {
		t.Errorf("got %s", got)
	}
	// Here the portal deletes the file that is replaced.
	want := []emulator.Record{record(id, "a.wav", 1, "first", false), record(id, "a.wav", 2, "second", true)}
	if d := cmp.Diff(want, s.Records(), anyPath, cmpopts.EquateApproxTime(0)); d != "" {
		t.Error(d)
	}
	if r := s.Records(); r[0].Path != "" || r[1].Path == "" {
		t.Errorf("got paths %q and %q, want only the second", r[0].Path, r[1].Path)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %d files, %v; want 1", len(left), err)
	}
}

func TestAttachByAddress(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	fetched := 0
	files := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fetched++
		if r.URL.Path != "/2026/call.mp3" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, "sound")
	}))
	t.Cleanup(files.Close)
	id := s.done(nil)
	s.must(attach, m{"CALL_ID": id, "RECORD_URL": files.URL + "/2026/call.mp3?sig=1"})
	if r := s.Records(); len(r) != 1 || r[0].Name != "call.mp3" || r[0].Size != 5 || fetched != 1 {
		t.Errorf("got %+v after %d requests", r, fetched)
	}
	if got := s.Calls()[0].RecordURL; got != files.URL+"/2026/call.mp3?sig=1" {
		t.Errorf("got CALL_RECORD_URL %s", got)
	}
	// The address wins over FILENAME and FILE_CONTENT.
	s.must(attach, m{"CALL_ID": id, "RECORD_URL": files.URL + "/2026/call.mp3", "FILENAME": "named.wav", "FILE_CONTENT": "!"})
	if r, err := s.Record(2); err != nil || r.Name != "named.wav" {
		t.Errorf("got %+v, %v", r, err)
	}
	if got, want := s.refused(attach, m{"CALL_ID": id, "RECORD_URL": files.URL + "/none.mp3"}), "400 ERROR_CORE Server returns HTTP error code 404"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	away := httptest.NewServer(nil)
	away.Close()
	if got := s.refused(attach, m{"CALL_ID": id, "RECORD_URL": away.URL + "/a.mp3?sig=secret"}); !strings.HasPrefix(got, "400 ERROR_CORE CONNECTION: ") || strings.Contains(got, "secret") {
		t.Errorf("unreachable: got %s", got)
	}

	// The deprecated way tries once and is silent about failure.
	call := s.register(m{"EXTERNAL_CALL_ID": "f"})
	s.finish(call, m{"RECORD_URL": files.URL + "/2026/call.mp3"})
	if c := s.Calls()[1]; c.RecordFileID != 3 {
		t.Errorf("finish with RECORD_URL: got file %d, want 3", c.RecordFileID)
	}
	s.finish(s.register(m{"EXTERNAL_CALL_ID": "g"}), m{"RECORD_URL": files.URL + "/none.mp3"})
	if c := s.Calls()[2]; c.RecordFileID != 0 {
		t.Errorf("finish with a wrong RECORD_URL: got file %d, want none", c.RecordFileID)
	}
}

func TestAttachRefuses(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id, live := s.done(nil), s.register(m{"EXTERNAL_CALL_ID": "live"})
	for _, c := range []struct {
		name   string
		params m
		want   string
	}{
		{"nothing", m{"CALL_ID": id}, "Required parameters are not set. Request should contain either URL or FILENAME parameter"},
		{"not finished", m{"CALL_ID": live, "FILENAME": "a.mp3"}, "Call is not found in the statistic table. It looks like it is not finished yet."},
		{"unknown", m{"CALL_ID": "x", "FILENAME": "a.mp3"}, "Call is not found in the statistic table. It looks like it is not finished yet."},
		{"empty name", m{"CALL_ID": id, "FILENAME": ""}, "File name is empty"},
		{"webm", m{"CALL_ID": id, "FILENAME": "a.webm"}, "Wrong file extension. Only wav and mp3 are allowed"},
		{"upper case", m{"CALL_ID": id, "FILENAME": "a.MP3"}, "Wrong file extension. Only wav and mp3 are allowed"},
		{"empty content", m{"CALL_ID": id, "FILENAME": "a.mp3", "FILE_CONTENT": ""}, "File content is empty."},
		{"no base64", m{"CALL_ID": id, "FILENAME": "a.mp3", "FILE_CONTENT": "data:audio/mp3;base64,AAAA"}, "File content is not properly encoded. Base64 encoding is expected."},
	} {
		if got, want := s.refused(attach, c.params), "400 ERROR_CORE "+c.want; got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
	if n := len(s.Records()); n != 0 {
		t.Errorf("got %d records, want 0", n)
	}
	if _, err := s.Record(1); err == nil {
		t.Error("a record that does not exist is found")
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Faults: emulator.Faults{Error: 1}, Limits: emulator.Limits{Burst: 1}})
	for range 3 {
		got, err := s.Do(context.Background(), "telephony.externalCall.register", m{"USER_ID": 17, "PHONE_NUMBER": "+79995550001", "TYPE": 2, "SHOW": 0})
		if err != nil {
			t.Fatal(err)
		}
		id := got.(m)["CALL_ID"].(string)
		end, err := s.Do(context.Background(), "telephony.externalCall.finish", m{"CALL_ID": id, "USER_ID": 17, "DURATION": 1})
		if err != nil || end.(m)["CALL_DURATION"] != int64(1) {
			t.Fatalf("%v, %v", end, err)
		}
	}
	if n := len(s.Calls()); n != 3 {
		t.Errorf("got %d calls, want 3", n)
	}
	_, err := s.Do(context.Background(), "telephony.externalCall.finish", m{"CALL_ID": "x", "USER_ID": 17})
	if got, want := textOf(err), "Call is not found (call should be registered prior to finishing)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
