package portal

import (
	"errors"
	"fmt"
	"time"
)

// Class says what an error of the portal means for the request that met it. Its text is stable: reports and scripts rely on it.
type Class string

// Classes of errors.
const (
	// Unreachable: the request did not reach the portal (no connection, no name). Nothing was done there.
	Unreachable Class = "unreachable"
	// Unknown: the request was sent and no trustworthy answer came. It may have been worked on: look before sending it again.
	Unknown Class = "unknown_outcome"
	// Retryable: the portal refused for now and did nothing.
	Retryable Class = "retryable"
	// RateLimited: the bucket of the portal is full (QUERY_LIMIT_EXCEEDED). Nothing was done.
	RateLimited Class = "rate_limited"
	// OperatingTime: this method used up its time (OPERATION_TIME_LIMIT); not before Error.Until. Nothing was done.
	OperatingTime Class = "operating_time"
	// Refused: the portal will never accept this request as it is.
	Refused Class = "refused"
	// Access: the webhook or token is wrong, lacks a scope or a right, or the plan has no REST. A person must act.
	Access Class = "access"
	// NotFound: finish or attachRecord of a call the portal does not know (any more).
	NotFound Class = "call_not_found"
	// NoUser: the employee is unknown to the portal or dismissed.
	NoUser Class = "no_user"
	// DiskFull: the portal has no room for a recording.
	DiskFull Class = "portal_disk_full"
)

// Error is what went wrong in a request to the portal. It never holds the webhook's code or a token.
type Error struct {
	Class  Class
	Method string    // REST method
	Code   string    // the portal's error code, may be ""
	Text   string    // the portal's words
	Hint   string    // what a person can do about it; "" if nothing
	Status int       // HTTP status; 0 without an answer
	Until  time.Time // do not repeat before; zero: no bound known
	// InFlight: the portal may still be working on the request (no complete answer came). Look again later before sending it again.
	InFlight bool
	Err      error // cause, if any
}

func (e *Error) Error() string {
	s := e.Method + ": "
	switch {
	case e.Text != "" && e.Code != "":
		s += fmt.Sprintf("%s (%s)", e.Text, e.Code)
	case e.Text != "":
		s += e.Text
	case e.Code != "":
		s += e.Code
	case e.Err != nil:
		s += e.Err.Error()
	default:
		s += string(e.Class)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether the same request may succeed later. An Unknown outcome is not retryable: look first.
func (e *Error) Retryable() bool {
	switch e.Class {
	case Unreachable, Retryable, RateLimited, OperatingTime:
		return true
	}
	return false
}

// ClassOf gives the class of an error of the portal, or "" if it is none.
func ClassOf(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ""
}
