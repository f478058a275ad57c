package main

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver
)

// runDemo plays a demo without a terminal, with nothing on PATH, and gives what it says and its exit code.
func runDemo(t *testing.T, path, temp string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, append([]string{"demo"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"TMPDIR=" + temp, "PATH="}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// figures finds numbers in a text.
func figures(t *testing.T, text, form string) []int {
	t.Helper()
	m := regexp.MustCompile(form).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("output does not say %q", form)
	}
	var out []int
	for _, s := range m[1:] {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

func TestDemo(t *testing.T) {
	t.Parallel()
	path := binary(t)

	t.Run("plays through, checks itself and leaves nothing behind", func(t *testing.T) {
		t.Parallel()
		temp := t.TempDir()
		stdout, stderr, code := runDemo(t, path, temp)
		if code != 0 {
			t.Fatalf("exit code %d, want 0\n%s\n%s", code, stdout, stderr)
		}
		day := figures(t, stdout, `PBX +(\d+) calls on .*, (\d+) recordings`)
		gaps := figures(t, stdout, `(\d+) calls on the PBX · (\d+) parts belong in Bitrix24 · (\d+) agree · (\d+) gaps`)
		killed := figures(t, stdout, `Killed\. In the portal: (\d+) of (\d+) calls, (\d+) of (\d+) recordings`)
		resumed := figures(t, stdout, `Delivered (\d+) calls and (\d+) recordings\. Nothing is missing`)
		clean := figures(t, stdout, `In sync: (\d+) calls on the PBX, (\d+) parts in Bitrix24, nothing missing`)
		calls := figures(t, stdout, `calls +(\d+) of (\d+), each exactly once`)
		recordings := figures(t, stdout, `recordings +(\d+) of (\d+) attached, byte for byte`)
		parts := calls[1]
		if day[0] != 60 || gaps[0] != 60 || clean[0] != 60 {
			t.Errorf("the day has %d calls, first report %d, last report %d; want 60", day[0], gaps[0], clean[0])
		}
		if gaps[1] != parts || gaps[2] != 0 || gaps[3] != parts || clean[1] != parts || calls[0] != parts {
			t.Errorf("%d parts: first report %v, last report %v, check %v", parts, gaps, clean, calls)
		}
		if recordings[0] != day[1] || recordings[1] != day[1] {
			t.Errorf("%d of %d recordings attached, want %d", recordings[0], recordings[1], day[1])
		}
		if killed[0] < parts/2 || killed[0] >= parts || killed[1] != parts {
			t.Errorf("killed with %d of %d calls in the portal, want about half of %d", killed[0], killed[1], parts)
		}
		if killed[0]+resumed[0] != parts || killed[2]+resumed[1] != day[1] {
			t.Errorf("killed at %v, delivered %v afterwards, want %d calls and %d recordings in all", killed, resumed, parts, day[1])
		}
		left, err := os.ReadDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		if len(left) > 0 {
			t.Errorf("%s is left behind in the temporary directory", left[0].Name())
		}
	})

	t.Run("keeps the files where it is told to", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "kept files")
		stdout, stderr, code := runDemo(t, path, t.TempDir(), "--calls", "20", "--dir", dir)
		if code != 0 {
			t.Fatalf("exit code %d, want 0\n%s\n%s", code, stdout, stderr)
		}
		db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "cdr.db")+"?mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var calls int
		if err := db.QueryRowContext(t.Context(), "SELECT count(DISTINCT linkedid) FROM cdr_general").Scan(&calls); err != nil {
			t.Fatal(err)
		}
		if calls != 20 {
			t.Errorf("cdr.db has %d calls, want 20", calls)
		}
		wavs := 0
		err = filepath.WalkDir(filepath.Join(dir, "monitor"), func(name string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(name, ".wav") {
				wavs++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if attached := figures(t, stdout, `recordings +(\d+) of`)[0]; wavs < attached || attached == 0 {
			t.Errorf("%d files in monitor, %d recordings attached", wavs, attached)
		}
		_, stderr, code = runDemo(t, path, t.TempDir(), "--dir", dir)
		if code != 2 || !strings.Contains(stderr, "not empty") {
			t.Errorf("second run into the same directory: exit code %d and %q, want 2 and the reason", code, stderr)
		}
	})

	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"no calls", "--calls 0", []string{"--calls", "0"}},
		{"too many calls", "--calls 100000", []string{"--calls", "100000"}},
		{"an address that others reach", "loopback", []string{"--listen", "0.0.0.0:0"}},
		{"an address without port", "--listen", []string{"--listen", "127.0.0.1"}},
		{"an argument", "demo", []string{"now"}},
	} {
		t.Run("refuses "+tt.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := runDemo(t, path, t.TempDir(), tt.args...)
			if code != 2 || !strings.Contains(stderr, tt.want) || stdout != "" {
				t.Errorf("exit code %d, %q on stderr and %q on stdout, want 2 and %q", code, stderr, stdout, tt.want)
			}
		})
	}
}
