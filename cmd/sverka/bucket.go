package main

import (
	"time"

	"sverka/uploader"
	"sverka/uploader/s3"
)

// openBucket opens the bucket that the configuration names. Nothing is asked of it yet: the commands that need none work while it is away.
func openBucket(c *Config, now func() time.Time) (store uploader.Store, closeStore func() error, err error) {
	st := &c.Staging
	styles := map[string]s3.PathStyle{"auto": s3.PathStyleAuto, "path": s3.PathStylePath, "virtual": s3.PathStyleVirtual}
	bucket, err := s3.New(s3.Config{
		Endpoint: st.Endpoint, Bucket: st.Bucket, Prefix: uploader.Prefix(c.Site), Region: st.Region, TLS: st.TLS,
		CAFile: st.CAFile, PathStyle: styles[st.Style],
		AccessKey: st.AccessKey, SecretKey: st.SecretKey, SessionToken: st.Session, MaxBytes: int64(st.MaxBytes), Now: now,
	})
	if err != nil {
		return nil, nil, usageError{err}
	}
	return bucket, bucket.Close, nil
}
