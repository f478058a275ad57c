package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"

	_ "modernc.org/sqlite" // the driver
)

// row is one row of cdr_general.
type row struct {
	start, answer, end         string
	from, to                   party
	uniqueID, linkedID, did    string
	disposition, dialStatus    string
	recording                  string // as the PBX names it
	file                       string // the same below the monitor directory
	recordingChannel           string
	app                        string
	keys                       string // pressed in the IVR
	transfer, attendedTransfer string
	duration, billsec          int
	verbose                    string
}

// The table of a MikoPBX of 2026, with its indexes. Source: mikopbx/Core, src/Common/Models/CallDetailRecordsBase.php.
const schema = `
CREATE TABLE cdr_general (
	id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
	start TEXT, endtime TEXT, answer TEXT,
	src_chan TEXT, src_num TEXT, src_name TEXT, dst_chan TEXT, dst_num TEXT, dst_name TEXT,
	UNIQUEID TEXT, linkedid TEXT, did TEXT, disposition TEXT, recordingfile TEXT, rec_src_channel TEXT,
	from_account TEXT, to_account TEXT, dialstatus TEXT, appname TEXT, transfer INTEGER, is_app TEXT(1), dtmf_digits TEXT,
	duration INTEGER, billsec INTEGER, work_completed TEXT(1), src_call_id TEXT, dst_call_id TEXT, verbose_call_id TEXT, a_transfer INTEGER
);
CREATE INDEX cdr_general_UNIQUEID ON cdr_general (UNIQUEID);
CREATE INDEX cdr_general_start ON cdr_general (start);
CREATE INDEX cdr_general_src_chan ON cdr_general (src_chan);
CREATE INDEX cdr_general_dst_chan ON cdr_general (dst_chan);
CREATE INDEX cdr_general_src_num ON cdr_general (src_num);
CREATE INDEX cdr_general_dst_num ON cdr_general (dst_num);
CREATE INDEX cdr_general_linkedid ON cdr_general (linkedid);`

const insert = `INSERT INTO cdr_general (start, endtime, answer, src_chan, src_num, src_name, dst_chan, dst_num, dst_name, UNIQUEID, linkedid, did,
	disposition, recordingfile, rec_src_channel, from_account, to_account, dialstatus, appname, transfer, is_app, dtmf_digits, duration, billsec,
	work_completed, src_call_id, dst_call_id, verbose_call_id, a_transfer)
	VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,'',?,?,?,?,?,'1','','',?,?)`

// writeTable writes the rows of calls into a new database at path.
func writeTable(ctx context.Context, path string, calls []*call) (err error) {
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("write calls: %s is there already", path)
	}
	file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	db, err := sql.Open("sqlite", file.String()+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return fmt.Errorf("write calls to %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("write calls to %s: %w", path, err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write calls to %s: %w", path, err)
	}
	for _, c := range calls {
		for _, r := range c.rows {
			if _, err := tx.ExecContext(ctx, insert, r.start, r.end, r.answer, r.from.channel, r.from.number, r.from.name,
				r.to.channel, r.to.number, r.to.name, r.uniqueID, r.linkedID, r.did, r.disposition, r.recording, r.recordingChannel,
				r.from.account, r.to.account, r.dialStatus, r.transfer, r.app, r.keys, r.duration, r.billsec, r.verbose, r.attendedTransfer); err != nil {
				return errors.Join(fmt.Errorf("write call %s to %s: %w", c.linkedID, path, err), tx.Rollback())
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write calls to %s: %w", path, err)
	}
	return nil
}
