package miniotest_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sverka/internal/miniotest"
)

// TestRestart puts an object, finds the server away while it is stopped, and the object again after it.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]miniotest.Options{"plain": {}, "TLS": {TLS: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := miniotest.StartOwn(t, o)
			bucket, c, ctx := s.Bucket(t), s.Client(t), context.Background()
			if _, err := c.PutObject(ctx, bucket, "a", strings.NewReader("kept"), 4, minio.PutObjectOptions{}); err != nil {
				t.Fatal(err)
			}
			s.Stop(t)
			if _, err := c.StatObject(ctx, bucket, "a", minio.StatObjectOptions{}); err == nil {
				t.Error("the server answers although it is stopped")
			}
			s.Restart(t)
			r, err := c.GetObject(ctx, bucket, "a", minio.GetObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || string(got) != "kept" {
				t.Errorf("got %q, %v; want what was put", got, err)
			}
		})
	}
}

// TestBucket gives each test a bucket of its own that ends with it.
func TestBucket(t *testing.T) {
	t.Parallel()
	s := miniotest.Start(t)
	var first string
	t.Run("first", func(t *testing.T) { first = s.Bucket(t) })
	if second := s.Bucket(t); second == first {
		t.Errorf("two buckets are called %s", second)
	}
	// The server forgets a bucket a moment after it has said that it is removed.
	gone, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		there, err := s.Client(t).BucketExists(gone, first)
		if err != nil {
			t.Fatalf("the bucket of an ended test is still there, or: %v", err)
		}
		if !there {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
