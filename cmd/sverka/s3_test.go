package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"

	"sverka/internal/miniotest"
	"sverka/internal/pbxtest"
)

// newBucketRig makes a site that stages in a bucket of this server; o.bucket tells how it is reached.
func newBucketRig(t *testing.T, server *miniotest.Server, o rigOptions) *rig {
	t.Helper()
	bucket, client := server.Bucket(t), server.Client(t)
	o.bucket = fmt.Sprintf(", driver: s3, endpoint: '%s', bucket: %s, access_key: '%s', secret_key: '%s', %s",
		server.Address(), bucket, server.AccessKey, server.SecretKey, o.bucket)
	r := newRig(t, o)
	r.staged = func(part pbxtest.Part) ([]byte, error) {
		var name string
		for info := range client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Prefix: "office/", Recursive: true}) {
			if info.Err != nil {
				return nil, info.Err
			}
			if strings.Contains(info.Key, fmt.Sprintf("/%s/%d.", part.LinkedID, part.N)) {
				name = info.Key
			}
		}
		object, err := client.GetObject(t.Context(), bucket, name, minio.GetObjectOptions{})
		if err != nil {
			return nil, err
		}
		return io.ReadAll(object)
	}
	return r
}

// recordedParts counts the recordings that the portal is to have.
func recordedParts(r *rig) int {
	n := 0
	for _, p := range r.pbx.Parts() {
		if p.Recorded {
			n++
		}
	}
	return n
}

// TestBucket delivers recordings by way of a bucket, and leaves none of them on this machine's disk.
func TestBucket(t *testing.T) {
	t.Parallel()
	r := newBucketRig(t, miniotest.Start(t), rigOptions{calls: 60, recorded: 20, bucket: "tls: false"})
	wantWords(t, "check", r.run("check").stdout, "s3 "+miniotest.Start(t).Address()+"/")
	recorded := recordedParts(r)
	if out := r.backfill(0); recorded < 20 || out.Recordings.Attached != recorded {
		t.Errorf("%d recordings delivered, want %d", out.Recordings.Attached, recorded)
	}
	r.check()
	if _, err := os.Stat(filepath.Join(r.dir, "staging")); !os.IsNotExist(err) {
		t.Errorf("the directory of driver dir: got %v, want none", err)
	}
	if again := r.backfill(0); again.Recordings.Planned != 0 {
		t.Errorf("%d recordings planned by the second run, want none", again.Recordings.Planned)
	}
}

// TestBucketAway loses nothing while the server of the bucket is away, says why recordings wait, and goes on when it is back.
func TestBucketAway(t *testing.T) {
	t.Parallel()
	server := miniotest.StartOwn(t, miniotest.Options{TLS: true})
	r := newBucketRig(t, server, rigOptions{
		calls: 12, recorded: 4, keep: true, bucket: fmt.Sprintf("ca_file: '%s', style: path, region: us-east-1", server.CAFile()),
	})
	server.Stop(t)
	out := r.backfill(exitGaps)
	if want := recordedParts(r); out.Delivered != len(r.pbx.Parts()) || out.Recordings.Attached != 0 || out.Recordings.Failed != want {
		t.Errorf("while it is away: got %+v, want the calls delivered and %d recordings not", out, want)
	}
	for _, failure := range out.Errors {
		if !strings.Contains(failure.Message, "cannot be reached, is it up?") || strings.Contains(failure.Message, server.SecretKey) {
			t.Errorf("got %q, want to read that it cannot be reached", failure.Message)
		}
	}
	server.Restart(t)
	r.backfill(0)
	r.check()
}
