package uploader

import (
	"context"
	"errors"
	"io"
)

// ErrNoObject says that a store holds no object of that name.
var ErrNoObject = errors.New("no such object in staging")

// ErrStagingFull says that a store has no room left. It is a gap, never a crash.
var ErrStagingFull = errors.New("staging is full")

// Object describes a staged recording.
type Object struct {
	Name   string // site/2006-01-02/linkedid/part.mp3, slashes on every system
	Size   int64  // bytes
	SHA256 string // hex
}

// Store is a staging area. Put is atomic: an object is there whole or not at all, and putting the same name again replaces it.
//
// A name is a relative slash path without empty, "." or ".." elements; anything else is refused with an error.
type Store interface {
	// Put stores what r gives under name. It reads r as a stream and keeps nothing of it in memory. ErrStagingFull when there is no room.
	Put(ctx context.Context, name string, r io.Reader) (Object, error)
	// Open reads an object; ErrNoObject if there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, Object, error)
	// Stat describes an object as Open would, without reading it; ErrNoObject if there is none.
	Stat(ctx context.Context, name string) (Object, error)
	// Delete removes an object. It is no error if there is none.
	Delete(ctx context.Context, name string) error
}
