package cdrdb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
	"modernc.org/sqlite"
)

// Kind says what stands between Sverka and the CDR. Its text is stable.
type Kind string

// Kinds of errors.
const (
	Unreachable Kind = "unreachable" // no server, no file, no answer in time
	Credentials Kind = "credentials" // user or password refused
	NoTable     Kind = "no_table"    // no such database or table
	NoRight     Kind = "no_right"    // the user may not read it
	WrongTable  Kind = "wrong_table" // the table lacks what a CDR must have
	BadDSN      Kind = "bad_dsn"     // cdr.dsn cannot be understood
)

// Error is a reason why the CDR cannot be read that a person can mend. It never holds the password of the DSN.
type Error struct {
	Kind Kind
	Hint string // what to do about it
	Err  error
}

func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Hint
	case e.Hint == "":
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

func (e *Error) Unwrap() error { return e.Err }

// Retryable reports whether trying again later may help without anybody's doing.
func (e *Error) Retryable() bool { return e.Kind == Unreachable }

// Numbers of MySQL's and SQLite's own errors.
const (
	myTooManyConnections = 1040
	myDatabaseDenied     = 1044
	myAccessDenied       = 1045
	myUnknownDatabase    = 1049
	myShutdown           = 1053
	myHostBlocked        = 1129
	myHostDenied         = 1130
	myTableDenied        = 1142
	myColumnDenied       = 1143
	myNoTable            = 1146
	myAccessDeniedPlugin = 1698

	liteBusy     = 5
	liteLocked   = 6
	liteIOErr    = 10
	liteCantOpen = 14
	liteAuth     = 23
	liteNotADB   = 26
)

// wrap says what was being done, and of which kind the error is. A canceled context stays what it is.
func (d *DB) wrap(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", doing, cause)
	}
	plain := d.secretless(fmt.Errorf("%s: %w", doing, err))
	kind, hint := d.classify(err)
	if kind == "" {
		return plain
	}
	return &Error{Kind: kind, Hint: hint, Err: plain}
}

// secretless gives an error without the password. Drivers do not print it; a server's own words might.
func (d *DB) secretless(err error) error {
	if len(d.secret) < 4 || !strings.Contains(err.Error(), d.secret) {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), d.secret, "***"))
}

func (d *DB) classify(err error) (Kind, string) {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case myAccessDenied, myAccessDeniedPlugin:
			return Credentials, "check user and password in cdr.dsn"
		case myDatabaseDenied, myTableDenied, myColumnDenied:
			return NoRight, fmt.Sprintf("as the database's administrator: GRANT SELECT ON %s TO the user of cdr.dsn", d.grantOn())
		case myHostDenied, myHostBlocked:
			return NoRight, "the database takes no connection from this machine: GRANT to the user at this machine's address"
		case myUnknownDatabase:
			return NoTable, "check the database's name at the end of cdr.dsn (FreePBX: asteriskcdrdb)"
		case myNoTable:
			return NoTable, fmt.Sprintf("there is no table %s: check cdr.table", d.config.Table)
		case myTooManyConnections, myShutdown:
			return Unreachable, "the database server is too busy or going down; it is tried again"
		}
		return "", ""
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		switch e.Code() & 0xff {
		case liteBusy, liteLocked:
			return Unreachable, "the PBX holds the file for longer than usual; it is tried again"
		case liteCantOpen, liteIOErr:
			return Unreachable, "check the path in cdr.dsn, and that this user may read the file, its -wal and -shm, and its folder"
		case liteAuth:
			return NoRight, "let this user read the file of cdr.dsn"
		case liteNotADB:
			return NoTable, "the file of cdr.dsn is no SQLite database"
		}
		if strings.Contains(err.Error(), "no such table") {
			return NoTable, fmt.Sprintf("there is no table %s: check cdr.table", d.config.Table)
		}
		return "", ""
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Unreachable, "there is no such file: check the path in cdr.dsn"
	case errors.Is(err, fs.ErrPermission):
		return NoRight, "let this user read the file of cdr.dsn and its folder"
	}
	_, network := errors.AsType[net.Error](err)
	if network || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, context.DeadlineExceeded) {
		return Unreachable, "check that the database server runs, and its address in cdr.dsn"
	}
	return "", ""
}

// grantOn names what the user must be able to read.
func (d *DB) grantOn() string {
	if d.database == "" || strings.Contains(d.config.Table, ".") {
		return d.config.Table
	}
	return d.database + ".*"
}
