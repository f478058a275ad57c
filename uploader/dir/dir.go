// Package dir stages recordings in a directory of the local disk.
//
// An object is a plain file that a player can open. Beside it lies a small hidden file with its SHA-256; that one is only a shortcut and is
// computed again when it does not fit the object, so a crash between the two changes nothing.
package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"sverka/uploader"
)

var _ uploader.Store = (*Store)(nil)

const (
	tmpPrefix = ".tmp-"
	sumSuffix = ".sum"
	// tmpAge is how old a file of an unfinished Put must be before it counts as left over by a crash: another process may be writing it.
	tmpAge = time.Hour
	// recount is how long the count of used bytes is trusted: another process may use the same directory.
	recount = time.Minute
	// longest is the longest element of a name in bytes; file systems allow 255, and the hidden files need some of them.
	longest = 220
)

// Config is what a Store needs.
type Config struct {
	Dir      string           // is made if it is not there
	MaxBytes int64            // of all objects together; 0: no bound but the disk's
	Now      func() time.Time // nil: time.Now
}

// Store is a staging area on disk. It may be used by several goroutines and several processes.
type Store struct {
	root *os.Root
	max  int64
	now  func() time.Time

	mu      sync.Mutex
	used    int64 // bytes of objects and of what is being written
	pending int64 // of them, bytes being written by this process
	counted time.Time
}

// New opens the staging directory, counts what is in it and removes what a crash left over.
func New(cfg Config) (*Store, error) {
	if cfg.Dir == "" {
		return nil, errors.New("staging.dir is empty")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("make staging directory: %w", err)
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open staging directory: %w", err)
	}
	s := &Store{root: root, max: cfg.MaxBytes, now: cfg.Now}
	if err := s.count(true); err != nil {
		return nil, errors.Join(fmt.Errorf("count staging directory: %w", err), root.Close())
	}
	return s, nil
}

// Close gives the directory free. Objects that are open stay readable.
func (s *Store) Close() error { return s.root.Close() }

// Used gives the bytes that objects take at present.
func (s *Store) Used() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}

// count adds up all objects; with clean it removes unfinished files and sums without an object. The caller holds mu or is alone.
func (s *Store) count(clean bool) error {
	now := s.now()
	var used int64
	err := fs.WalkDir(s.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted under our eyes
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		base := path.Base(name)
		switch {
		case !strings.HasPrefix(base, "."):
			used += info.Size()
		case !clean || now.Sub(info.ModTime()) < tmpAge:
		case strings.HasPrefix(base, tmpPrefix), s.orphan(name):
			return ignoreMissing(s.root.Remove(name))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.used, s.counted = used+s.pending, now
	return nil
}

// orphan reports whether name is a sum whose object is gone.
func (s *Store) orphan(name string) bool {
	base := path.Base(name)
	if !strings.HasSuffix(base, sumSuffix) {
		return false
	}
	_, err := s.root.Lstat(path.Join(path.Dir(name), strings.TrimSuffix(base[1:], sumSuffix)))
	return errors.Is(err, fs.ErrNotExist)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// check refuses names that are no plain relative paths, and hidden elements: those are the store's own.
func check(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("staging name %q is not a plain relative path", name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if element[0] == '.' || len(element) > longest {
			return fmt.Errorf("staging name %q has a hidden or too long element", name)
		}
	}
	return nil
}

func sumName(name string) string { return path.Join(path.Dir(name), "."+path.Base(name)+sumSuffix) }

// Put writes a temporary file, syncs it, renames it and syncs the directory. Repeating it is harmless.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (uploader.Object, error) {
	obj, err := s.put(ctx, name, r)
	if err != nil {
		return uploader.Object{}, fmt.Errorf("stage %s: %w", name, err)
	}
	return obj, nil
}

func (s *Store) put(ctx context.Context, name string, r io.Reader) (obj uploader.Object, err error) {
	if err := check(name); err != nil {
		return obj, err
	}
	file, tmp, err := s.create(path.Dir(name))
	if err != nil {
		return obj, full(err)
	}
	w := &writer{ctx: ctx, store: s, file: file}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(s.root.Remove(tmp)))
		}
		s.settle(w.written)
	}()
	sum := sha256.New()
	_, err = io.Copy(w, io.TeeReader(r, sum))
	if err == nil {
		err = file.Sync()
	}
	info, statErr := file.Stat()
	if err := errors.Join(err, statErr, file.Close()); err != nil {
		return obj, full(err)
	}
	obj = uploader.Object{Name: name, Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}
	return obj, full(s.publish(tmp, obj, info))
}

// publish makes a finished file the object. The sum goes first: it names the file it belongs to, so it is no lie if we die in between.
func (s *Store) publish(tmp string, obj uploader.Object, info fs.FileInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeSum(obj, info); err != nil {
		return err
	}
	var before int64
	if old, err := s.root.Lstat(obj.Name); err == nil {
		before = old.Size()
	}
	if err := s.root.Rename(tmp, obj.Name); err != nil {
		return err
	}
	s.used += obj.Size - before
	return s.syncDir(path.Dir(obj.Name))
}

// create makes a temporary file in directory d. Delete removes empty directories, so d may vanish between the two steps.
func (s *Store) create(d string) (*os.File, string, error) {
	for range 10 {
		if err := s.mkdir(d); err != nil {
			return nil, "", err
		}
		tmp := path.Join(d, fmt.Sprintf("%s%016x", tmpPrefix, rand.Uint64()))
		file, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
		if err == nil {
			return file, tmp, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return nil, "", err
		}
	}
	return nil, "", fmt.Errorf("directory %s does not stay: %w", d, fs.ErrNotExist)
}

// mkdir makes d and its parents and syncs the parent of each new one, so that the object's path survives a power cut.
func (s *Store) mkdir(d string) error {
	if d == "." {
		return nil
	}
	if info, err := s.root.Stat(d); err == nil && info.IsDir() {
		return nil
	}
	if err := s.mkdir(path.Dir(d)); err != nil {
		return err
	}
	if err := s.root.Mkdir(d, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return ignoreMissing(s.syncDir(path.Dir(d)))
}

func (s *Store) syncDir(d string) error {
	f, err := s.root.Open(d)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// full turns the disk's words for "no room" into the store's.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", uploader.ErrStagingFull, err)
	}
	return err
}

// writer counts against the quota while it writes, and stops when the caller's context ends.
type writer struct {
	ctx     context.Context // lives for one Put
	store   *Store
	file    *os.File
	written int64
}

func (w *writer) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	if err := w.store.reserve(int64(len(p))); err != nil {
		return 0, err
	}
	w.written += int64(len(p))
	return w.file.Write(p)
}

// reserve takes n bytes of the quota for a file that is being written.
func (s *Store) reserve(n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.max > 0 {
		if s.used+n > s.max || s.now().Sub(s.counted) > recount {
			if err := s.count(false); err != nil {
				return fmt.Errorf("count staging directory: %w", err)
			}
		}
		if s.used+n > s.max {
			return fmt.Errorf("%w: staging.max_bytes is %d", uploader.ErrStagingFull, s.max)
		}
	}
	s.used += n
	s.pending += n
	return nil
}

// settle gives back what reserve took.
func (s *Store) settle(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= n
	s.pending -= n
}

// stamp ties a sum to one state of one file. Size and time alone do not: clocks of file systems are coarse, and two Puts may be equally long.
func stamp(info fs.FileInfo) string {
	var inode uint64
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = sys.Ino
	}
	return fmt.Sprintf("%d %d %d", inode, info.Size(), info.ModTime().UnixNano())
}

func (s *Store) writeSum(obj uploader.Object, info fs.FileInfo) error {
	file, tmp, err := s.create(path.Dir(obj.Name))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(file, "%s %s\n", obj.SHA256, stamp(info))
	if err = errors.Join(err, file.Close()); err == nil {
		err = s.root.Rename(tmp, sumName(obj.Name))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(s.root.Remove(tmp)))
	}
	return nil
}

// Open opens an object. The object stays readable when it is replaced or deleted meanwhile.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, uploader.Object, error) {
	file, obj, err := s.open(ctx, name)
	if err != nil {
		return nil, uploader.Object{}, fmt.Errorf("open staged %s: %w", name, err)
	}
	return file, obj, nil
}

// Stat describes an object. It reads the whole object when the sum beside it does not fit.
func (s *Store) Stat(ctx context.Context, name string) (uploader.Object, error) {
	file, obj, err := s.open(ctx, name)
	if err != nil {
		return uploader.Object{}, fmt.Errorf("look at staged %s: %w", name, err)
	}
	return obj, file.Close()
}

func (s *Store) open(ctx context.Context, name string) (*os.File, uploader.Object, error) {
	if err := check(name); err != nil {
		return nil, uploader.Object{}, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, uploader.Object{}, err
	}
	file, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, uploader.Object{}, uploader.ErrNoObject
	}
	if err != nil {
		return nil, uploader.Object{}, err
	}
	obj, err := s.describe(ctx, name, file)
	if err != nil {
		return nil, uploader.Object{}, errors.Join(err, file.Close())
	}
	return file, obj, nil
}

func (s *Store) describe(ctx context.Context, name string, file *os.File) (uploader.Object, error) {
	info, err := file.Stat()
	if err != nil {
		return uploader.Object{}, err
	}
	if !info.Mode().IsRegular() {
		return uploader.Object{}, uploader.ErrNoObject
	}
	obj := uploader.Object{Name: name, Size: info.Size()}
	if line, err := s.root.ReadFile(sumName(name)); err == nil {
		if sum, rest, ok := strings.Cut(strings.TrimSpace(string(line)), " "); ok && rest == stamp(info) && len(sum) == 2*sha256.Size {
			obj.SHA256 = sum
			return obj, nil
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, io.NewSectionReader(file, 0, info.Size())}); err != nil {
		return uploader.Object{}, err
	}
	obj.SHA256 = hex.EncodeToString(h.Sum(nil))
	return obj, nil
}

// reader stops when the caller's context ends.
type reader struct {
	ctx context.Context // lives for one Stat
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Delete removes an object, its sum and the directories that become empty.
func (s *Store) Delete(_ context.Context, name string) error {
	if err := s.remove(name); err != nil {
		return fmt.Errorf("delete staged %s: %w", name, err)
	}
	return nil
}

func (s *Store) remove(name string) error {
	if err := check(name); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is a directory", name)
	}
	if err := ignoreMissing(s.root.Remove(name)); err != nil {
		return err
	}
	s.used -= info.Size()
	if err := ignoreMissing(s.root.Remove(sumName(name))); err != nil {
		return err
	}
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		if s.root.Remove(d) != nil {
			break // not empty: other recordings are in it
		}
	}
	return nil
}
