package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"

	"sverka/internal/miniotest"
	"sverka/internal/secret"
	"sverka/uploader"
	"sverka/uploader/s3"
	"sverka/uploader/storetest"
)

const sample = "office/2026-11-22/1795344238.194/1.mp3"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config gives what a store of this bucket needs.
func config(t *testing.T, server *miniotest.Server, bucket string) s3.Config {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	return s3.Config{
		Endpoint: server.Address(), Bucket: bucket, Region: "us-east-1",
		AccessKey: secret.Text(server.AccessKey), SecretKey: secret.Text(server.SecretKey), TempDir: t.TempDir(), Log: logrus.NewEntry(log),
	}
}

func open(t *testing.T, cfg s3.Config) *s3.Store {
	t.Helper()
	s, err := s3.New(cfg)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// setup gives a store with a bucket of its own on the shared server.
func setup(t *testing.T, change func(*s3.Config)) (*s3.Store, s3.Config, *minio.Client) {
	t.Helper()
	server := miniotest.Start(t)
	cfg := config(t, server, server.Bucket(t))
	if change != nil {
		change(&cfg)
	}
	return open(t, cfg), cfg, server.Client(t)
}

func put(t *testing.T, s *s3.Store, name, content string) uploader.Object {
	t.Helper()
	obj, err := s.Put(t.Context(), name, strings.NewReader(content))
	must(t, err)
	return obj
}

func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// once hides all that a reader can beside reading.
type once struct{ io.Reader }

func read(t *testing.T, s *s3.Store, name string) []byte {
	t.Helper()
	r, _, err := s.Open(t.Context(), name)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	return got
}

// Not parallel: the suite measures what the whole process allocates.
func TestStore(t *testing.T) {
	for name, region := range map[string]string{"region known": "us-east-1", "region asked": ""} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) uploader.Store {
				s, _, _ := setup(t, func(c *s3.Config) { c.Region = region })
				return s
			})
		})
	}
}

// TestMemory streams 300 MB of unknown length. Not parallel: it measures what the whole process allocates.
func TestMemory(t *testing.T) {
	const size, bound = 300 << 20, 16 << 20
	s, cfg, _ := setup(t, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	obj, err := s.Put(t.Context(), sample, io.LimitReader(rand.NewChaCha8([32]byte{7}), size))
	runtime.ReadMemStats(&after)
	must(t, err)
	if obj.Size != size {
		t.Errorf("put %d bytes, want %d", obj.Size, size)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > bound {
		t.Errorf("allocated %d bytes for an object of %d, want at most %d", got, size, bound)
	}
	if left, err := os.ReadDir(cfg.TempDir); err != nil || len(left) != 0 {
		t.Errorf("the directory for what is sent holds %v, %v; want nothing", left, err)
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	const part = 16 << 20
	for _, size := range []int{part, part + 1, 40 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			s, cfg, c := setup(t, nil)
			content := noise(size)
			obj, err := s.Put(t.Context(), sample, once{bytes.NewReader(content)})
			must(t, err)
			want := uploader.Object{Name: sample, Size: int64(size), SHA256: sum(content)}
			if d := cmp.Diff(obj, want); d != "" {
				t.Errorf("put (-got +want):\n%s", d)
			}
			stat, err := s.Stat(t.Context(), sample)
			must(t, err)
			if d := cmp.Diff(stat, want); d != "" {
				t.Errorf("stat (-got +want):\n%s", d)
			}
			if got := read(t, s, sample); !bytes.Equal(got, content) {
				t.Errorf("read back %d other bytes", len(got))
			}
			info, err := c.StatObject(t.Context(), cfg.Bucket, sample, minio.StatObjectOptions{})
			must(t, err)
			if inParts := strings.Contains(info.ETag, "-"); inParts != (size > part) {
				t.Errorf("sent in parts: %t, want %t", inParts, size > part)
			}
		})
	}
}

// TestPutFromWhereItStands stages the rest of a reader of which something was read before.
func TestPutFromWhereItStands(t *testing.T) {
	t.Parallel()
	s, _, _ := setup(t, nil)
	r := strings.NewReader("header and sound")
	_, err := r.Seek(7, io.SeekStart)
	must(t, err)
	_, err = s.Put(t.Context(), sample, r)
	must(t, err)
	if got := string(read(t, s, sample)); got != "and sound" {
		t.Errorf("got %q, want the rest", got)
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	s, cfg, c := setup(t, nil)
	tests := []struct{ name, contentType, call, part string }{
		{sample, "audio/mpeg", "1795344238.194", "1"},
		{"офис/2026-11-22/mikopbx-1795344238.194_a7Qx2L/12.WAV", "audio/wav", "mikopbx-1795344238.194_a7Qx2L", "12"},
		{"office/2026-11-22/вызов 1/1.webm", "audio/webm", "%D0%B2%D1%8B%D0%B7%D0%BE%D0%B2%201", "1"},
		{"loose.bin", "application/octet-stream", "", "loose"},
	}
	for _, tt := range tests {
		put(t, s, tt.name, "sound")
		info, err := c.StatObject(t.Context(), cfg.Bucket, tt.name, minio.StatObjectOptions{})
		must(t, err)
		if info.ContentType != tt.contentType {
			t.Errorf("%s: got content type %s, want %s", tt.name, info.ContentType, tt.contentType)
		}
		want := minio.StringMap{"Sha256": sum([]byte("sound")), "Part": tt.part}
		if tt.call != "" {
			want["Linkedid"] = tt.call
		}
		if d := cmp.Diff(info.UserMetadata, want); d != "" {
			t.Errorf("%s: metadata (-got +want):\n%s", tt.name, d)
		}
	}
}

// TestForeignObject reads the sum of what another program put there.
func TestForeignObject(t *testing.T) {
	t.Parallel()
	s, cfg, c := setup(t, nil)
	for _, meta := range []map[string]string{nil, {"Sha256": "none"}} {
		_, err := c.PutObject(t.Context(), cfg.Bucket, sample, strings.NewReader("sound"), 5, minio.PutObjectOptions{UserMetadata: meta})
		must(t, err)
		want := uploader.Object{Name: sample, Size: 5, SHA256: sum([]byte("sound"))}
		got, err := s.Stat(t.Context(), sample)
		must(t, err)
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("stat (-got +want):\n%s", d)
		}
		r, got, err := s.Open(t.Context(), sample)
		must(t, err)
		must(t, r.Close())
		if d := cmp.Diff(got, want); d != "" {
			t.Errorf("open (-got +want):\n%s", d)
		}
	}
}

// TestRefused is what a person reads when the configuration or the server is wrong.
func TestRefused(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	tests := []struct {
		name   string
		change func(*s3.Config)
		want   string
	}{
		{"wrong secret", func(c *s3.Config) { c.SecretKey = "not-the-secret" }, "refuses the keys (SignatureDoesNotMatch): mend staging.access_key"},
		{"wrong key", func(c *s3.Config) { c.AccessKey = "nobody-knows" }, "refuses the keys (InvalidAccessKeyId): mend staging.access_key"},
		{"wrong token", func(c *s3.Config) { c.SessionToken = "not-a-token" }, "mend staging.access_key"},
		{"no bucket", func(c *s3.Config) { c.Bucket = "not-there" }, "has no bucket not-there: make it, or mend staging.bucket"},
		{"TLS against plain", func(c *s3.Config) { c.TLS = true }, "does not speak TLS: set staging.tls to false"},
		{"nobody there", func(c *s3.Config) { c.Endpoint = gone.Listener.Addr().String() }, "cannot be reached, is it up?"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, cfg, _ := setup(t, tt.change)
			_, put := s.Put(t.Context(), sample, strings.NewReader("sound"))
			for what, err := range map[string]error{"put": put, "check": s.Check(t.Context())} {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: got %v, want %q in it", what, err, tt.want)
					continue
				}
				for _, hidden := range []secret.Text{cfg.SecretKey, cfg.AccessKey, cfg.SessionToken} {
					if hidden != "" && strings.Contains(fmt.Sprintf("%v %+v", err, err), hidden.Reveal()) {
						t.Errorf("%s shows a secret: %v", what, err)
					}
				}
				if errors.Is(err, uploader.ErrStagingFull) || errors.Is(err, uploader.ErrNoObject) {
					t.Errorf("%s: %v is of the wrong kind", what, err)
				}
			}
		})
	}
}

// TestAnswers takes what servers answer that the test's server cannot be brought to.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status     int
		code, want string
		full       bool
	}{
		{http.StatusConflict, "XMinioAdminBucketQuotaExceeded", "has no room left (XMinioAdminBucketQuotaExceeded)", true},
		{http.StatusInsufficientStorage, "XMinioStorageFull", "make room there or raise its quota", true},
		{http.StatusForbidden, "QuotaExceeded", "has no room left", true},
		{http.StatusInsufficientStorage, "Whatever", "has no room left", true},
		{http.StatusForbidden, "RequestTimeTooSkewed", "set them right", false},
		{http.StatusForbidden, "AccessDenied", "allow them to list, read, write and delete there", false},
		{http.StatusBadRequest, "AuthorizationHeaderMalformed", "mend staging.region", false},
		{http.StatusServiceUnavailable, "SlowDown", "answers SlowDown", false},
	}
	for _, tt := range tests {
		t.Run(tt.code, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut {
					asked.Add(1)
				}
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>m</Message></Error>", tt.code) // the client may be gone
			}))
			t.Cleanup(server.Close)
			s, _, _ := setup(t, func(c *s3.Config) { c.Endpoint = server.Listener.Addr().String() })
			_, err := s.Put(t.Context(), sample, strings.NewReader("sound"))
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.Is(err, uploader.ErrStagingFull) != tt.full {
				t.Errorf("got %v, want %q in it, full: %t", err, tt.want, tt.full)
			}
			if n := asked.Load(); n < 1 || n > 3 {
				t.Errorf("asked %d times, want 1 to 3", n)
			}
		})
	}
}

// TestDamagedOnTheWay puts a proxy in between that changes a byte of each body.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 17 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			target := &url.URL{Scheme: "http", Host: miniotest.Start(t).Address()}
			var damaged atomic.Int64
			server := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Host = r.In.Host // it is signed
				if r.In.Method == http.MethodPut {
					r.Out.Body = &flipping{r.In.Body}
					damaged.Add(1)
				}
			}})
			t.Cleanup(server.Close)
			s, _, _ := setup(t, func(c *s3.Config) { c.Endpoint = server.Listener.Addr().String() })
			_, err := s.Put(t.Context(), sample, bytes.NewReader(noise(size)))
			if err == nil || !strings.Contains(err.Error(), "damaged on the way") || damaged.Load() == 0 {
				t.Errorf("got %v with %d bodies damaged; want it refused", err, damaged.Load())
			}
			if _, err := s.Stat(t.Context(), sample); !errors.Is(err, uploader.ErrNoObject) {
				t.Errorf("stat: got %v, want no object", err)
			}
		})
	}
}

type flipping struct{ io.ReadCloser }

func (f *flipping) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

func TestTLS(t *testing.T) {
	t.Parallel()
	server := miniotest.StartOwn(t, miniotest.Options{TLS: true})
	cfg := config(t, server, server.Bucket(t))
	cfg.TLS = true
	_, err := open(t, cfg).Put(t.Context(), sample, strings.NewReader("sound"))
	if err == nil || !strings.Contains(err.Error(), "signed by nobody this machine trusts") {
		t.Errorf("without its authority: got %v", err)
	}
	cfg.CAFile, cfg.PathStyle = server.CAFile(), s3.PathStylePath
	s, content := open(t, cfg), noise(17<<20)
	must(t, s.Check(t.Context()))
	_, err = s.Put(t.Context(), sample, bytes.NewReader(content))
	must(t, err)
	if got := read(t, s, sample); !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes", len(got))
	}
	cfg.TLS = false
	if err := open(t, cfg).Check(t.Context()); err == nil {
		t.Error("plain HTTP against TLS: got no error")
	}
	for name, text := range map[string]string{"is missing": "", "is no certificate": "hello"} {
		cfg.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		if text != "" {
			must(t, os.WriteFile(cfg.CAFile, []byte(text), 0o600))
		}
		if _, err := s3.New(cfg); err == nil || !strings.Contains(err.Error(), cfg.CAFile) {
			t.Errorf("authority %s: got %v, want the file named", name, err)
		}
	}
}

// TestLeftInPeace asks a server that is away once in ten seconds, and not for each of thousands of recordings.
func TestLeftInPeace(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler) // the connection breaks
	}))
	t.Cleanup(server.Close)
	now := time.Now()
	s, _, _ := setup(t, func(c *s3.Config) {
		c.Endpoint = server.Listener.Addr().String()
		c.Now = func() time.Time { return now }
	})
	_, first := s.Stat(t.Context(), sample)
	before := asked.Load()
	if first == nil || before == 0 {
		t.Fatalf("got %v after %d requests, want an error of the connection", first, before)
	}
	_, put := s.Put(t.Context(), sample, strings.NewReader("sound"))
	_, stat := s.Stat(t.Context(), sample)
	_, _, read := s.Open(t.Context(), sample)
	for _, err := range []error{put, stat, read, s.Delete(t.Context(), sample)} {
		if err == nil || errors.Is(err, uploader.ErrNoObject) {
			t.Errorf("got %v, want the error of the connection", err)
		}
	}
	if n := asked.Load() - before; n != 0 {
		t.Errorf("asked %d times more, want it left in peace", n)
	}
	now = now.Add(11 * time.Second)
	_, _ = s.Stat(t.Context(), sample) // fails as before
	if asked.Load() == before {
		t.Error("not asked again later")
	}
}

// outage stops the server when so many bytes were read for sending.
type outage struct {
	*bytes.Reader
	left int64
	stop func()
}

func (o *outage) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.Reader.ReadAt(p, at)
	if o.left > 0 {
		if o.left -= int64(n); o.left <= 0 {
			o.stop()
		}
	}
	return n, err
}

// TestOutage stops the server while the second part is on its way.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := miniotest.StartOwn(t, miniotest.Options{})
	cfg := config(t, server, server.Bucket(t))
	s, content := open(t, cfg), noise(40<<20)
	put(t, s, sample, "the old")
	const part = 16 << 20 // each is read for its sum, then sent
	r := &outage{Reader: bytes.NewReader(content), left: 3*part + part/2, stop: func() { server.Stop(t) }}
	_, err := s.Put(t.Context(), sample, r)
	if err == nil || !strings.Contains(err.Error(), "send part 2") || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("got %v, want part 2 not sent and the server not reached", err)
	}
	if _, err := s.Stat(t.Context(), sample); err == nil || errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("stat while it is away: got %v; want neither an object nor none", err)
	}
	server.Restart(t)
	if got := string(read(t, open(t, cfg), sample)); got != "the old" {
		t.Errorf("got %q, want the old object untouched", got)
	}
	if got := unfinished(t, server.Client(t), cfg.Bucket, sample); got != 1 {
		t.Errorf("%d unfinished uploads, want 1: the server was away when it should have been dropped", got)
	}
	cfg.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	later := open(t, cfg)
	_, err = later.Put(t.Context(), sample, bytes.NewReader(content))
	must(t, err)
	if got := read(t, later, sample); !bytes.Equal(got, content) {
		t.Errorf("read back %d other bytes", len(got))
	}
	if got := unfinished(t, server.Client(t), cfg.Bucket, sample); got != 0 {
		t.Errorf("%d unfinished uploads, want none", got)
	}
}

func unfinished(t *testing.T, c *minio.Client, bucket, name string) int {
	t.Helper()
	n := 0
	for upload := range c.ListIncompleteUploads(t.Context(), bucket, name, true) {
		must(t, upload.Err)
		n++
	}
	return n
}

func TestSweep(t *testing.T) {
	t.Parallel()
	for _, byPut := range []bool{false, true} {
		t.Run(fmt.Sprintf("by put %t", byPut), func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			s, cfg, c := setup(t, func(c *s3.Config) {
				c.Prefix = "office/"
				c.Now = func() time.Time { return now }
			})
			core := minio.Core{Client: c}
			for _, name := range []string{sample, "elsewhere/1.mp3"} {
				id, err := core.NewMultipartUpload(t.Context(), cfg.Bucket, name, minio.PutObjectOptions{})
				must(t, err)
				_, err = core.PutObjectPart(t.Context(), cfg.Bucket, name, id, 1, strings.NewReader("half"), 4, minio.PutObjectPartOptions{})
				must(t, err)
			}
			if n, err := s.Sweep(t.Context()); n != 0 || err != nil {
				t.Errorf("dropped %d, %v; want what may be on its way left alone", n, err)
			}
			now = now.Add(2 * time.Hour)
			if byPut {
				put(t, s, "office/2026-11-22/2/1.mp3", "sound")
			} else if n, err := s.Sweep(t.Context()); n != 1 || err != nil {
				t.Errorf("dropped %d, %v; want 1", n, err)
			}
			if got := unfinished(t, c, cfg.Bucket, sample); got != 0 {
				t.Errorf("%d unfinished uploads of ours, want none", got)
			}
			if got := unfinished(t, c, cfg.Bucket, "elsewhere/1.mp3"); got != 1 {
				t.Errorf("%d unfinished uploads of others, want 1", got)
			}
			if n, err := s.Sweep(t.Context()); n != 0 || err != nil {
				t.Errorf("dropped %d, %v; want nothing left to drop", n, err)
			}
		})
	}
}

// TestCancelledInTheMiddle leaves no parts behind.
func TestCancelledInTheMiddle(t *testing.T) {
	t.Parallel()
	s, cfg, c := setup(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r := &outage{Reader: bytes.NewReader(noise(40 << 20)), left: 56 << 20, stop: cancel}
	if _, err := s.Put(ctx, sample, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if _, err := s.Stat(t.Context(), sample); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("stat: got %v, want no object", err)
	}
	if got := unfinished(t, c, cfg.Bucket, sample); got != 0 {
		t.Errorf("%d unfinished uploads, want none", got)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s, cfg, c := setup(t, func(c *s3.Config) {
		c.Prefix, c.MaxBytes = "office/", 1000
		c.Now = func() time.Time { return now }
	})
	full := func(name string, n int, want bool) {
		t.Helper()
		_, err := s.Put(t.Context(), name, strings.NewReader(strings.Repeat("x", n)))
		if errors.Is(err, uploader.ErrStagingFull) != want || !want && err != nil {
			t.Fatalf("put %d bytes as %s: got %v, want full: %t", n, name, err, want)
		}
	}
	foreign := func(name string, n int) {
		t.Helper()
		_, err := c.PutObject(t.Context(), cfg.Bucket, name, strings.NewReader(strings.Repeat("x", n)), int64(n), minio.PutObjectOptions{})
		must(t, err)
	}
	foreign("elsewhere/1.mp3", 5000) // not counted
	foreign("office/1.mp3", 300)     // counted: there before
	full("office/2.mp3", 600, false)
	full("office/3.mp3", 101, true)
	full("office/3.mp3", 100, false)
	full("office/4.mp3", 1, true)
	full("office/5.mp3", 2000, true)
	must(t, s.Delete(t.Context(), "office/2.mp3"))
	full("office/4.mp3", 500, false) // there is room at once
	full("office/4.mp3", 100, false) // replaces: the old one's room is found again
	full("office/6.mp3", 500, false)
	full("office/7.mp3", 1, true)
	must(t, c.RemoveObject(t.Context(), cfg.Bucket, "office/6.mp3", minio.RemoveObjectOptions{}))
	full("office/7.mp3", 1, true) // somebody else's doing is seen a little later
	now = now.Add(time.Minute)
	full("office/7.mp3", 500, false)
	foreign("office/8.mp3", 1)
	must(t, s.Delete(t.Context(), "office/3.mp3"))
	if _, err := s.Stat(t.Context(), "office/5.mp3"); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("stat of what did not fit: got %v, want no object", err)
	}
}

// TestFullDiskIsStagingFull takes the kernel's own error for a full disk and sees that it comes out as the store's.
func TestFullDiskIsStagingFull(t *testing.T) {
	t.Parallel()
	disk, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	_, cause := disk.Write([]byte("x"))
	must(t, disk.Close())
	s, _, _ := setup(t, nil)
	_, err = s.Put(t.Context(), sample, once{errReader{fmt.Errorf("spool: %w", cause)}})
	if !errors.Is(err, uploader.ErrStagingFull) || !errors.Is(err, cause) {
		t.Errorf("got %v, want ErrStagingFull that wraps %v", err, cause)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// TestAway makes a store of a server that is not there: that is found out when it is asked, not before.
func TestAway(t *testing.T) {
	t.Parallel()
	for _, cfg := range []s3.Config{{Bucket: "b"}, {Endpoint: "h"}, {Endpoint: "http://h", Bucket: "b"}} {
		if _, err := s3.New(cfg); err == nil || !strings.Contains(err.Error(), "staging.endpoint") {
			t.Errorf("%+v: got %v, want staging.endpoint named", cfg, err)
		}
	}
	if _, err := s3.New(s3.Config{Endpoint: "127.0.0.1:1", Bucket: "bucket"}); err != nil {
		t.Errorf("got %v, want no error", err)
	}
}

// TestTemporaryKeys stages with keys that end and need their token, and with some that may not write.
func TestTemporaryKeys(t *testing.T) {
	t.Parallel()
	server := miniotest.Start(t)
	cfg := config(t, server, server.Bucket(t))
	keys := func(policy string) s3.Config {
		t.Helper()
		c, err := credentials.NewSTSAssumeRole("http://"+server.Address(), credentials.STSAssumeRoleOptions{
			AccessKey: server.AccessKey, SecretKey: server.SecretKey, Policy: policy,
		})
		must(t, err)
		v, err := c.GetWithContext(&credentials.CredContext{Client: http.DefaultClient})
		must(t, err)
		with := cfg
		with.AccessKey, with.SecretKey, with.SessionToken = secret.Text(v.AccessKeyID), secret.Text(v.SecretAccessKey), secret.Text(v.SessionToken)
		return with
	}
	s := open(t, keys(""))
	put(t, s, sample, "sound")
	if got := string(read(t, s, sample)); got != "sound" {
		t.Errorf("got %q, want what was staged", got)
	}
	reader := open(t, keys(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::*"]}]}`))
	if got := string(read(t, reader, sample)); got != "sound" {
		t.Errorf("got %q, want what was staged", got)
	}
	_, err := reader.Put(t.Context(), sample, strings.NewReader("other"))
	if err == nil || !strings.Contains(err.Error(), "allow them to list, read, write and delete there") {
		t.Errorf("put with keys that may not: got %v", err)
	}
	without := keys("")
	without.SessionToken = ""
	if _, err := open(t, without).Put(t.Context(), sample, strings.NewReader("other")); err == nil || !strings.Contains(err.Error(), "refuses the keys") {
		t.Errorf("put without the token: got %v", err)
	}
}
