package dir_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/uploader"
	"sverka/uploader/dir"
	"sverka/uploader/storetest"
)

const sample = "office/2026-11-22/1795344238.194/1.mp3"

func open(t *testing.T, cfg dir.Config) *dir.Store {
	t.Helper()
	s, err := dir.New(cfg)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}

// files lists all regular files below root.
func files(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return names
}

func put(t *testing.T, s *dir.Store, name, content string) uploader.Object {
	t.Helper()
	obj, err := s.Put(t.Context(), name, strings.NewReader(content))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return obj
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) uploader.Store { return open(t, dir.Config{Dir: t.TempDir()}) })
}

func TestConformanceWithQuota(t *testing.T) {
	storetest.Run(t, func(t *testing.T) uploader.Store { return open(t, dir.Config{Dir: t.TempDir(), MaxBytes: 256 << 20}) })
}

func TestNothingLeftOver(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, dir.Config{Dir: root})
	put(t, s, sample, "x")
	put(t, s, sample, "y")
	if _, err := s.Put(t.Context(), "office/other/1.mp3", io.MultiReader(strings.NewReader("x"), failing{})); err == nil {
		t.Error("put from a broken reader: got no error")
	}
	want := []string{"office/2026-11-22/1795344238.194/.1.mp3.sum", sample}
	if diff := cmp.Diff(files(t, root), want); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
	if err := s.Delete(t.Context(), sample); err != nil {
		t.Fatal(err)
	}
	if got := files(t, root); len(got) != 0 {
		t.Errorf("after delete: got %v, want nothing", got)
	}
	if _, err := os.Stat(filepath.Join(root, "office/2026-11-22")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("empty directories stay behind: %v", err)
	}
	if got := s.Used(); got != 0 {
		t.Errorf("used: got %d, want 0", got)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestQuota(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	s := open(t, dir.Config{Dir: root, MaxBytes: 1000, Now: func() time.Time { return now }})
	put(t, s, "a/1.mp3", strings.Repeat("a", 600))
	if _, err := s.Put(t.Context(), "b/1.mp3", strings.NewReader(strings.Repeat("b", 600))); !errors.Is(err, uploader.ErrStagingFull) {
		t.Errorf("put beyond the quota: got %v, want ErrStagingFull", err)
	}
	if diff := cmp.Diff(files(t, root), []string{"a/.1.mp3.sum", "a/1.mp3"}); diff != "" {
		t.Errorf("files after a refusal (-got +want):\n%s", diff)
	}
	if got := s.Used(); got != 600 {
		t.Errorf("used after a refusal: got %d, want 600", got)
	}
	put(t, s, "b/1.mp3", strings.Repeat("b", 400))
	if got := s.Used(); got != 1000 {
		t.Errorf("used when full: got %d, want 1000", got)
	}
	// Another process makes room: the store notices before it refuses.
	if err := os.Remove(filepath.Join(root, "a/1.mp3")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "c/1.mp3", strings.Repeat("c", 600))
	// Another process takes room: the store notices when its count is old.
	if err := s.Delete(t.Context(), "c/1.mp3"); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "d/1.mp3"), strings.Repeat("d", 500))
	now = now.Add(2 * time.Minute)
	if _, err := s.Put(t.Context(), "e/1.mp3", strings.NewReader(strings.Repeat("e", 200))); !errors.Is(err, uploader.ErrStagingFull) {
		t.Errorf("put after another process filled it: got %v, want ErrStagingFull", err)
	}
}

func TestQuotaCountsWhatIsThere(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first := open(t, dir.Config{Dir: root})
	put(t, first, sample, strings.Repeat("a", 700))
	second := open(t, dir.Config{Dir: root, MaxBytes: 1000})
	if got := second.Used(); got != 700 {
		t.Errorf("used: got %d, want 700", got)
	}
	if _, err := second.Put(t.Context(), "b.mp3", strings.NewReader(strings.Repeat("b", 400))); !errors.Is(err, uploader.ErrStagingFull) {
		t.Errorf("got %v, want ErrStagingFull", err)
	}
}

// TestCrash plants what a crash between any two steps of Put leaves behind.
func TestCrash(t *testing.T) {
	t.Parallel()
	old := "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
	tests := map[string]func(t *testing.T, root string){
		"the sum of a newer object":   func(t *testing.T, root string) { write(t, sumOf(root), old+" 12 99 1795344238000000000\n") },
		"an empty sum":                func(t *testing.T, root string) { write(t, sumOf(root), "") },
		"rubbish for a sum":           func(t *testing.T, root string) { write(t, sumOf(root), "rubbish rubbish\n") },
		"no sum":                      func(t *testing.T, root string) { must(t, os.Remove(sumOf(root))) },
		"an object put there by hand": func(t *testing.T, root string) { must(t, os.Remove(sumOf(root))) },
		"an object cut short": func(t *testing.T, root string) {
			must(t, os.Truncate(filepath.Join(root, sample), 3))
		},
	}
	for name, crash := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			put(t, open(t, dir.Config{Dir: root}), sample, "content")
			crash(t, root)
			content, err := os.ReadFile(filepath.Join(root, sample))
			must(t, err)
			s := open(t, dir.Config{Dir: root})
			got, err := s.Stat(t.Context(), sample)
			must(t, err)
			want := put(t, s, "other.mp3", string(content))
			want.Name = sample
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("stat tells (-got +want):\n%s", diff)
			}
		})
	}
}

func sumOf(root string) string { return filepath.Join(root, filepath.Dir(sample), ".1.mp3.sum") }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLeftovers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	now := time.Now()
	for _, name := range []string{".tmp-old", "a/.tmp-old", "a/.gone.mp3.sum"} {
		write(t, filepath.Join(root, name), "x")
		must(t, os.Chtimes(filepath.Join(root, name), now, now.Add(-2*time.Hour)))
	}
	write(t, filepath.Join(root, "a/.tmp-young"), "x") // another process may be writing it
	put(t, open(t, dir.Config{Dir: root}), "a/kept.mp3", "x")
	sum := filepath.Join(root, "a/.kept.mp3.sum")
	must(t, os.Chtimes(sum, now, now.Add(-2*time.Hour)))
	open(t, dir.Config{Dir: root})
	if diff := cmp.Diff(files(t, root), []string{"a/.kept.mp3.sum", "a/.tmp-young", "a/kept.mp3"}); diff != "" {
		t.Errorf("files (-got +want):\n%s", diff)
	}
}

func TestHiddenNamesAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, dir.Config{Dir: t.TempDir()})
	for _, name := range []string{".tmp-1", "a/.b.sum", ".x/1.mp3", strings.Repeat("x", 230), `a\b`} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("put %q: got no error", name)
		}
	}
}

func TestSymlinkInStaging(t *testing.T) {
	t.Parallel()
	root, outside := t.TempDir(), t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(root, "office")))
	s := open(t, dir.Config{Dir: root})
	if _, err := s.Put(t.Context(), sample, strings.NewReader("x")); err == nil {
		t.Error("put through a symlink out of the directory: got no error")
	}
	if got := files(t, outside); len(got) != 0 {
		t.Errorf("written outside: %v", got)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "x")
	for name, cfg := range map[string]dir.Config{"no directory": {}, "a file": {Dir: file}, "below a file": {Dir: file + "/x"}} {
		if s, err := dir.New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
			must(t, s.Close())
		}
	}
}

// TestFullDiskIsStagingFull takes the kernel's own error for a full disk and sees that it comes out as the store's.
func TestFullDiskIsStagingFull(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	must(t, err)
	_, cause := full.Write([]byte("x"))
	must(t, full.Close())
	s := open(t, dir.Config{Dir: t.TempDir()})
	_, err = s.Put(t.Context(), sample, errReader{fmt.Errorf("spool: %w", cause)})
	if !errors.Is(err, uploader.ErrStagingFull) || !errors.Is(err, cause) {
		t.Errorf("got %v, want ErrStagingFull that wraps %v", err, cause)
	}
}

// storeEnv makes the test binary a process that stages until it is killed.
const storeEnv = "SVERKA_TEST_STAGE_INTO"

// content is what object i holds; its length tells whether it is whole.
func content(i int) string { return strings.Repeat(fmt.Sprintf("%06d ", i), 20000) }

// TestKilled kills a process while it stages, again and again, and finds only whole objects.
func TestKilled(t *testing.T) {
	if root := os.Getenv(storeEnv); root != "" {
		stageForEver(t, root)
		return
	}
	t.Parallel()
	root := t.TempDir()
	for round := range 10 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), storeEnv+"="+root)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		in := bufio.NewReader(out)
		for range round + 1 { // dies at a moment of its own after so many objects
			if _, err := in.ReadString('\n'); err != nil {
				t.Fatalf("round %d: the process ended by itself: %v", round, err)
			}
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait() // "signal: killed"
	}
	s := open(t, dir.Config{Dir: root})
	var used int64
	whole := 0
	for _, name := range files(t, root) {
		if strings.HasPrefix(filepath.Base(name), ".") {
			continue
		}
		var i int
		if _, err := fmt.Sscanf(filepath.Base(name), "%d.mp3", &i); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := s.Stat(t.Context(), name)
		must(t, err)
		want := put(t, open(t, dir.Config{Dir: t.TempDir()}), name, content(i))
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s is not whole (-got +want):\n%s", name, diff)
		}
		used += got.Size
		whole++
	}
	if whole == 0 || used != s.Used() {
		t.Errorf("%d objects of %d bytes, counted as %d", whole, used, s.Used())
	}
}

// stageForEver puts a few names over and over and tells of each object that is in.
func stageForEver(t *testing.T, root string) {
	s := open(t, dir.Config{Dir: root})
	for i := 0; ; i++ {
		put(t, s, fmt.Sprintf("office/2026-11-22/%d/%d.mp3", i%5, i%7), content(i%7))
		fmt.Println(i)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
