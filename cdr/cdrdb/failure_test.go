package cdrdb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"sverka/cdr"
	"sverka/cdr/cdrdb"
	"sverka/internal/mariadbtest"
)

func kind(name string) table {
	for _, tb := range tables() {
		if tb.name == name {
			return tb
		}
	}
	panic("no such table: " + name)
}

// What an administrator gets wrong, and what Sverka says: the kind of error, a hint, and never the password.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	server := mariadbtest.Start(t)
	owner := server.Database(t)
	db := openSQL(t, "mysql", owner)
	for _, q := range []string{"CREATE TABLE cdr (" + freePBXColumns + ")", "CREATE TABLE users (id INT, name TEXT)"} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	user, rest, _ := strings.Cut(owner, ":")
	password, address, _ := strings.Cut(rest, "@")
	name := address[strings.LastIndexByte(address, '/')+1:]
	nowhere := strings.Replace(owner, server.Address(), "127.0.0.1:1", 1)
	const secret = "n0t-the-p4ssword"
	server.Exec(t, "CREATE USER '"+name+"_none'@'127.0.0.1' IDENTIFIED BY '"+secret+"'")
	t.Cleanup(func() { server.Exec(t, "DROP USER '"+name+"_none'@'127.0.0.1'") })
	noRight := strings.Replace(strings.Replace(owner, user+":", name+"_none:", 1), password, secret, 1)

	folder := t.TempDir()
	text := filepath.Join(folder, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	lite := newSource(t, kind("mikopbx of 30 columns"))

	tests := []struct {
		name   string
		config cdrdb.Config
		want   cdrdb.Kind
	}{
		{"no server", cdrdb.Config{Driver: "mysql", DSN: nowhere}, cdrdb.Unreachable},
		{"wrong password", cdrdb.Config{Driver: "mysql", DSN: strings.Replace(owner, password, secret, 1)}, cdrdb.Credentials},
		{"no such database", cdrdb.Config{Driver: "mysql", DSN: strings.Replace(owner, "/"+name, "/nothing_here", 1)}, cdrdb.NoRight},
		{"no right to the database", cdrdb.Config{Driver: "mysql", DSN: noRight}, cdrdb.NoRight},
		{"no right to the table", cdrdb.Config{Driver: "mysql", DSN: strings.Replace(noRight, "/"+name, "/", 1), Table: name + ".cdr"}, cdrdb.NoRight},
		{"no such table", cdrdb.Config{Driver: "mysql", DSN: owner, Table: "cdrs"}, cdrdb.NoTable},
		{"another table", cdrdb.Config{Driver: "mysql", DSN: owner, Table: "users"}, cdrdb.WrongTable},
		{"the other schema", cdrdb.Config{Driver: "mysql", DSN: owner, Schema: cdrdb.SchemaMikoPBX, Table: "cdr"}, cdrdb.WrongTable},
		{"no DSN at all", cdrdb.Config{Driver: "mysql", DSN: "sverka:" + secret + "@localhost/asteriskcdrdb"}, cdrdb.BadDSN},
		{"no file", cdrdb.Config{Driver: "sqlite", DSN: filepath.Join(folder, "cdr.db")}, cdrdb.Unreachable},
		{"no database in the file", cdrdb.Config{Driver: "sqlite", DSN: text}, cdrdb.NoTable},
		{"no table in the file", cdrdb.Config{Driver: "sqlite", DSN: lite.dsn, Table: "cdr"}, cdrdb.NoTable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Schema == "" {
				tt.config.Schema = cdrdb.SchemaAsterisk
			}
			_, err := cdrdb.Open(context.Background(), tt.config)
			var e *cdrdb.Error
			if !errors.As(err, &e) {
				t.Fatalf("Open = %v (%T), want an *Error", err, err)
			}
			if e.Kind != tt.want || e.Hint == "" {
				t.Errorf("kind %q, hint %q, want %q and a hint; %v", e.Kind, e.Hint, tt.want, err)
			}
			if text := fmt.Sprintf("%v %+v %#v", err, e, e.Err); strings.Contains(text, password) || strings.Contains(text, secret) {
				t.Errorf("the password is in %q", text)
			}
		})
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, c := range []cdrdb.Config{
		{Driver: "postgres", Schema: cdrdb.SchemaAsterisk},
		{Driver: "sqlite", Schema: "freepbx"},
		{Driver: "sqlite", Schema: cdrdb.SchemaAsterisk, Table: "cdr; DROP TABLE cdr"},
		{Driver: "sqlite", Schema: cdrdb.SchemaAsterisk, CEL: "`cel`"},
	} {
		if db, err := cdrdb.Open(context.Background(), c); err == nil {
			t.Errorf("Open(%+v) = %v, want an error", c, db.Describe())
		}
	}
}

// A database that goes away and comes back costs the reads in between and nothing else.
func TestOutage(t *testing.T) {
	t.Parallel()
	server := mariadbtest.StartOwn(t)
	s := &source{table: kind("freepbx")}
	owner := server.Database(t)
	s.dsn, s.db = mariadbtest.ReadOnly(owner), openSQL(t, "mysql", owner)
	s.exec(t, s.ddl)
	rows := s.calls(5)
	s.insert(t, rows...)
	db := s.open(t)
	server.Stop(t)
	err := db.Rows(context.Background(), at(0), at(100), func(cdr.Row) error { return nil })
	var e *cdrdb.Error
	if !errors.As(err, &e) || e.Kind != cdrdb.Unreachable || !e.Retryable() {
		t.Errorf("Rows of a stopped server = %v, want a retryable *Error of kind %s", err, cdrdb.Unreachable)
	}
	if err := db.Ping(context.Background()); err == nil {
		t.Error("Ping of a stopped server says nothing")
	}
	server.Restart(t)
	if diff := gocmp.Diff(ids(rows), ids(read(t, db, at(0), at(100)))); diff != "" {
		t.Errorf("after the restart (-want +got):\n%s", diff)
	}
}

// A PBX writes while Sverka reads, in the middle of a read too, and is never made to wait.
func TestReadingLocksNobodyOut(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mikopbx of 30 columns", "asterisk in sqlite", "freepbx before linkedid"} { // SQLite's WAL, and MyISAM's table locks
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, kind(name))
			rows := s.calls(2500)
			s.insert(t, rows[:2400]...)
			db := s.open(t)
			if s.driver == "sqlite" {
				s.exec(t, "PRAGMA busy_timeout = 0") // a lock would be an error at once
			} else {
				s.exec(t, "SET SESSION lock_wait_timeout = 1")
			}
			n := 0
			err := db.Rows(context.Background(), at(0), at(5000), func(cdr.Row) error {
				if n%300 == 0 && n/300 < 8 {
					s.insert(t, rows[2400+n/300]) // within the read
				}
				n++
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if n < 2400 {
				t.Errorf("%d rows were read, want at least 2400", n)
			}
			// The newest rows are in the WAL only, and are read all the same.
			if got := len(read(t, db, at(0), at(5000))); got != 2408 {
				t.Errorf("%d rows after the writes, want 2408", got)
			}
		})
	}
}

// Sverka's own connection cannot write, even where the file could be written.
func TestSQLiteFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSource(t, kind("asterisk in sqlite"))
	s.insert(t, s.calls(3)...)
	if _, err := s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	db := s.open(t)
	read(t, db, at(0), at(100))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(s.dsn)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Error("the file has changed")
	}
}

// Every query of a read finds its rows by the index on the start, in a table large enough to matter. The server's own log tells what it was
// asked.
func TestReadsUseTheIndex(t *testing.T) {
	t.Parallel()
	server := mariadbtest.StartOwn(t)
	s := &source{table: kind("freepbx")}
	owner := server.Database(t)
	s.dsn, s.db = mariadbtest.ReadOnly(owner), openSQL(t, "mysql", owner)
	s.exec(t, s.ddl)
	rows := s.calls(9000)
	for i := range rows { // thirty days
		rows[i].Start = at(i * 288)
		rows[i].UniqueID = fmt.Sprintf("%d.%d", rows[i].Start.Unix(), i)
		rows[i].LinkedID = rows[i].UniqueID
	}
	s.insert(t, rows...)
	s.exec(t, "ANALYZE TABLE cdr")
	db := s.open(t)
	server.Exec(t, "SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = ON", "GRANT SELECT ON mysql.general_log TO PUBLIC")
	if got := len(read(t, db, at(5000*288), at(5100*288))); got != 100 {
		t.Errorf("%d rows, want 100", got)
	}
	if got, err := db.Call(context.Background(), rows[4000].LinkedID); err != nil || len(got) != 1 {
		t.Errorf("Call = %v, %v", got, err)
	}
	server.Exec(t, "SET GLOBAL general_log = OFF")
	queries := column1(t, s.db, "SELECT argument FROM mysql.general_log WHERE argument LIKE 'SELECT `calldate`%'")
	if len(queries) != 4 {
		t.Fatalf("%d queries were logged, want two for rows without a date, one page and one call: %q", len(queries), queries)
	}
	for _, q := range queries {
		var plan struct{ id, kind, table, how, keys, key, length, ref, rows, extra sql.NullString }
		err := s.db.QueryRow("EXPLAIN "+q).Scan(&plan.id, &plan.kind, &plan.table, &plan.how, &plan.keys, &plan.key, &plan.length, &plan.ref, &plan.rows, &plan.extra)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(plan.extra.String, "Impossible WHERE") {
			continue // calldate is NOT NULL: nothing is read at all
		}
		if plan.key.String != "calldate" || strings.Contains(q, ">=") && strings.Contains(plan.extra.String, "filesort") {
			t.Errorf("key %q, %s rows, %s: %s", plan.key.String, plan.rows.String, plan.extra.String, q)
		}
	}
}

func column1(t *testing.T, db *sql.DB, q string) []string {
	t.Helper()
	rows, err := db.Query(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestOddValues(t *testing.T) {
	t.Parallel()
	s := newSource(t, kind("asterisk in sqlite")) // SQLite keeps whatever it is given
	s.exec(t, `INSERT INTO cdr (start, answer, end, clid, src, dst, channel, duration, billsec, disposition, uniqueid, linkedid, sequence)
		VALUES ('2026-11-22 10:00:01.5', '2026-11-22T10:00:03', 'soon', CAST(x'22d0ff3e' AS TEXT), '  7916  ', NULL, '', '11.6', 'eight', 'ANSWERED', '1795341601.1', '', 7)`)
	got := read(t, s.open(t), at(0), at(100))
	for i := range got {
		got[i].Problems = nil
	}
	want := []cdr.Row{{
		ID: 1, LinkedID: "1795341601.1", UniqueID: "1795341601.1", Sequence: 7, Start: at(1).Add(500 * time.Millisecond), Answer: at(3), CallerID: "\"\uFFFD>", Src: "7916",
		Duration: 11, Disposition: "ANSWERED",
	}}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var problems []string
	for _, r := range read(t, s.open(t), at(0), at(100)) {
		problems = append(problems, r.Problems...)
	}
	if len(problems) != 3 { // clid, billsec, end
		t.Errorf("problems %q, want three", problems)
	}
}

func TestTextOfAnyCharset(t *testing.T) {
	t.Parallel()
	s := newSource(t, kind("freepbx"))
	s.exec(t, "ALTER TABLE cdr MODIFY clid VARBINARY(80)")
	s.exec(t, "ALTER TABLE cdr MODIFY src VARCHAR(80) CHARACTER SET cp1251")
	rows := s.calls(1)
	rows[0].Src = "Иван"
	s.insert(t, rows...)
	s.exec(t, "UPDATE cdr SET clid = x'c8e2e0ed', userfield = '📞'")
	got := read(t, s.open(t), at(0), at(100))
	if len(got) != 1 || got[0].Src != "Иван" || got[0].CallerID != "\uFFFD" || got[0].UserField != "📞" || len(got[0].Problems) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestRealDestination(t *testing.T) {
	t.Parallel()
	s := newSource(t, kind("filename and realdst"))
	rows := s.calls(3)
	rows[0].Dst, rows[1].Dst = "s", ""
	s.insert(t, rows...)
	s.exec(t, "UPDATE calls SET realdst = '600'")
	var got []string
	for _, r := range read(t, s.open(t), at(0), at(100)) {
		got = append(got, r.Dst)
	}
	if diff := gocmp.Diff([]string{"600", "600", "1001"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"freepbx", "asterisk in sqlite"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSource(t, kind(name))
			s.exec(t, `CREATE TABLE cel (id INTEGER PRIMARY KEY, eventtype VARCHAR(30), eventtime VARCHAR(30), cid_num VARCHAR(80), exten VARCHAR(80), context VARCHAR(80),
				channame VARCHAR(80), appname VARCHAR(80), uniqueid VARCHAR(32), linkedid VARCHAR(32), peer VARCHAR(80), extra VARCHAR(512))`)
			const calls = 450 // more than fit one query
			var wanted []string
			for i := range calls {
				id := fmt.Sprintf("%d.%d", epoch+i, i)
				wanted = append(wanted, id)
				s.exec(t, "INSERT INTO cel VALUES (?, 'BRIDGE_ENTER', ?, '', 's', 'ext', 'PJSIP/201-1', 'Dial', ?, ?, 'p', '{}')", 2*i+2, at(i).Format(milli), id, id)
				s.exec(t, "INSERT INTO cel VALUES (?, 'CHAN_START', ?, '', '', '', '', '', ?, ?, '', '')", 2*i+1, fmt.Sprintf("%d.250", epoch+i), id, id)
			}
			s.exec(t, "INSERT INTO cel (id, eventtype, eventtime, linkedid) VALUES (5000, 'HANGUP', 'never', ?)", wanted[0])
			got, err := s.open(t).Events(context.Background(), append(wanted, "1.2"))
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != calls {
				t.Fatalf("events of %d calls, want %d", len(got), calls)
			}
			last := wanted[calls-1]
			want := []cdr.Event{
				{Type: "CHAN_START", Time: at(calls - 1).Add(250 * time.Millisecond), UniqueID: last, LinkedID: last},
				{Type: "BRIDGE_ENTER", Time: at(calls - 1), UniqueID: last, LinkedID: last, Channel: "PJSIP/201-1", App: "Dial", Exten: "s", Context: "ext", Peer: "p", Extra: "{}"},
			}
			if diff := gocmp.Diff(want, got[last]); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			db := s.open(t, func(c *cdrdb.Config) { c.CEL = "" })
			if got, err := db.Events(context.Background(), wanted); got != nil || err != nil {
				t.Errorf("events that were not asked for: %d, %v", len(got), err)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	text := newSource(t, kind("freepbx before linkedid")).open(t).Describe()
	for _, want := range []string{"start=calldate", "no linkedid", "no table cel"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}
