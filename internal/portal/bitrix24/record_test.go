package bitrix24_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// archive is a portal that takes recordings over real HTTP.
type archive struct {
	*httptest.Server
	mu      sync.Mutex
	answers []reply // to uploads, one after the other; without any: the file's id
	asked   []map[string]any
	files   []received
}

type received struct {
	Field, Name, Type string
	Size              int64
	Length            int64 // of the whole request, as announced
	Hash              string
}

func newArchive(t *testing.T) *archive {
	a := &archive{}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *archive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("token") == "" {
		var in map[string]any
		_ = json.NewDecoder(r.Body).Decode(&in)
		a.mu.Lock()
		a.asked = append(a.asked, in)
		a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"result": map[string]any{
			"uploadUrl": a.URL + "/rest/7/" + code + "/upload.json?token=" + url.QueryEscape(uploadToken), "fieldName": "file",
		}})
		return
	}
	form, err := r.MultipartReader()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	part, err := form.NextPart()
	if err != nil {
		return
	}
	hash := sha256.New()
	size, err := io.Copy(hash, part)
	if err != nil {
		return
	}
	if _, err := form.NextPart(); !errors.Is(err, io.EOF) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.files = append(a.files, received{part.FormName(), part.FileName(), part.Header.Get("Content-Type"), size, r.ContentLength, fmt.Sprintf("%x", hash.Sum(nil))})
	if len(a.answers) > 0 {
		w.WriteHeader(a.answers[0].status)
		_, _ = io.WriteString(w, a.answers[0].body)
		a.answers = a.answers[1:]
		return
	}
	_, _ = fmt.Fprintf(w, `{"result":{"FILE_ID":"%d"}}`, 100+len(a.files))
}

func (a *archive) client(t *testing.T) *bitrix24.Client {
	return setup(t, bitrix24.Config{Webhook: secret.Text(a.URL + "/rest/7/" + code + "/")})
}

func TestAttachFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, content, media string }{
		{"1700000000.4.mp3", "ID3 sound", "audio/mpeg"},
		{"запись \"1\".wav", strings.Repeat("sound", 100_000), "audio/wav"},
	} {
		a := newArchive(t)
		id, err := a.client(t).AttachFile(context.Background(), "externalCall.1", test.name, int64(len(test.content)), opener(test.content))
		if err != nil || id != 101 {
			t.Fatalf("%s: got file %d, %v; want 101", test.name, id, err)
		}
		wantAsked := []map[string]any{{"CALL_ID": "externalCall.1", "FILENAME": test.name}}
		if diff := cmp.Diff(a.asked, wantAsked); diff != "" {
			t.Errorf("%s: request for the address (-got +want):\n%s", test.name, diff)
		}
		if len(a.files) != 1 {
			t.Fatalf("%s: got %d files, want one", test.name, len(a.files))
		}
		got := a.files[0]
		if got.Length <= got.Size {
			t.Errorf("%s: announced %d bytes for a file of %d", test.name, got.Length, got.Size)
		}
		got.Length = 0
		want := received{"file", test.name, test.media, int64(len(test.content)), 0, fmt.Sprintf("%x", sha256.Sum256([]byte(test.content)))}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s: upload (-got +want):\n%s", test.name, diff)
		}
	}
}

// zeros is a file of any size.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	n := min(int64(len(p)), z.left)
	if n == 0 {
		return 0, io.EOF
	}
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

// TestAttachFileNeedsLittleMemory is not parallel: it measures what the whole process allocates.
func TestAttachFileNeedsLittleMemory(t *testing.T) {
	const size = 200 << 20
	a := newArchive(t)
	c := a.client(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := c.AttachFile(context.Background(), "externalCall.1", "a.wav", size, func() (io.ReadCloser, error) {
		return io.NopCloser(&zeros{size}), nil
	})
	runtime.ReadMemStats(&after)
	if err != nil || len(a.files) != 1 || a.files[0].Size != size {
		t.Fatalf("got %v, want an upload of %d bytes", err, size)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("allocated %d MiB for an upload of 200 MiB", got>>20)
	}
}

func TestAttachFileThatIsNotAsAnnounced(t *testing.T) {
	t.Parallel()
	gone, broken := errors.New("the file is gone"), errors.New("the disk is broken")
	for _, test := range []struct {
		name string
		size int64
		open func() (io.ReadCloser, error)
		want string
		is   error
	}{
		{"shorter", 10, opener("abc"), "7 bytes are missing", io.ErrUnexpectedEOF},
		{"longer", 3, opener("abcd"), "longer than it was", nil},
		{"empty", 0, opener(""), "empty", nil},
		{"cannot be opened", 3, func() (io.ReadCloser, error) { return nil, gone }, "open the recording", gone},
		{"cannot be read", 3, func() (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(broken)), nil }, "read the recording", broken},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newArchive(t)
			_, err := a.client(t).AttachFile(context.Background(), "externalCall.1", "a.mp3", test.size, test.open)
			mustHide(t, err)
			if err == nil || !strings.Contains(err.Error(), test.want) || test.is != nil && !errors.Is(err, test.is) || portal.ClassOf(err) != "" {
				t.Errorf("got %v, want the file's own fault with %q", err, test.want)
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			if len(a.files) != 0 {
				t.Errorf("the portal got %v, want nothing whole", a.files)
			}
		})
	}
}

func TestAttachFileErrors(t *testing.T) {
	t.Parallel()
	t.Run("upload is repeated when nothing was done", func(t *testing.T) {
		t.Parallel()
		a := newArchive(t)
		a.answers = []reply{failing(400, `{"error":"ERROR_COULD_NOT_SAVE_FILE"}`)}
		id, err := a.client(t).AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
		if err != nil || id != 102 || a.files[0].Hash != a.files[1].Hash {
			t.Errorf("got file %d, %v of uploads %v; want the second, the same", id, err, a.files)
		}
	})
	t.Run("upload is not repeated when its outcome is unknown", func(t *testing.T) {
		t.Parallel()
		a := newArchive(t)
		a.answers = []reply{failing(500, broken)}
		_, err := a.client(t).AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
		if e := portalError(t, err); e.Class != portal.Unknown || e.Method != "upload" || len(a.files) != 1 {
			t.Errorf("got %s of %s after %d uploads; want %s after one", e.Class, e.Method, len(a.files), portal.Unknown)
		}
	})
	t.Run("the address is quoted", func(t *testing.T) {
		t.Parallel()
		a := newArchive(t)
		a.answers = []reply{failing(404, "<p>/rest/7/"+code+"/upload.json?token="+url.QueryEscape(uploadToken)+" ("+uploadToken+") was not found</p>")}
		_, err := a.client(t).AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
		if e := portalError(t, err); strings.Contains(e.Error(), url.QueryEscape(uploadToken)) {
			t.Errorf("the error shows the token: %v", e)
		}
	})
	t.Run("nobody answers at the address", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			transport := inMemory(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, `{"result":{"uploadUrl":"https://portal.example/upload?token=`+url.QueryEscape(uploadToken)+`"}}`)
			})
			c := setup(t, bitrix24.Config{Transport: onlyFirst(transport)})
			_, err := c.AttachFile(context.Background(), "externalCall.1", "a.mp3", 3, opener("abc"))
			if e := portalError(t, err); e.Class != portal.Unknown {
				t.Errorf("got %s, want %s", e.Class, portal.Unknown)
			}
		})
	})
	for _, test := range []struct{ name, body string }{
		{"no address", `{"result":{}}`},
		{"an empty map", `{"result":[]}`},
		{"plain http", `{"result":{"uploadUrl":"http://portal.example/upload?token=` + url.QueryEscape(uploadToken) + `"}}`},
		{"no address at all", `{"result":{"uploadUrl":"::` + url.QueryEscape(uploadToken) + `"}}`},
		{"a file", `{"result":{"uploadUrl":"file:///etc/passwd"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if e := portalError(t, attach(setup(t, bitrix24.Config{Transport: script(ok(test.body))}))); e.Class != portal.Unknown || !strings.Contains(e.Text, "uploadUrl") {
				t.Errorf("got %s (%v), want %s about the uploadUrl", e.Class, e, portal.Unknown)
			}
		})
	}
	t.Run("no file id", func(t *testing.T) {
		t.Parallel()
		s := script(ok(`{"result":{"uploadUrl":"https://portal.example/upload"}}`), ok(`{"result":[]}`))
		if e := portalError(t, attach(setup(t, bitrix24.Config{Transport: s}))); e.Class != portal.Unknown || !strings.Contains(e.Text, "FILE_ID") {
			t.Errorf("got %s (%v), want %s about the FILE_ID", e.Class, e, portal.Unknown)
		}
	})
}

// onlyFirst passes on the first request and breaks all others, in words that quote the address.
func onlyFirst(first http.RoundTripper) http.RoundTripper {
	n := 0
	return transportFunc(func(r *http.Request) (*http.Response, error) {
		n++
		if n == 1 {
			return first.RoundTrip(r)
		}
		return nil, fmt.Errorf("cannot reach %s", r.URL)
	})
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
