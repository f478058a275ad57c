package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"

	"sverka/uploader"
)

const (
	partSize = 16 << 20
	maxParts = 10000 // of S3
)

func validName(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "\\\x00")
}

// Put reads r to its end, for its size and sums, before anything is sent: into a file without a name, unless r can be read twice. An object
// is there whole or not at all, and repeating it is harmless.
func (s *Store) Put(ctx context.Context, name string, r io.Reader) (uploader.Object, error) {
	if err := check(name); err != nil {
		return uploader.Object{}, err
	}
	s.sweepOnce(ctx)
	if err := s.outage.still(s.cfg.Now()); err != nil {
		return uploader.Object{}, fmt.Errorf("stage %s: %w", name, err)
	}
	obj, err := s.put(ctx, name, r)
	if err != nil {
		return uploader.Object{}, fmt.Errorf("stage %s: %w", name, err)
	}
	return obj, nil
}

func (s *Store) put(ctx context.Context, name string, r io.Reader) (obj uploader.Object, err error) {
	src, err := s.source(ctx, r)
	if err != nil {
		return obj, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if err := s.quota.reserve(ctx, src.size); err != nil {
		return obj, err
	}
	defer func() { s.quota.settle(src.size, err == nil) }()
	send := s.sendWhole
	if src.size > partSize {
		send = s.sendParts
	}
	if err := send(ctx, name, src); err != nil {
		return obj, err
	}
	return uploader.Object{Name: name, Size: src.size, SHA256: src.sum}, nil
}

func options(name, sum string) minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ContentType: contentType(name), UserMetadata: metadata(name, sum),
		DisableContentSha256: true, // of chunks: the whole body is signed with its sum instead, which all servers verify, with TLS too
	}
}

// within bounds how long n bytes may take to be sent.
func within(ctx context.Context, n int64) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, metaTimeout+time.Duration(n/slowest)*time.Second, errSlow)
}

func (s *Store) sendWhole(ctx context.Context, name string, src *source) error {
	ctx, cancel := within(ctx, src.size)
	defer cancel()
	_, err := s.core.PutObject(ctx, s.cfg.Bucket, name, src.section(0, src.size), src.size, "", src.sum, options(name, src.sum))
	return s.explain(ctx, err)
}

// sendParts sends an object in parts. What was sent of one that fails is dropped.
func (s *Store) sendParts(ctx context.Context, name string, src *source) (err error) {
	// Some servers list unfinished uploads by the exact name only.
	if _, err := s.drop(ctx, name); err != nil {
		return err
	}
	meta, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	id, err := s.core.NewMultipartUpload(meta, s.cfg.Bucket, name, options(name, src.sum))
	if err != nil {
		return s.explain(meta, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.abort(ctx, name, id))
		}
	}()
	var parts []minio.CompletePart
	for offset := int64(0); offset < src.size; offset += src.part {
		part, err := s.sendPart(ctx, name, id, len(parts)+1, src.section(offset, min(src.part, src.size-offset)))
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	return s.complete(ctx, name, id, parts, src)
}

func (s *Store) sendPart(ctx context.Context, name, id string, number int, section *io.SectionReader) (minio.CompletePart, error) {
	m := newMeasure()
	if _, err := io.Copy(m, section); err != nil {
		return minio.CompletePart{}, fmt.Errorf("read part %d: %w", number, err)
	}
	if _, err := section.Seek(0, io.SeekStart); err != nil {
		return minio.CompletePart{}, fmt.Errorf("read part %d: %w", number, err)
	}
	ctx, cancel := within(ctx, section.Size())
	defer cancel()
	sent, err := s.core.PutObjectPart(ctx, s.cfg.Bucket, name, id, number, section, section.Size(),
		minio.PutObjectPartOptions{Sha256Hex: m.whole(), DisableContentSha256: true})
	if err != nil {
		return minio.CompletePart{}, fmt.Errorf("send part %d: %w", number, s.explain(ctx, err))
	}
	return minio.CompletePart{PartNumber: number, ETag: sent.ETag}, nil
}

// complete makes the parts an object. An answer that is lost is looked up: the object may be there.
func (s *Store) complete(ctx context.Context, name, id string, parts []minio.CompletePart, src *source) error {
	done, cancel := within(ctx, src.size)
	defer cancel()
	_, err := s.core.CompleteMultipartUpload(done, s.cfg.Bucket, name, id, parts, minio.PutObjectOptions{})
	if err == nil {
		return nil
	}
	err = s.explain(done, err)
	if there, look := s.stat(ctx, name); look == nil && there.Size == src.size && there.SHA256 == src.sum {
		return nil
	}
	return err
}

// abort drops an upload that failed, also when its caller is in haste. What it cannot drop is found by Sweep later.
func (s *Store) abort(ctx context.Context, name, id string) error {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), dialTimeout, errSlow)
	defer cancel()
	err := s.core.AbortMultipartUpload(ctx, s.cfg.Bucket, name, id)
	if err == nil || minio.ToErrorResponse(err).Code == minio.NoSuchUpload {
		return nil
	}
	return fmt.Errorf("drop what was sent: %w", s.explain(ctx, err))
}

// source is what is to be sent. It can be read as often as need be.
type source struct {
	r     io.ReaderAt
	begin int64 // where in r it begins
	size  int64
	part  int64 // size of a part
	sum   string
	file  *os.File // nil when r is the caller's
}

func (s *source) section(offset, n int64) *io.SectionReader {
	return io.NewSectionReader(s.r, s.begin+offset, n)
}

func (s *source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// rereadable is a reader of fixed content, like bytes.Reader and io.SectionReader.
type rereadable interface {
	io.ReadSeeker
	io.ReaderAt
	Size() int64
}

// source measures what r gives, and keeps it in a file without a name if r gives it only once. The caller closes it.
func (s *Store) source(ctx context.Context, r io.Reader) (*source, error) {
	src, m := &source{part: partSize}, newMeasure()
	into := io.Writer(m)
	if again, ok := r.(rereadable); ok {
		begin, err := again.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("find where it begins: %w", err)
		}
		src.r, src.begin = again, begin
	} else {
		file, err := s.temp()
		if err != nil {
			return nil, s.noRoom(err)
		}
		src.r, src.file = file, file
		into = io.MultiWriter(file, m)
	}
	if _, err := io.Copy(into, &patient{ctx: ctx, r: r}); err != nil {
		return nil, errors.Join(s.noRoom(err), src.Close())
	}
	src.size, src.sum = m.size, m.whole()
	for src.size > src.part*maxParts {
		src.part *= 2
	}
	return src, nil
}

// temp opens a file without a name, so that a crash leaves nothing behind.
func (s *Store) temp() (*os.File, error) {
	file, err := os.CreateTemp(s.cfg.TempDir, "sverka-stage-*")
	if err != nil {
		return nil, fmt.Errorf("make a file for what is sent: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink the file for what is sent: %w", err), file.Close())
	}
	return file, nil
}

// noRoom says it in the store's words when the disk under TempDir is full.
func (s *Store) noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: make room in %s: %w", uploader.ErrStagingFull, s.cfg.TempDir, err)
	}
	return err
}

// patient reads until its context ends.
type patient struct {
	ctx context.Context // lives for one Put
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := context.Cause(p.ctx); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// measure counts and sums what is written to it.
type measure struct {
	size int64
	sum  hash.Hash
}

func newMeasure() *measure { return &measure{sum: sha256.New()} }

func (m *measure) Write(p []byte) (int, error) {
	m.size += int64(len(p))
	return m.sum.Write(p)
}

func (m *measure) whole() string { return hex.EncodeToString(m.sum.Sum(nil)) }
