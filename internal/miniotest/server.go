// Package miniotest starts a real MinIO server for tests: one private server for each test process, with a fresh bucket for each test that
// asks.
//
// The server listens on a free port of 127.0.0.1, keeps its files in a temporary directory, and dies with the test process however that
// ends. Files left by processes that are gone are removed by the next one.
package miniotest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const (
	dirPrefix    = "sverka-minio-"
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
)

// shared is the server that all tests of the process use.
var shared = sync.OnceValues(func() (*Server, error) { return install(Options{}) })

// Options say what a server of StartOwn is like. The zero value speaks plain HTTP.
type Options struct {
	TLS bool // with a certificate that only the holder of CAFile trusts
}

// Server is a running minio. Its administrator's keys are AccessKey and SecretKey.
type Server struct {
	AccessKey, SecretKey string

	dir  string
	port int
	own  bool
	tls  bool

	names atomic.Int64

	mu   sync.Mutex
	proc *os.Process
	done chan struct{} // closed when proc has ended
}

// Start gives the server of this test process; the first caller starts it. A machine without minio fails the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// StartOwn starts a server that only this test uses, for tests that stop it. It ends with the test.
func StartOwn(t testing.TB, o Options) *Server {
	t.Helper()
	s, err := install(o)
	if err != nil {
		t.Fatal(err)
	}
	s.own = true
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop minio: %v", err)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Errorf("remove the data of minio: %v", err)
		}
	})
	return s
}

// Address is the host and port of the server, the same after a Restart.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// CAFile is the certificate to be trusted, for a server with TLS.
func (s *Server) CAFile() string { return filepath.Join(s.path("certs"), "public.crt") }

// Client gives a client with the administrator's keys, to look at what a test has done.
func (s *Server) Client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(s.Address(), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: s.tls, Region: "us-east-1", Transport: s.transport(), MaxRetries: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Bucket makes an empty bucket. It is removed with all that is in it when the test ends.
func (s *Server) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%d-%d", os.Getpid(), s.names.Add(1))
	c := s.Client(t)
	if err := c.MakeBucket(context.Background(), name, minio.MakeBucketOptions{}); err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
	t.Cleanup(func() {
		if s.own {
			return // its files go as a whole
		}
		if err := c.RemoveBucketWithOptions(context.Background(), name, minio.RemoveBucketOptions{ForceDelete: true}); err != nil {
			t.Errorf("remove bucket %s: %v", name, err)
		}
	})
	return name
}

// Stop ends the server and waits until its port is closed: an outage. Only a server of StartOwn can be stopped.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if !s.own {
		t.Fatal("miniotest: this server serves other tests too; use StartOwn")
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
}

// Restart starts a server that Stop stopped, on the same port and with the same data. One that runs is stopped first.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// install makes a data directory and starts a server on it.
func install(o Options) (*Server, error) {
	if _, err := find(); err != nil {
		return nil, err
	}
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for minio: %w", err)
	}
	s := &Server{dir: dir, tls: o.TLS, AccessKey: "test" + rand.Text()[:12], SecretKey: rand.Text()}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// Another process may take a free port between the look and the start.
	for range 5 {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) prepare() error {
	for _, name := range []string{"data", "certs"} {
		if err := os.Mkdir(s.path(name), 0o700); err != nil {
			return fmt.Errorf("make a directory for minio: %w", err)
		}
	}
	if !s.tls {
		return nil
	}
	return writeCertificate(s.CAFile(), filepath.Join(s.path("certs"), "private.key"))
}

func (s *Server) start() error {
	tool, err := find()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of minio: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(tool, "server", "--quiet", "--address", s.Address(), "--certs-dir", s.path("certs"), s.path("data"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = s.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "TMPDIR=" + s.dir,
		"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off", "MINIO_API_STALE_UPLOADS_EXPIRY=24h",
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel sends Pdeathsig when the thread that forked ends, not the process: this thread lives as long as the server.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ends by our signal
		}
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start minio: %w", err)
	}
	s.mu.Lock()
	s.proc, s.done = cmd.Process, done
	s.mu.Unlock()
	if err := s.wait(done); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// transport trusts the server's own certificate and keeps no connection for later.
func (s *Server) transport() *http.Transport {
	tr := &http.Transport{DisableKeepAlives: true}
	if s.tls {
		pool := x509.NewCertPool()
		if text, err := os.ReadFile(s.CAFile()); err == nil {
			pool.AppendCertsFromPEM(text)
		}
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return tr
}

// wait blocks until the server answers to its keys, which another process's server on that port would not.
func (s *Server) wait(done <-chan struct{}) error {
	c, err := minio.New(s.Address(), &minio.Options{
		Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Secure: s.tls, Region: "us-east-1", Transport: s.transport(), MaxRetries: 1,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		_, err := c.ListBuckets(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			out, _ := os.ReadFile(s.path("log"))
			return fmt.Errorf("minio ended at its start: %s", clip(out))
		case <-ctx.Done():
			return fmt.Errorf("minio does not answer after %s: %w", startTimeout, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) stop() error {
	s.mu.Lock()
	proc, done := s.proc, s.done
	s.proc, s.done = nil, nil
	s.mu.Unlock()
	if proc == nil {
		return nil
	}
	// Not asked to end: it would finish the requests in flight first, and an outage does not.
	if err := proc.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop minio: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-time.After(stopTimeout):
		return fmt.Errorf("minio is still there %s after it was killed", stopTimeout)
	}
}

// sweep removes the files of servers whose process is gone.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, d := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(d), dirPrefix), "-")
		n, err := strconv.Atoi(pid)
		if err != nil || n <= 0 || !errors.Is(syscall.Kill(n, 0), syscall.ESRCH) {
			continue
		}
		_ = os.RemoveAll(d) // another process may be sweeping too
	}
}

// find gives the path of minio. go install puts it into GOPATH/bin, which is not everybody's PATH.
func find() (string, error) {
	if p, err := exec.LookPath("minio"); err == nil {
		return p, nil
	}
	out, err := exec.Command("go", "env", "GOPATH").Output()
	if err == nil {
		first, _, _ := strings.Cut(string(bytes.TrimSpace(out)), string(filepath.ListSeparator))
		if p, err := exec.LookPath(filepath.Join(first, "bin", "minio")); err == nil {
			return p, nil
		}
	}
	return "", errors.New("minio is not installed; run make test-deps")
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("find a free port: %v is no TCP address", l.Addr())
	}
	return addr.Port, nil
}

// clip keeps both ends of what a server said: the cause stands at one of them.
func clip(out []byte) string {
	const keep = 700
	s := strings.TrimSpace(string(out))
	if len(s) <= 2*keep {
		return s
	}
	return s[:keep] + "\n…\n" + s[len(s)-keep:]
}
