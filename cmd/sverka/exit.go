package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"sverka/cdr/cdrdb"
	"sverka/internal/portal"
)

// Exit codes, the same for every command.
const (
	exitDone        = 0
	exitError       = 1
	exitUsage       = 2
	exitGaps        = 3
	exitUnreachable = 4
	exitInterrupted = 130
)

// exitHelp is the table of exit codes as --help shows it.
const exitHelp = `Exit codes:
  0    done, nothing missing
  1    error
  2    usage or configuration
  3    gaps found, or some calls not delivered
  4    the portal or the database cannot be reached
  130  interrupted`

// errGaps says that something is missing; what it is has been told on stdout.
var errGaps = errors.New("gaps found")

// usageError is a mistake on the command line or in the configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// conclude tells an error on stderr and gives the exit code that it means.
func conclude(ctx context.Context, err error, stderr io.Writer) int {
	code := exitCode(ctx, err)
	switch code {
	case exitDone, exitGaps:
	case exitInterrupted:
		fmt.Fprintln(stderr, "sverka: interrupted; run the same command again to go on")
	default:
		fmt.Fprintf(stderr, "sverka: %v\n", err)
	}
	return code
}

func exitCode(ctx context.Context, err error) int {
	var usage usageError
	var checked checkError
	var database *cdrdb.Error
	var fromPortal *portal.Error
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errGaps):
		return exitGaps
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &checked):
		return checked.code
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &database), errors.As(err, &fromPortal):
		return exitUnreachable
	}
	return exitError
}
