// Package mariadbtest starts a real MariaDB for tests: one private server for each test process, with a fresh database for each test that
// asks.
//
// The server listens on a free port of 127.0.0.1, keeps its files in a temporary directory, and dies with the test process however that
// ends. Files left by processes that are gone are removed by the next one.
package mariadbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
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

	"github.com/go-sql-driver/mysql"
)

const (
	dirPrefix    = "sverka-mariadb-"
	startTimeout = 60 * time.Second
	stopTimeout  = 20 * time.Second
)

// shared is the server that all tests of the process use.
var shared = sync.OnceValues(func() (*Server, error) { return install() })

// Server is a running mariadbd.
type Server struct {
	dir  string
	port int
	own  bool

	names atomic.Int64

	mu   sync.Mutex
	proc *os.Process
	done chan struct{} // closed when proc has ended
}

// Start gives the server of this test process; the first caller starts it. A machine without mariadbd fails the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// StartOwn starts a server that only this test uses, for tests that stop it. It ends with the test.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	s, err := install()
	if err != nil {
		t.Fatal(err)
	}
	s.own = true
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("stop mariadbd: %v", err)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Errorf("remove the data of mariadbd: %v", err)
		}
	})
	return s
}

// Database makes an empty database (utf8mb4) with two users and gives the DSN of its owner, for go-sql-driver/mysql. ReadOnly makes of it
// the DSN of the user that may only SELECT. The database is dropped when the test ends.
func (s *Server) Database(t testing.TB) (dsn string) {
	t.Helper()
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), s.names.Add(1))
	password := rand.Text()
	s.Exec(t,
		"CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
		"CREATE USER '"+name+"'@'127.0.0.1' IDENTIFIED BY '"+password+"'",
		"GRANT ALL ON "+name+".* TO '"+name+"'@'127.0.0.1'",
		"CREATE USER '"+name+readerSuffix+"'@'127.0.0.1' IDENTIFIED BY '"+password+"'",
		"GRANT SELECT ON "+name+".* TO '"+name+readerSuffix+"'@'127.0.0.1'")
	t.Cleanup(func() {
		if !s.running() {
			return // a server of the test's own, stopped by it; its files go as a whole
		}
		s.Exec(t, "DROP DATABASE "+name, "DROP USER '"+name+"'@'127.0.0.1'", "DROP USER '"+name+readerSuffix+"'@'127.0.0.1'")
	})
	return s.dsn(name, password, name)
}

const readerSuffix = "_reader"

// ReadOnly gives the DSN of the user that may only SELECT, for a DSN of Database.
func ReadOnly(dsn string) string {
	user, rest, _ := strings.Cut(dsn, ":")
	return user + readerSuffix + ":" + rest
}

// Exec runs statements as the server's administrator.
func (s *Server) Exec(t testing.TB, statements ...string) {
	t.Helper()
	db, err := sql.Open("mysql", s.dsn("root", "", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, q := range statements {
		if _, err := db.ExecContext(context.Background(), q); err != nil {
			t.Fatalf("mariadb: %v", err)
		}
	}
}

// Address is the host and port of the server, the same after a Restart.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Stop ends the server and waits until its port is closed: an outage. Only a server of StartOwn can be stopped.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if !s.own {
		t.Fatal("mariadbtest: this server serves other tests too; use StartOwn")
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

func (s *Server) dsn(user, password, database string) string {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = user, password, "tcp", s.Address(), database
	return c.FormatDSN()
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil
}

// install makes a data directory and starts a server on it.
func install() (*Server, error) {
	for _, tool := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := find(tool); err != nil {
			return nil, fmt.Errorf("%s is not installed; run make test-deps", tool)
		}
	}
	sweep()
	dir, err := os.MkdirTemp("", dirPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for mariadbd: %w", err)
	}
	s := &Server{dir: dir}
	if err := os.Mkdir(s.path("tmp"), 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for mariadbd: %w", err)
	}
	tool, _ := find("mariadb-install-db")
	cmd := exec.Command(tool, append([]string{
		"--no-defaults", "--datadir=" + s.path("data"), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-log-file-size=8M", s.tmpdir(),
	}, asRoot()...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("mariadb-install-db: %w: %s", err, clip(out)), os.RemoveAll(dir))
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

// tmpdir gives each server a directory for temporary tables of its own: one that starts removes what it finds there.
func (s *Server) tmpdir() string { return "--tmpdir=" + s.path("tmp") }

func (s *Server) start() error {
	tool, err := find("mariadbd")
	if err != nil {
		return fmt.Errorf("mariadbd is not installed; run make test-deps")
	}
	log, err := os.OpenFile(s.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log of mariadbd: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(tool, append([]string{
		"--no-defaults", "--datadir=" + s.path("data"), "--socket=" + s.path("sock"), "--port=" + strconv.Itoa(s.port),
		"--bind-address=127.0.0.1", "--skip-name-resolve", "--pid-file=" + s.path("pid"), s.tmpdir(),
		// Tests read what they wrote; none needs it to survive the machine.
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--max-connections=200",
	}, asRoot()...)...)
	cmd.Stdout, cmd.Stderr = log, log
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
		return fmt.Errorf("start mariadbd: %w", err)
	}
	s.mu.Lock()
	s.proc, s.done = cmd.Process, done
	s.mu.Unlock()
	if err := s.wait(done); err != nil {
		return errors.Join(err, s.stop())
	}
	return nil
}

// wait blocks until the server answers.
func (s *Server) wait(done <-chan struct{}) error {
	db, err := sql.Open("mysql", s.dsn("root", "", ""))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		// Another process's server may answer on a port that ours did not get: ask whose files it serves.
		var data string
		err := db.QueryRowContext(ctx, "SELECT @@datadir").Scan(&data)
		if err == nil && filepath.Clean(data) == s.path("data") {
			return nil
		}
		select {
		case <-done:
			out, _ := os.ReadFile(s.path("log"))
			return fmt.Errorf("mariadbd ended at its start: %s", clip(out))
		case <-ctx.Done():
			return fmt.Errorf("mariadbd does not answer after %s: %w", startTimeout, err)
		case <-time.After(20 * time.Millisecond):
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
	if err := proc.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop mariadbd: %w", err)
	}
	select {
	case <-done:
	case <-time.After(stopTimeout):
		_ = proc.Kill() // it may have ended by itself since
		<-done
	}
	return nil
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

func find(tool string) (string, error) {
	if p, err := exec.LookPath(tool); err == nil {
		return p, nil
	}
	return exec.LookPath("/usr/sbin/" + tool) // not in everybody's PATH
}

func asRoot() []string {
	if os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
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
