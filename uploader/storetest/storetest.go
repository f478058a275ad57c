// Package storetest is the suite that every implementation of uploader.Store passes.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/uploader"
)

// Run checks one implementation. setup gives a new, empty store and cleans up behind it with t.Cleanup.
func Run(t *testing.T, setup func(t *testing.T) uploader.Store) {
	t.Helper()
	tests := map[string]func(t *testing.T, s uploader.Store){
		"what is put can be read":              roundTrip,
		"putting again replaces":               replace,
		"what is not there":                    missing,
		"delete":                               remove,
		"names that are no paths":              badNames,
		"names of all kinds":                   goodNames,
		"a reader that fails leaves nothing":   brokenReader,
		"a reader that fails keeps the old":    brokenReplace,
		"a cancelled context leaves nothing":   cancelled,
		"many at once, the same name":          sameName,
		"many at once, other names":            otherNames,
		"an open object survives its removal":  readWhileReplaced,
		"a large object is not kept in memory": large,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// Not parallel: the test of memory counts what the whole process allocates.
			test(t, setup(t))
		})
	}
}

func object(name string, content []byte) uploader.Object {
	sum := sha256.Sum256(content)
	return uploader.Object{Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

func put(t *testing.T, s uploader.Store, name, content string) uploader.Object {
	t.Helper()
	obj, err := s.Put(t.Context(), name, strings.NewReader(content))
	if err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
	return obj
}

// wantContent checks that an object is there with exactly this content, and that Put, Stat and Open agree on it.
func wantContent(t *testing.T, s uploader.Store, name, content string) {
	t.Helper()
	want := object(name, []byte(content))
	stat, err := s.Stat(t.Context(), name)
	if err != nil {
		t.Fatalf("stat %s: %v", name, err)
	}
	if diff := cmp.Diff(stat, want); diff != "" {
		t.Errorf("stat %s (-got +want):\n%s", name, diff)
	}
	r, obj, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatalf("open %s: %v", name, err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	if diff := cmp.Diff(obj, want); diff != "" {
		t.Errorf("open %s (-got +want):\n%s", name, diff)
	}
	if string(got) != content {
		t.Errorf("%s holds %d bytes %.40q, want %d bytes %.40q", name, len(got), got, len(content), content)
	}
}

// wantNone checks that there is no object, whichever way one asks.
func wantNone(t *testing.T, s uploader.Store, name string) {
	t.Helper()
	if _, err := s.Stat(t.Context(), name); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("stat %s: got %v, want ErrNoObject", name, err)
	}
	if r, _, err := s.Open(t.Context(), name); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("open %s: got %v, want ErrNoObject", name, err)
		if err == nil {
			_ = r.Close()
		}
	}
}

const sample = "office/2026-11-22/1795344238.194/1.mp3"

func roundTrip(t *testing.T, s uploader.Store) {
	for _, content := range []string{"", "a", strings.Repeat("0123456789abcdef", 20000)} {
		obj := put(t, s, sample, content)
		if diff := cmp.Diff(obj, object(sample, []byte(content))); diff != "" {
			t.Errorf("put (-got +want):\n%s", diff)
		}
		wantContent(t, s, sample, content)
	}
}

func replace(t *testing.T, s uploader.Store) {
	put(t, s, sample, "a long first recording")
	put(t, s, sample, "the second")
	wantContent(t, s, sample, "the second")
}

func missing(t *testing.T, s uploader.Store) {
	wantNone(t, s, sample)
	wantNone(t, s, "office")
	put(t, s, sample, "x")
	wantNone(t, s, "office/2026-11-22/1795344238.194/2.mp3")
	wantNone(t, s, "office/2026-11-22/1795344238.194")
	wantNone(t, s, sample+"/1.mp3")
}

func remove(t *testing.T, s uploader.Store) {
	if err := s.Delete(t.Context(), sample); err != nil {
		t.Errorf("delete what was never there: %v", err)
	}
	neighbour := "office/2026-11-22/1795344238.194/2.mp3"
	put(t, s, sample, "x")
	put(t, s, neighbour, "y")
	for range 2 {
		if err := s.Delete(t.Context(), sample); err != nil {
			t.Errorf("delete: %v", err)
		}
		wantNone(t, s, sample)
	}
	wantContent(t, s, neighbour, "y")
	put(t, s, sample, "again")
	wantContent(t, s, sample, "again")
}

func badNames(t *testing.T, s uploader.Store) {
	for _, name := range []string{"", ".", "..", "/", "/etc/passwd", "../out.mp3", "a/../../out.mp3", "a/../b.mp3", "a/./b.mp3", "a//b.mp3", "a/", "a\x00b.mp3"} {
		if _, err := s.Put(t.Context(), name, strings.NewReader("x")); err == nil {
			t.Errorf("put %q: got no error", name)
		}
		if _, err := s.Stat(t.Context(), name); err == nil {
			t.Errorf("stat %q: got no error", name)
		}
		if r, _, err := s.Open(t.Context(), name); err == nil {
			t.Errorf("open %q: got no error", name)
			_ = r.Close()
		}
		if err := s.Delete(t.Context(), name); err == nil {
			t.Errorf("delete %q: got no error", name)
		}
	}
}

func goodNames(t *testing.T, s uploader.Store) {
	names := []string{"1.mp3", "a/1.wav", "офис/2026-11-22/mikopbx-1795344238.194_a7Qx2L/1.mp3", "a/with space & +%?#.mp3", "a/-rf.mp3", strings.Repeat("x", 200) + "/1.mp3"}
	for i, name := range names {
		put(t, s, name, fmt.Sprint("content ", i))
	}
	for i, name := range names {
		wantContent(t, s, name, fmt.Sprint("content ", i))
	}
}

var errBroken = errors.New("the source broke")

// broken gives some bytes and then fails.
func broken() io.Reader {
	return io.MultiReader(strings.NewReader(strings.Repeat("x", 100000)), readFunc(func([]byte) (int, error) { return 0, errBroken }))
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func brokenReader(t *testing.T, s uploader.Store) {
	if _, err := s.Put(t.Context(), sample, broken()); !errors.Is(err, errBroken) {
		t.Errorf("put: got %v, want the reader's error", err)
	}
	wantNone(t, s, sample)
}

func brokenReplace(t *testing.T, s uploader.Store) {
	put(t, s, sample, "whole")
	if _, err := s.Put(t.Context(), sample, broken()); !errors.Is(err, errBroken) {
		t.Errorf("put: got %v, want the reader's error", err)
	}
	wantContent(t, s, sample, "whole")
}

func cancelled(t *testing.T, s uploader.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := readFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	// A bound keeps a store that ignores its context from writing for ever.
	if _, err := s.Put(ctx, sample, io.LimitReader(endless, 64<<20)); !errors.Is(err, context.Canceled) {
		t.Errorf("put: got %v, want context.Canceled", err)
	}
	wantNone(t, s, sample)
}

func sameName(t *testing.T, s uploader.Store) {
	const writers = 8
	content := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 50000+i) }
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			if _, err := s.Put(t.Context(), sample, bytes.NewReader(content(i))); err != nil {
				t.Errorf("put %d: %v", i, err)
			}
			r, obj, err := s.Open(t.Context(), sample)
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil {
				t.Errorf("read %d: %v", i, err)
			}
			if len(got) == 0 || !bytes.Equal(got, content(int(got[0]-'a'))) {
				t.Errorf("read %d bytes that nobody wrote", len(got))
			}
			if diff := cmp.Diff(obj, object(sample, got)); diff != "" {
				t.Errorf("open %d (-got +want):\n%s", i, diff)
			}
		})
	}
	group.Wait()
	obj, err := s.Stat(t.Context(), sample)
	if err != nil {
		t.Fatalf("stat: %v", err)
	}
	if i := int(obj.Size) - 50000; i < 0 || i >= writers || obj != object(sample, content(i)) {
		t.Errorf("the last object is none of those written: %+v", obj)
	}
}

func otherNames(t *testing.T, s uploader.Store) {
	var group sync.WaitGroup
	name := func(i int) string { return fmt.Sprintf("office/2026-11-22/%d/1.mp3", i) }
	for i := range 8 {
		group.Go(func() {
			for range 4 { // directories come and go under each other's feet
				if _, err := s.Put(t.Context(), name(i), strings.NewReader("x")); err != nil {
					t.Errorf("put %d: %v", i, err)
				}
				if err := s.Delete(t.Context(), name(i)); err != nil {
					t.Errorf("delete %d: %v", i, err)
				}
			}
			if _, err := s.Put(t.Context(), name(i), strings.NewReader(fmt.Sprint("content ", i))); err != nil {
				t.Errorf("put %d: %v", i, err)
			}
		})
	}
	group.Wait()
	for i := range 8 {
		wantContent(t, s, name(i), fmt.Sprint("content ", i))
	}
}

// readWhileReplaced allows a store to give the old or the new content, or to fail, but never a mixture.
func readWhileReplaced(t *testing.T, s uploader.Store) {
	old, replaced := strings.Repeat("a", 300000), strings.Repeat("b", 300000)
	put(t, s, sample, old)
	r, _, err := s.Open(t.Context(), sample)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	first := make([]byte, 1000)
	if _, err := io.ReadFull(r, first); err != nil {
		t.Fatalf("read: %v", err)
	}
	put(t, s, sample, replaced)
	rest, err := io.ReadAll(r)
	if got := string(first) + string(rest); err == nil && got != old && got != replaced {
		t.Errorf("got %d bytes that are neither the old nor the new content", len(got))
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	wantContent(t, s, sample, replaced)
}

// large puts 64 MB and bounds what is allocated meanwhile, garbage included.
func large(t *testing.T, s uploader.Store) {
	const size, bound = 64 << 20, 24 << 20
	zeros := io.LimitReader(readFunc(func(p []byte) (int, error) {
		clear(p)
		return len(p), nil
	}), size)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	obj, err := s.Put(t.Context(), sample, zeros)
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	r, _, err := s.Open(t.Context(), sample)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read: %v", err)
	}
	runtime.ReadMemStats(&after)
	if n != size || obj.Size != size {
		t.Errorf("put %d, read %d bytes, want %d", obj.Size, n, size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != obj.SHA256 {
		t.Errorf("read back with sum %s, want %s", got, obj.SHA256)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > bound {
		t.Errorf("allocated %d bytes for an object of %d, want at most %d", got, size, bound)
	}
}
