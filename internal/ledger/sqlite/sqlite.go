// Package sqlite keeps the ledger in one SQLite file beside the service.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"sverka/internal/ledger"
	"sverka/internal/portal"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Ledger is a ledger in a SQLite file. It may be used by several goroutines, and read by several processes; whoever writes holds Lock.
type Ledger struct {
	db   *sql.DB
	path string
	now  func() time.Time
}

// Open opens the ledger at path, makes it where there is none, and brings its tables up to date.
func Open(ctx context.Context, path string, now func() time.Time) (*Ledger, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w; set ledger.dsn to a file that sverka may write", path, err)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	if err := keepPrivate(path); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w; set ledger.dsn to a file that sverka may write", path, err)
	}
	// A power cut must not undo what the portal was told: every commit reaches the disk before the request leaves.
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}).String() +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=foreign_keys(1)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	db.SetMaxOpenConns(4)
	l := &Ledger{db: db, path: path, now: now}
	if err := l.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: %w", path, err), db.Close())
	}
	return l, nil
}

// keepPrivate makes the file where there is none, and takes it from all other users: it holds the tokens of the portal. The files that
// SQLite keeps beside it get the same rights.
func keepPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // #nosec G304 -- named by the configuration
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return f.Chmod(0o600)
}

// migrate brings the tables forward. Two processes that start at once take turns.
func (l *Ledger) migrate(ctx context.Context) error {
	release, err := lockFile(ctx, l.path+".migrate")
	if err != nil {
		return err
	}
	defer release()
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, l.db, dir)
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the tables up to date: %w", err)
	}
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// Lock waits until this process alone may deliver from this ledger, and gives the way to let go. The operating system lets go of it when
// the process dies, so a killed sverka keeps nobody waiting. onWait, if not nil, is called once when somebody else has it.
func (l *Ledger) Lock(ctx context.Context, onWait func()) (release func(), err error) {
	release, ok, err := tryLockFile(l.path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("lock ledger %s: %w", l.path, err)
	}
	if ok {
		return release, nil
	}
	if onWait != nil {
		onWait()
	}
	release, err = lockFile(ctx, l.path+".lock")
	if err != nil {
		return nil, fmt.Errorf("lock ledger %s: %w", l.path, err)
	}
	return release, nil
}

const columns = `site, linkedid, n, external_id, phone, start, hash, step, intent, intent_at, call_id, stat_id, activity_id, file_id,
	staged, adopted, attempts, class, error, next_try, dead, updated_at`

// Parts gives what the ledger holds of these calls, in the order of linkedid and part.
func (l *Ledger) Parts(ctx context.Context, site string, linkedIDs []string) ([]ledger.Part, error) {
	var parts []ledger.Part
	const chunk = 500
	for start := 0; start < len(linkedIDs); start += chunk {
		ids := linkedIDs[start:min(start+chunk, len(linkedIDs))]
		args := make([]any, 0, len(ids)+1)
		args = append(args, site)
		for _, id := range ids {
			args = append(args, id)
		}
		// #nosec G202 -- only question marks are put into the query.
		q := `SELECT ` + columns + ` FROM parts WHERE site = ? AND linkedid IN (?` + strings.Repeat(",?", len(ids)-1) + `) ORDER BY linkedid, n`
		got, err := l.query(ctx, q, args...)
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		parts = append(parts, got...)
	}
	return parts, nil
}

// Find gives the parts that an identifier a person may hold belongs to: a linkedid, an EXTERNAL_CALL_ID or a CALL_ID.
func (l *Ledger) Find(ctx context.Context, site, id string) ([]ledger.Part, error) {
	parts, err := l.query(ctx, `SELECT `+columns+` FROM parts WHERE site = ? AND (linkedid = ? OR external_id = ? OR call_id = ?) ORDER BY linkedid, n`,
		site, id, id, id)
	if err != nil {
		return nil, fmt.Errorf("find call %s in the ledger: %w", id, err)
	}
	return parts, nil
}

// Dead gives the parts of a site that failed for good, oldest first.
func (l *Ledger) Dead(ctx context.Context, site string) ([]ledger.Part, error) {
	parts, err := l.query(ctx, `SELECT `+columns+` FROM parts WHERE site = ? AND dead = 1 ORDER BY start, linkedid, n`, site)
	if err != nil {
		return nil, fmt.Errorf("read failed parts from the ledger: %w", err)
	}
	return parts, nil
}

func (l *Ledger) query(ctx context.Context, q string, args ...any) ([]ledger.Part, error) {
	rows, err := l.db.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var parts []ledger.Part
	for rows.Next() {
		var p ledger.Part
		var start, intentAt, next, updated int64
		var callID string
		err := rows.Scan(&p.Site, &p.LinkedID, &p.N, &p.ExternalID, &p.Phone, &start, &p.Hash, &p.Step, &p.Intent, &intentAt, &callID, &p.StatID,
			&p.ActivityID, &p.FileID, &p.Staged, &p.Adopted, &p.Failure.Attempts, &p.Failure.Class, &p.Failure.Text, &next, &p.Failure.Dead, &updated)
		if err != nil {
			return nil, err
		}
		p.CallID = portal.CallID(callID)
		p.Start, p.IntentAt, p.Failure.Next, p.UpdatedAt = fromMillis(start), fromMillis(intentAt), fromMillis(next), fromMillis(updated)
		parts = append(parts, p)
	}
	return parts, rows.Err()
}

// Save writes the changes in one transaction: all of them or none.
func (l *Ledger) Save(ctx context.Context, changes ...ledger.Change) error {
	if len(changes) == 0 {
		return nil
	}
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// #nosec G202 -- only names of columns and question marks are put into the statement.
	put, err := tx.PrepareContext(ctx, `INSERT INTO parts (`+columns+`) VALUES (?`+strings.Repeat(",?", 21)+`)
		ON CONFLICT (site, linkedid, n) DO UPDATE SET external_id = excluded.external_id, phone = excluded.phone, start = excluded.start, hash = excluded.hash,
		step = excluded.step, intent = excluded.intent, intent_at = excluded.intent_at, call_id = excluded.call_id, stat_id = excluded.stat_id,
		activity_id = excluded.activity_id, file_id = excluded.file_id, staged = excluded.staged, adopted = excluded.adopted, attempts = excluded.attempts,
		class = excluded.class, error = excluded.error, next_try = excluded.next_try, dead = excluded.dead, updated_at = excluded.updated_at`)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	defer put.Close()
	tell, err := tx.PrepareContext(ctx, `INSERT INTO history (site, linkedid, n, at, text) VALUES (?, ?, ?, ?, ?)`)
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	defer tell.Close()
	now := toMillis(l.now())
	for _, c := range changes {
		p := c.Part
		_, err := put.ExecContext(ctx, p.Site, p.LinkedID, p.N, p.ExternalID, p.Phone, toMillis(p.Start), p.Hash, p.Step, p.Intent, toMillis(p.IntentAt),
			string(p.CallID), p.StatID, p.ActivityID, p.FileID, p.Staged, p.Adopted, p.Failure.Attempts, p.Failure.Class, p.Failure.Text,
			toMillis(p.Failure.Next), p.Failure.Dead, now)
		if err != nil {
			return fmt.Errorf("write part %s to the ledger: %w", p.ExternalID, err)
		}
		if c.Note == "" {
			continue
		}
		if _, err := tell.ExecContext(ctx, p.Site, p.LinkedID, p.N, now, c.Note); err != nil {
			return fmt.Errorf("write part %s to the ledger: %w", p.ExternalID, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

// History gives what was done for a part, oldest first.
func (l *Ledger) History(ctx context.Context, key ledger.Key) ([]ledger.Entry, error) {
	rows, err := l.db.QueryContext(ctx, `SELECT at, text FROM history WHERE site = ? AND linkedid = ? AND n = ? ORDER BY id`, key.Site, key.LinkedID, key.N)
	if err != nil {
		return nil, fmt.Errorf("read history of %s/%d: %w", key.LinkedID, key.N, err)
	}
	defer rows.Close()
	var entries []ledger.Entry
	for rows.Next() {
		var e ledger.Entry
		var at int64
		if err := rows.Scan(&at, &e.Text); err != nil {
			return nil, fmt.Errorf("read history of %s/%d: %w", key.LinkedID, key.N, err)
		}
		e.At = fromMillis(at)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// SaveEmployees keeps the portal's employees for the day it cannot name them.
func (l *Ledger) SaveEmployees(ctx context.Context, site string, employees []portal.Employee) error {
	body, err := json.Marshal(employees)
	if err != nil {
		return fmt.Errorf("keep employees: %w", err)
	}
	_, err = l.db.ExecContext(ctx, `INSERT INTO snapshots (site, name, at, body) VALUES (?, 'employees', ?, ?)
		ON CONFLICT (site, name) DO UPDATE SET at = excluded.at, body = excluded.body`, site, toMillis(l.now()), body)
	if err != nil {
		return fmt.Errorf("keep employees: %w", err)
	}
	return nil
}

// Employees gives the employees kept last and when that was; none and a zero time when none were kept.
func (l *Ledger) Employees(ctx context.Context, site string) ([]portal.Employee, time.Time, error) {
	var at int64
	var body []byte
	err := l.db.QueryRowContext(ctx, `SELECT at, body FROM snapshots WHERE site = ? AND name = 'employees'`, site).Scan(&at, &body)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read kept employees: %w", err)
	}
	var employees []portal.Employee
	if err := json.Unmarshal(body, &employees); err != nil {
		return nil, time.Time{}, fmt.Errorf("read kept employees: %w", err)
	}
	return employees, fromMillis(at), nil
}

func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
