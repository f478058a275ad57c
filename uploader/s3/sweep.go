package s3

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// leftover is how old an unfinished upload must be before it counts as left over by a crash: another process may be sending it.
const leftover = time.Hour

// Sweep drops the uploads under the store's prefix that a crash left over, and says how many. Their parts take room on the server, and no
// listing of objects shows them. Repeating it is harmless.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	// The whole bucket is asked: MinIO takes a prefix for the whole name.
	n, err := s.drop(ctx, "")
	if err != nil {
		return n, fmt.Errorf("look for unfinished uploads in bucket %s: %w", s.cfg.Bucket, err)
	}
	return n, nil
}

// drop aborts the old unfinished uploads of one name, or of all names of this site.
func (s *Store) drop(ctx context.Context, name string) (int, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, metaTimeout, errSlow)
	defer cancel()
	n := 0
	var key, id string
	for {
		list, err := s.core.ListMultipartUploads(ctx, s.cfg.Bucket, name, key, id, "", 1000)
		if err != nil {
			return n, s.explain(ctx, err)
		}
		for _, upload := range list.Uploads {
			ours := strings.HasPrefix(upload.Key, s.cfg.Prefix) && (name == "" || upload.Key == name)
			if !ours || s.cfg.Now().Sub(upload.Initiated) < leftover {
				continue
			}
			if err := s.abort(ctx, upload.Key, upload.UploadID); err != nil {
				return n, fmt.Errorf("%s: %w", upload.Key, err)
			}
			s.cfg.Log.WithField("object", upload.Key).Info("an unfinished upload was dropped")
			n++
		}
		if !list.IsTruncated || list.NextKeyMarker == key && list.NextUploadIDMarker == id {
			return n, nil
		}
		key, id = list.NextKeyMarker, list.NextUploadIDMarker
	}
}

// sweepOnce sweeps before the first Put of the process that finds the server there. It is no reason not to stage.
func (s *Store) sweepOnce(ctx context.Context) {
	select {
	case done := <-s.swept:
		if !done && s.outage.still(s.cfg.Now()) == nil {
			_, err := s.Sweep(ctx)
			if err != nil {
				s.cfg.Log.WithError(err).Debug("unfinished uploads cannot be looked for")
			}
			done = err == nil
		}
		s.swept <- done
	default: // another goroutine is at it
	}
}
