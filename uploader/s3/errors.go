package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"sverka/uploader"
)

// errSlow ends what takes too long.
var errSlow = errors.New("the server takes too long")

// outagePause is how long a server that could not be reached is left in peace: thousands of recordings must not wait for it one by one.
const outagePause = 10 * time.Second

// outage remembers that the server could not be reached.
type outage struct {
	mu    sync.Mutex
	until time.Time
	err   error
}

func (o *outage) begin(now time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until, o.err = now.Add(outagePause), err
}

// still gives the error of an outage that was found out a moment ago.
func (o *outage) still(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Before(o.until) {
		return o.err
	}
	return nil
}

// explain says what an answer of the server means and what mends it. Neither keys nor signatures are in it: they travel in headers.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); ctx.Err() != nil && !errors.Is(cause, errSlow) {
		return cause
	}
	var answer minio.ErrorResponse
	if errors.As(err, &answer) {
		return s.answered(answer)
	}
	err = s.unreachable(ctx, err)
	s.outage.begin(s.cfg.Now(), err)
	return err
}

// answered explains an answer of the server.
func (s *Store) answered(answer minio.ErrorResponse) error {
	bucket, server := s.cfg.Bucket, s.cfg.Endpoint
	switch answer.Code {
	case minio.NoSuchKey, "NotFound":
		return uploader.ErrNoObject
	case minio.NoSuchBucket:
		return fmt.Errorf("%s has no bucket %s: make it, or mend staging.bucket", server, bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "InvalidToken", "InvalidTokenId", "ExpiredToken":
		return fmt.Errorf("%s refuses the keys (%s): mend staging.access_key and staging.secret_key", server, answer.Code)
	case minio.AccessDenied, "AllAccessDisabled":
		return fmt.Errorf("the keys may not do this in bucket %s of %s (%s): allow them to list, read, write and delete there", bucket, server, answer.Code)
	case "RequestTimeTooSkewed":
		return fmt.Errorf("the clocks of this machine and of %s differ too much: set them right", server)
	case "AuthorizationHeaderMalformed", "InvalidRegion", "PermanentRedirect":
		return fmt.Errorf("bucket %s is in another region%s: mend staging.region", bucket, clause(answer.Region))
	case "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "InsufficientCapacity":
		return s.serverFull(answer)
	case "XAmzContentSHA256Mismatch", "BadDigest", "XAmzContentChecksumMismatch":
		return fmt.Errorf("what arrived at %s is not what was sent (%s): it was damaged on the way", server, answer.Code)
	}
	if answer.StatusCode == http.StatusInsufficientStorage {
		return s.serverFull(answer)
	}
	return fmt.Errorf("%s answers %s: %w", server, answer.Code, answer)
}

func (s *Store) serverFull(answer minio.ErrorResponse) error {
	return fmt.Errorf("%w: bucket %s of %s has no room left (%s): make room there or raise its quota",
		uploader.ErrStagingFull, s.cfg.Bucket, s.cfg.Endpoint, answer.Code)
}

func clause(region string) string {
	if region == "" {
		return ""
	}
	return ", " + region
}

// unreachable explains that there was no answer. The request's address is left out of it: it says nothing that the endpoint does not.
func (s *Store) unreachable(ctx context.Context, err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	server := s.cfg.Endpoint
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var network net.Error
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s does not answer: %w", server, errSlow)
	case errors.As(err, &authority):
		return fmt.Errorf("the certificate of %s is signed by nobody this machine trusts: name its authority's file: %w", server, err)
	case errors.As(err, &host):
		return fmt.Errorf("the certificate of %s is for another host: mend staging.endpoint: %w", server, err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s does not speak TLS: set staging.tls to false, or switch TLS on there", server)
	case errors.As(err, &network):
		return fmt.Errorf("%s cannot be reached, is it up? %w", server, err)
	}
	return fmt.Errorf("ask %s: %w", server, err)
}
