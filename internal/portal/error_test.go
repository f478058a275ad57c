package portal_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"sverka/internal/portal"
)

func TestErrorSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  portal.Error
		want string
	}{
		{portal.Error{Method: "m", Class: portal.Refused, Code: "C", Text: "words"}, "m: words (C)"},
		{portal.Error{Method: "m", Class: portal.Refused, Text: "words", Hint: "do this"}, "m: words; do this"},
		{portal.Error{Method: "m", Class: portal.Refused, Code: "C"}, "m: C"},
		{portal.Error{Method: "m", Class: portal.Unreachable, Err: io.EOF}, "m: EOF"},
		{portal.Error{Method: "m", Class: portal.RateLimited}, "m: rate_limited"},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestErrorClass(t *testing.T) {
	t.Parallel()
	for class, retryable := range map[portal.Class]bool{
		portal.Unreachable: true, portal.Retryable: true, portal.RateLimited: true, portal.OperatingTime: true,
		portal.Unknown: false, portal.Refused: false, portal.Access: false, portal.NotFound: false, portal.NoUser: false, portal.DiskFull: false,
	} {
		err := fmt.Errorf("register call 1: %w", &portal.Error{Class: class, Err: io.EOF})
		if got := portal.ClassOf(err); got != class {
			t.Errorf("got class %q, want %q", got, class)
		}
		var e *portal.Error
		if !errors.As(err, &e) || e.Retryable() != retryable {
			t.Errorf("%s: got retryable %t, want %t", class, !retryable, retryable)
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: the cause is lost", class)
		}
	}
	for _, err := range []error{nil, io.EOF} {
		if got := portal.ClassOf(err); got != "" {
			t.Errorf("%v: got class %q, want none", err, got)
		}
	}
}
