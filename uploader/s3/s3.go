// Package s3 stages recordings in a bucket of any server that speaks S3: MinIO, Ceph, AWS, Yandex.
//
// Each object carries its SHA-256 and the call it belongs to as metadata, and what is sent is signed with its SHA-256: a server refuses bytes
// that were damaged on the way. An object of more than 16 MiB goes in parts, read from disk and sent one after the other, so nothing is kept in
// memory. A process that dies in between leaves an upload without an object; the next one finds it and drops it.
package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sirupsen/logrus"

	"sverka/internal/secret"
	"sverka/uploader"
)

var _ uploader.Store = (*Store)(nil)

// PathStyle says where a request names its bucket.
type PathStyle int

// Where a request names its bucket.
const (
	PathStyleAuto    PathStyle = iota + 1 // as the server's address suggests: its maker's hosts by host, all others by path
	PathStylePath                         // https://host/bucket/object
	PathStyleVirtual                      // https://bucket.host/object
)

// How long the network may take.
const (
	dialTimeout   = 5 * time.Second
	headerTimeout = time.Minute // until the answer begins
	tries         = 3           // of one request
	metaTimeout   = 2 * time.Minute
	idleTimeout   = time.Minute // of a download that gives nothing
	slowest       = 32 << 10    // bytes per second below which an upload counts as stuck
)

// Config is what a Store needs.
type Config struct {
	Endpoint     string // host or host:port
	Bucket       string // must be there
	Prefix       string // what all names of this site begin with, "office/"; what does not begin so is not counted and not swept. "": the whole bucket
	Region       string // "": the server is asked once
	AccessKey    secret.Text
	SecretKey    secret.Text
	SessionToken secret.Text      // of temporary keys; else ""
	TLS          bool             // https
	CAFile       string           // PEM; trusted beside the system's authorities. "" for none
	PathStyle    PathStyle        // zero: PathStyleAuto
	MaxBytes     int64            // of all objects under Prefix together; 0: no bound but the server's
	TempDir      string           // holds what is being sent, without a name; "": the system's
	Now          func() time.Time // nil: time.Now
	Log          *logrus.Entry    // nil: nothing is logged
}

// Store is a staging area in a bucket. It may be used by several goroutines and several processes.
type Store struct {
	core    minio.Core
	cfg     Config
	traffic *http.Transport
	quota   quota
	outage  outage
	swept   chan bool // holds whether leftovers were looked for
}

// New makes a Store. It asks the server nothing: a server that is away is not found out before the first recording, and then stops only that.
func New(cfg Config) (*Store, error) {
	if cfg.Endpoint == "" || cfg.Bucket == "" {
		return nil, errors.New("staging in S3 needs staging.endpoint and staging.bucket")
	}
	if strings.Contains(cfg.Endpoint, "/") {
		return nil, fmt.Errorf("staging.endpoint %s must be host or host:port: staging.tls says whether it is https", cfg.Endpoint)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		cfg.Log = logrus.NewEntry(silent)
	}
	if cfg.TempDir == "" {
		cfg.TempDir = os.TempDir()
	}
	traffic, err := transport(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	lookup := minio.BucketLookupAuto
	switch cfg.PathStyle {
	case PathStylePath:
		lookup = minio.BucketLookupPath
	case PathStyleVirtual:
		lookup = minio.BucketLookupDNS
	}
	core, err := minio.NewCore(cfg.Endpoint, &minio.Options{
		Creds:  credentials.NewStaticV4(cfg.AccessKey.Reveal(), cfg.SecretKey.Reveal(), cfg.SessionToken.Reveal()),
		Secure: cfg.TLS, Region: cfg.Region, BucketLookup: lookup, Transport: traffic, MaxRetries: tries,
	})
	if err != nil {
		return nil, fmt.Errorf("staging.endpoint %s: %w", cfg.Endpoint, err)
	}
	s := &Store{core: *core, cfg: cfg, traffic: traffic, swept: make(chan bool, 1)}
	s.quota = quota{max: cfg.MaxBytes, now: cfg.Now, count: s.count}
	s.swept <- false
	return s, nil
}

func transport(caFile string) (*http.Transport, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read the authority of the S3 server: %w", err)
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate: it must be PEM", caFile)
		}
	}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   2 * dialTimeout,
		ResponseHeaderTimeout: headerTimeout,
		ExpectContinueTimeout: 2 * time.Second,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // an object is read as it lies there
	}, nil
}

// Close gives the connections free.
func (s *Store) Close() error {
	s.traffic.CloseIdleConnections()
	return nil
}

// Check asks the server whether the bucket is there and open to these keys.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	there, err := s.core.BucketExists(ctx, s.cfg.Bucket)
	switch {
	case err != nil:
		return s.explain(ctx, err)
	case !there:
		return s.explain(ctx, minio.ErrorResponse{Code: minio.NoSuchBucket})
	}
	return nil
}

// Stat describes an object. One that was not staged by a Store is read for its sum.
func (s *Store) Stat(ctx context.Context, name string) (uploader.Object, error) {
	if err := check(name); err != nil {
		return uploader.Object{}, err
	}
	obj, err := s.stat(ctx, name)
	if err != nil {
		return uploader.Object{}, fmt.Errorf("look at staged %s: %w", name, err)
	}
	return obj, nil
}

func (s *Store) stat(ctx context.Context, name string) (uploader.Object, error) {
	if err := s.outage.still(s.cfg.Now()); err != nil {
		return uploader.Object{}, err
	}
	meta, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	info, err := s.core.StatObject(meta, s.cfg.Bucket, name, minio.StatObjectOptions{})
	if err != nil {
		return uploader.Object{}, s.explain(meta, err)
	}
	return s.described(ctx, name, info)
}

// described makes an Object of what the server tells.
func (s *Store) described(ctx context.Context, name string, info minio.ObjectInfo) (uploader.Object, error) {
	obj := uploader.Object{Name: name, Size: info.Size, SHA256: sumOf(info)}
	if obj.SHA256 != "" {
		return obj, nil
	}
	body, err := s.body(ctx, name)
	if err != nil {
		return obj, err
	}
	m := newMeasure()
	_, err = io.Copy(m, body)
	if err := errors.Join(err, body.Close()); err != nil {
		return obj, s.explain(ctx, err)
	}
	obj.Size, obj.SHA256 = m.size, m.whole()
	return obj, nil
}

// Open reads an object. Its bytes come as they are read; a server that stops sending for a minute ends the read with an error.
func (s *Store) Open(ctx context.Context, name string) (io.ReadCloser, uploader.Object, error) {
	if err := check(name); err != nil {
		return nil, uploader.Object{}, err
	}
	body, err := s.body(ctx, name)
	if err != nil {
		return nil, uploader.Object{}, fmt.Errorf("open staged %s: %w", name, err)
	}
	obj, err := s.described(ctx, name, body.info)
	if err != nil {
		return nil, uploader.Object{}, errors.Join(fmt.Errorf("open staged %s: %w", name, err), body.Close())
	}
	return body, obj, nil
}

func (s *Store) body(ctx context.Context, name string) (*body, error) {
	if err := s.outage.still(s.cfg.Now()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	patience := time.AfterFunc(metaTimeout, func() { cancel(errSlow) })
	r, info, _, err := s.core.GetObject(ctx, s.cfg.Bucket, name, minio.GetObjectOptions{})
	patience.Stop()
	if err != nil {
		err = s.explain(ctx, err)
		cancel(nil)
		return nil, err
	}
	return &body{ctx: ctx, cancel: cancel, patience: patience, r: r, info: info, store: s}, nil
}

// body is a download. It waits for the server only so long, and for its reader as long as that likes.
type body struct {
	ctx      context.Context // lives until Close
	cancel   context.CancelCauseFunc
	patience *time.Timer
	r        io.ReadCloser
	info     minio.ObjectInfo
	store    *Store
}

func (b *body) Read(p []byte) (int, error) {
	b.patience.Reset(idleTimeout)
	n, err := b.r.Read(p)
	b.patience.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.store.explain(b.ctx, err)
	}
	return n, err
}

func (b *body) Close() error {
	b.patience.Stop()
	err := b.r.Close()
	b.cancel(nil)
	return err
}

// Delete removes an object. It is no error if there is none.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(name); err != nil {
		return err
	}
	if err := s.outage.still(s.cfg.Now()); err != nil {
		return fmt.Errorf("delete staged %s: %w", name, err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	err := s.core.RemoveObject(ctx, s.cfg.Bucket, name, minio.RemoveObjectOptions{})
	if err == nil {
		s.quota.outdate()
		return nil
	}
	if err = s.explain(ctx, err); errors.Is(err, uploader.ErrNoObject) {
		return nil
	}
	return fmt.Errorf("delete staged %s: %w", name, err)
}

// check refuses names that are no plain relative paths.
func check(name string) error {
	const longest = 1024 // bytes, of S3
	if !validName(name) || len(name) > longest {
		return fmt.Errorf("staging name %q is not a plain relative path", name)
	}
	return nil
}

// The metadata of an object.
const (
	metaSum  = "Sha256"
	metaCall = "Linkedid"
	metaPart = "Part"
)

// metadata says what an object is, for people who find it in the bucket. Headers are ASCII: other letters are escaped as in an address.
func metadata(name, sum string) map[string]string {
	base := path.Base(name)
	meta := map[string]string{metaSum: sum, metaPart: url.PathEscape(strings.TrimSuffix(base, path.Ext(base)))}
	if dir := path.Dir(name); dir != "." {
		meta[metaCall] = url.PathEscape(path.Base(dir))
	}
	return meta
}

// sumOf gives the sum in an object's metadata, "" if there is none that can be one.
func sumOf(info minio.ObjectInfo) string {
	for key, value := range info.UserMetadata {
		if strings.EqualFold(key, metaSum) && len(value) == 64 && strings.Trim(value, "0123456789abcdef") == "" {
			return value
		}
	}
	return ""
}

func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".mp3":
		return "audio/mpeg"
	case ".wav":
		return "audio/wav"
	case ".webm":
		return "audio/webm"
	case ".ogg":
		return "audio/ogg"
	case ".gsm":
		return "audio/gsm"
	}
	return "application/octet-stream"
}
