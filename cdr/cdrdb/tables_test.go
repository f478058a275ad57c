package cdrdb_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sverka/cdr"
	"sverka/cdr/cdrdb"
	"sverka/internal/mariadbtest"
)

// table is a kind of CDR table met in the field.
type table struct {
	name, driver, schema, table string
	ddl                         string
	columns                     []column
	fraction                    bool // times have milliseconds
}

// column holds one field of a row.
type column struct {
	name string
	get  func(*cdr.Row) any       // the value stored
	set  func(got, from *cdr.Row) // copies the field, into the row that is expected
}

func textColumn(name string, field func(*cdr.Row) *string) column {
	return column{name, func(r *cdr.Row) any { return *field(r) }, func(got, from *cdr.Row) { *field(got) = *field(from) }}
}

func intColumn(name string, field func(*cdr.Row) *int) column {
	return column{name, func(r *cdr.Row) any { return *field(r) }, func(got, from *cdr.Row) { *field(got) = *field(from) }}
}

// timeColumn stores a wall time; none is what a table has where there is none.
func timeColumn(name, form string, none any, field func(*cdr.Row) *time.Time) column {
	return column{name, func(r *cdr.Row) any {
		if field(r).IsZero() {
			return none
		}
		return field(r).Format(form)
	}, func(got, from *cdr.Row) { *field(got) = *field(from) }}
}

func idColumn(name string) column {
	return column{name, func(r *cdr.Row) any { return r.ID }, func(got, from *cdr.Row) { got.ID = from.ID }}
}

const (
	whole = "2006-01-02 15:04:05"
	milli = "2006-01-02 15:04:05.000"
)

// common are the columns that every Asterisk has.
func common() []column {
	return []column{
		textColumn("clid", func(r *cdr.Row) *string { return &r.CallerID }), textColumn("src", func(r *cdr.Row) *string { return &r.Src }),
		textColumn("dst", func(r *cdr.Row) *string { return &r.Dst }), textColumn("dcontext", func(r *cdr.Row) *string { return &r.Context }),
		textColumn("channel", func(r *cdr.Row) *string { return &r.Channel }), textColumn("dstchannel", func(r *cdr.Row) *string { return &r.DstChannel }),
		textColumn("lastapp", func(r *cdr.Row) *string { return &r.LastApp }), textColumn("lastdata", func(r *cdr.Row) *string { return &r.LastData }),
		intColumn("duration", func(r *cdr.Row) *int { return &r.Duration }), intColumn("billsec", func(r *cdr.Row) *int { return &r.BillSec }),
		textColumn("disposition", func(r *cdr.Row) *string { return &r.Disposition }), textColumn("accountcode", func(r *cdr.Row) *string { return &r.AccountCode }),
		textColumn("uniqueid", func(r *cdr.Row) *string { return &r.UniqueID }), textColumn("userfield", func(r *cdr.Row) *string { return &r.UserField }),
	}
}

func start(r *cdr.Row) *time.Time  { return &r.Start }
func answer(r *cdr.Row) *time.Time { return &r.Answer }
func end(r *cdr.Row) *time.Time    { return &r.End }

var (
	linkedID  = textColumn("linkedid", func(r *cdr.Row) *string { return &r.LinkedID })
	did       = textColumn("did", func(r *cdr.Row) *string { return &r.DID })
	callerNum = textColumn("cnum", func(r *cdr.Row) *string { return &r.CallerNum })
	peer      = textColumn("peeraccount", func(r *cdr.Row) *string { return &r.PeerAccount })
	sequence  = column{
		"sequence", func(r *cdr.Row) any { return r.Sequence },
		func(got, from *cdr.Row) { got.Sequence = from.Sequence },
	}
)

func recordingIn(name, none string) column {
	return column{name, func(r *cdr.Row) any {
		if r.Recording == "" {
			return none
		}
		return r.Recording
	}, func(got, from *cdr.Row) { got.Recording = from.Recording }}
}

func join(lists ...[]column) []column {
	var all []column
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func mikoColumns(newest bool) (ddl string, columns []column) {
	columns = []column{
		idColumn("id"), timeColumn("start", milli, "", start), timeColumn("endtime", milli, "", end), timeColumn("answer", milli, "", answer),
		textColumn("src_chan", func(r *cdr.Row) *string { return &r.Channel }), textColumn("src_num", func(r *cdr.Row) *string { return &r.Src }),
		textColumn("dst_chan", func(r *cdr.Row) *string { return &r.DstChannel }), textColumn("dst_num", func(r *cdr.Row) *string { return &r.Dst }),
		textColumn("UNIQUEID", func(r *cdr.Row) *string { return &r.UniqueID }), linkedID, did,
		textColumn("disposition", func(r *cdr.Row) *string { return &r.Disposition }), recordingIn("recordingfile", "-"),
		textColumn("from_account", func(r *cdr.Row) *string { return &r.FromAccount }), textColumn("to_account", func(r *cdr.Row) *string { return &r.ToAccount }),
		textColumn("dialstatus", func(r *cdr.Row) *string { return &r.DialStatus }),
		{"is_app", func(r *cdr.Row) any { return map[bool]string{true: "1"}[r.App] }, func(got, from *cdr.Row) { got.App = from.App }},
		intColumn("duration", func(r *cdr.Row) *int { return &r.Duration }), intColumn("billsec", func(r *cdr.Row) *int { return &r.BillSec }),
	}
	// The columns of up to 2025.1, and the four that came after.
	names := []string{
		"start", "endtime", "answer", "src_chan", "src_num", "dst_chan", "dst_num", "UNIQUEID", "linkedid", "did", "disposition", "recordingfile",
		"from_account", "to_account", "dialstatus", "appname", "is_app", "work_completed", "src_call_id", "dst_call_id", "verbose_call_id",
	}
	if newest {
		names = append(names, "src_name", "dst_name", "rec_src_channel", "dtmf_digits")
	}
	ddl = "CREATE TABLE cdr_general (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, transfer INTEGER, a_transfer INTEGER, duration INTEGER, billsec INTEGER, " +
		strings.Join(names, " TEXT, ") + " TEXT); CREATE INDEX s ON cdr_general (start); CREATE INDEX l ON cdr_general (linkedid)"
	return ddl, columns
}

const vanillaColumns = `accountcode VARCHAR(20), src VARCHAR(80), dst VARCHAR(80), dcontext VARCHAR(80), clid VARCHAR(80), channel VARCHAR(80),
	dstchannel VARCHAR(80), lastapp VARCHAR(80), lastdata VARCHAR(80), start DATETIME, answer DATETIME, end DATETIME, duration INTEGER,
	billsec INTEGER, disposition VARCHAR(45), amaflags VARCHAR(45), userfield VARCHAR(256), uniqueid VARCHAR(150), linkedid VARCHAR(150),
	peeraccount VARCHAR(20), sequence INTEGER`

const freePBXColumns = `calldate datetime NOT NULL default '0000-00-00 00:00:00', clid varchar(80) NOT NULL default '', src varchar(80) NOT NULL default '',
	dst varchar(80) NOT NULL default '', dcontext varchar(80) NOT NULL default '', channel varchar(80) NOT NULL default '',
	dstchannel varchar(80) NOT NULL default '', lastapp varchar(80) NOT NULL default '', lastdata varchar(80) NOT NULL default '',
	duration int(11) NOT NULL default 0, billsec int(11) NOT NULL default 0, disposition varchar(45) NOT NULL default '',
	amaflags int(11) NOT NULL default 0, accountcode varchar(20) NOT NULL default '', uniqueid varchar(32) NOT NULL default '',
	userfield varchar(255) NOT NULL default '', KEY calldate (calldate), KEY uniqueid (uniqueid)`

func tables() []table {
	calldate := []column{timeColumn("calldate", whole, "0000-00-00 00:00:00", start)}
	moments := func(name, form string) []column {
		return []column{timeColumn(name, form, nil, start), timeColumn("answer", form, nil, answer), timeColumn("end", form, nil, end)}
	}
	old, oldColumns := mikoColumns(false)
	newest, newestColumns := mikoColumns(true)
	return []table{
		{
			"freepbx", "mysql", cdrdb.SchemaAsterisk, "cdr",
			"CREATE TABLE cdr (" + freePBXColumns + `, did varchar(50) NOT NULL default '', recordingfile varchar(255) NOT NULL default '',
				cnum varchar(80) NOT NULL default '', cnam varchar(80) NOT NULL default '', linkedid varchar(32) NOT NULL default '',
				peeraccount varchar(80) NOT NULL default '', sequence int(11) NOT NULL default 0)`,
			join(calldate, common(), []column{linkedID, did, callerNum, peer, sequence, recordingIn("recordingfile", "")}), false,
		},
		{
			"freepbx before linkedid", "mysql", cdrdb.SchemaAsterisk, "cdr",
			"CREATE TABLE cdr (" + freePBXColumns + ") ENGINE=MyISAM CHARACTER SET latin1",
			join(calldate, common()), false,
		},
		{
			"vanilla", "mysql", cdrdb.SchemaAsterisk, "cdr", "CREATE TABLE cdr (" + vanillaColumns + ")",
			join(moments("start", whole), common(), []column{linkedID, peer, sequence}), false,
		},
		{
			"filename and realdst", "mysql", cdrdb.SchemaAsterisk, "calls",
			`CREATE TABLE calls (id INT AUTO_INCREMENT PRIMARY KEY, calldate DATETIME(3), answer DATETIME(3), end DATETIME(3), clid VARCHAR(80), src VARCHAR(80), dst VARCHAR(80),
				realdst VARCHAR(80), remoteip VARCHAR(60), dcontext VARCHAR(80), channel VARCHAR(80), dstchannel VARCHAR(80), lastapp VARCHAR(80), lastdata VARCHAR(80),
				duration INT, billsec INT, disposition VARCHAR(45), accountcode VARCHAR(20), uniqueid VARCHAR(32), userfield VARCHAR(255), did VARCHAR(50),
				linkedid VARCHAR(32), sequence INT, filename VARCHAR(255) DEFAULT 'none', KEY (calldate))`,
			join([]column{idColumn("id")}, moments("calldate", milli), common(), []column{linkedID, did, sequence, recordingIn("filename", "none")}), true,
		},
		{
			"asterisk in sqlite", "sqlite", cdrdb.SchemaAsterisk, "cdr",
			"CREATE TABLE cdr (AcctId INTEGER PRIMARY KEY AUTOINCREMENT, " + vanillaColumns + "); CREATE INDEX s ON cdr (start)",
			join([]column{idColumn("AcctId")}, moments("start", whole), common(), []column{linkedID, peer, sequence}), false,
		},
		{"mikopbx of 26 columns", "sqlite", cdrdb.SchemaMikoPBX, "cdr_general", old, oldColumns, true},
		{"mikopbx of 30 columns", "sqlite", cdrdb.SchemaMikoPBX, "cdr_general", newest, newestColumns, true},
	}
}

// source is a table in a database of its own.
type source struct {
	table
	dsn string // what Sverka is given
	db  *sql.DB
}

func newSource(t testing.TB, tb table) *source {
	t.Helper()
	s := &source{table: tb}
	switch tb.driver {
	case "mysql":
		owner := mariadbtest.Start(t).Database(t)
		s.dsn = mariadbtest.ReadOnly(owner)
		s.db = openSQL(t, "mysql", owner)
	case "sqlite":
		s.dsn = filepath.Join(t.TempDir(), "cdr with ünusual name.db")
		s.db = openSQL(t, "sqlite", "file:"+strings.ReplaceAll(s.dsn, " ", "%20")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(1000)")
	}
	s.exec(t, tb.ddl)
	return s
}

func openSQL(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func (s *source) exec(t testing.TB, q string, args ...any) {
	t.Helper()
	if _, err := s.db.ExecContext(context.Background(), q, args...); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
}

func (s *source) quote(name string) string {
	if s.driver == "mysql" {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// insert writes rows, many at once.
func (s *source) insert(t testing.TB, rows ...cdr.Row) {
	t.Helper()
	names := make([]string, 0, len(s.columns))
	for _, c := range s.columns {
		names = append(names, s.quote(c.name))
	}
	const atOnce = 100
	for len(rows) > 0 {
		n := min(len(rows), atOnce)
		var args []any
		for i := range rows[:n] {
			for _, c := range s.columns {
				args = append(args, c.get(&rows[i]))
			}
		}
		marks := "(" + strings.TrimSuffix(strings.Repeat("?,", len(names)), ",") + ")"
		s.exec(t, fmt.Sprintf("INSERT INTO %s (%s) VALUES %s", s.quote(s.table.table), strings.Join(names, ","),
			strings.TrimSuffix(strings.Repeat(marks+",", n), ",")), args...)
		rows = rows[n:]
	}
}

// expect gives rows as this kind of table can tell them.
func (s *source) expect(rows ...cdr.Row) []cdr.Row {
	out := make([]cdr.Row, len(rows))
	for i := range rows {
		for _, c := range s.columns {
			c.set(&out[i], &rows[i])
		}
		if out[i].LinkedID == "" {
			out[i].LinkedID = out[i].UniqueID
		}
	}
	return out
}

func (s *source) open(t testing.TB, change ...func(*cdrdb.Config)) *cdrdb.DB {
	t.Helper()
	config := cdrdb.Config{Driver: s.driver, Schema: s.schema, DSN: s.dsn, Table: s.table.table, CEL: "cel", Zone: time.UTC}
	for _, c := range change {
		c(&config)
	}
	db, err := cdrdb.Open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
