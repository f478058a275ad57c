package cdrdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "modernc.org/sqlite" // driver "sqlite"
)

const (
	queryTimeout   = 30 * time.Second
	connectTimeout = 5 * time.Second
)

// Config says where a CDR is and how it is read.
type Config struct {
	Driver string // mysql or sqlite
	Schema string // SchemaAsterisk or SchemaMikoPBX
	DSN    string // go-sql-driver/mysql's form, or the path of an SQLite file; may hold a password
	Table  string // "" for the schema's own: cdr, cdr_general
	CEL    string // table of channel events, used where it exists; "" for never
	Zone   *time.Location
	// OnBad is told, once each, of rows that cannot become a cdr.Row at all: no start and no id to tell it, or no id. nil tells nobody.
	OnBad func(row string, err error)
}

// DB is an open CDR. It may be used by several goroutines.
type DB struct {
	config   Config
	dialect  dialect
	db       *sql.DB
	database string
	secret   string
	clock    clock
	rows     columnMap
	events   columnMap // empty where there is no table of events

	mu  sync.Mutex
	bad map[string]bool // rows that OnBad was told of
}

// dialect is what two kinds of databases do differently.
type dialect struct {
	quote   func(name string) string
	text    func(column string) string // an expression that gives a column as it is stored
	isNull  string                     // an operator for NULL alone
	columns string                     // query: the columns of a table, given its database and its name
}

var dialects = map[string]dialect{
	"mysql": {
		quote: func(name string) string { return "`" + name + "`" },
		text:  func(column string) string { return column },
		// IS NULL would find 0000-00-00, too, in a column that is NOT NULL.
		isNull: " <=> NULL",
		columns: `SELECT column_name FROM information_schema.columns
			WHERE table_schema = IF(? = '', DATABASE(), ?) AND table_name = ? ORDER BY ordinal_position`,
	},
	"sqlite": {
		quote: func(name string) string { return `"` + name + `"` },
		// The driver would turn a column declared DATETIME into a time in UTC.
		text:    func(column string) string { return "CAST(" + column + " AS TEXT)" },
		isNull:  " IS NULL",
		columns: `SELECT name FROM pragma_table_info(?3) WHERE ?1 = ?2 ORDER BY cid`,
	},
}

var tableName = regexp.MustCompile(`^[\pL\pN_$-]+(\.[\pL\pN_$-]+)?$`)

// Open connects to a CDR and finds out which columns it has. A failure that a person can mend is an *Error.
func Open(ctx context.Context, config Config) (*DB, error) {
	if config.Schema != SchemaAsterisk && config.Schema != SchemaMikoPBX {
		return nil, fmt.Errorf("schema of the CDR: %q is neither %s nor %s", config.Schema, SchemaAsterisk, SchemaMikoPBX)
	}
	if config.Table == "" {
		config.Table = map[string]string{SchemaAsterisk: "cdr", SchemaMikoPBX: "cdr_general"}[config.Schema]
	}
	for _, t := range []string{config.Table, config.CEL} {
		if t != "" && !tableName.MatchString(t) {
			return nil, fmt.Errorf("table of the CDR: %q is no name of a table", t)
		}
	}
	if config.Zone == nil {
		config.Zone = time.UTC
	}
	d := &DB{config: config, dialect: dialects[config.Driver], clock: clock{config.Zone}, bad: map[string]bool{}}
	var err error
	switch config.Driver {
	case "mysql":
		err = d.openMySQL()
	case "sqlite":
		err = d.openSQLite(ctx)
	default:
		err = fmt.Errorf("driver of the CDR: %q is neither mysql nor sqlite", config.Driver)
	}
	if err != nil {
		return nil, err
	}
	if err := d.probe(ctx); err != nil {
		return nil, errors.Join(err, d.db.Close())
	}
	return d, nil
}

func (d *DB) openMySQL() error {
	c, err := mysql.ParseDSN(d.config.DSN)
	if err != nil {
		// The parser's own words quote pieces of the DSN, the password among them.
		return &Error{Kind: BadDSN, Hint: "cdr.dsn must look like user:password@tcp(127.0.0.1:3306)/asteriskcdrdb", Err: errors.New("cdr.dsn cannot be read")}
	}
	c.ParseTime, c.InterpolateParams, c.MultiStatements = false, true, false
	if c.Timeout == 0 {
		c.Timeout = connectTimeout
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = queryTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = queryTimeout / 3
	}
	c.Logger = &mysql.NopLogger{} // what goes wrong is returned
	if err := c.Apply(mysql.Charset("utf8mb4", "")); err != nil {
		return fmt.Errorf("charset of the CDR: %w", err)
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return &Error{Kind: BadDSN, Hint: "check cdr.dsn", Err: errors.New("cdr.dsn cannot be used")}
	}
	d.secret, d.database = c.Passwd, c.DBName
	d.db = sql.OpenDB(connector)
	d.db.SetMaxOpenConns(4)
	d.db.SetConnMaxLifetime(3 * time.Minute) // below the wait_timeout of every server seen
	d.db.SetConnMaxIdleTime(time.Minute)
	return nil
}

func (d *DB) openSQLite(ctx context.Context) error {
	path := strings.TrimPrefix(d.config.DSN, "file:")
	path, _, _ = strings.Cut(path, "?")
	// SQLite says "unable to open" to everything; the system tells why.
	f, err := os.Open(path)
	if err != nil {
		return d.wrap(ctx, "open the CDR", err)
	}
	if err := f.Close(); err != nil {
		return d.wrap(ctx, "open the CDR", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return d.wrap(ctx, "open the CDR", err)
	}
	// Never immutable: that would read past the WAL, where the newest calls are.
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&_pragma=busy_timeout(5000)&_pragma=query_only(1)"}
	if d.db, err = sql.Open("sqlite", u.String()); err != nil {
		return d.wrap(ctx, "open the CDR", err)
	}
	d.database = path
	d.db.SetMaxOpenConns(4)
	return nil
}

// probe finds out which columns there are.
func (d *DB) probe(ctx context.Context) error {
	columns, err := d.columnsOf(ctx, d.config.Table)
	if err != nil {
		return err
	}
	if len(columns) == 0 {
		// There is none, or none that this user may see. The server says which when it is asked for a row.
		if err := d.touch(ctx); err != nil {
			return err
		}
		return &Error{Kind: NoTable, Hint: "check cdr.table", Err: fmt.Errorf("table %s has no columns", d.config.Table)}
	}
	fields := asteriskFields
	if d.config.Schema == SchemaMikoPBX {
		fields = mikopbxFields
	}
	d.rows = mapColumns(d.config.Table, fields, columns)
	if lacks := d.rows.missing("start", "duration", "disposition"); len(lacks) > 0 {
		return d.wrongTable(lacks)
	}
	if !d.rows.has("uniqueid") && !d.rows.has("linkedid") {
		return d.wrongTable([]string{"uniqueid"})
	}
	if d.config.CEL == "" {
		return nil
	}
	if columns, err = d.columnsOf(ctx, d.config.CEL); err != nil {
		return err
	}
	if events := mapColumns(d.config.CEL, eventFields, columns); len(events.missing("type", "time", "linkedid", "channel")) == 0 {
		d.events = events
	}
	return nil
}

func (d *DB) wrongTable(lacks []string) error {
	return &Error{
		Kind: WrongTable,
		Hint: "check cdr.table and cdr.schema (asterisk or mikopbx)",
		Err:  fmt.Errorf("table %s is no CDR: it has no %s", d.config.Table, strings.Join(lacks, ", ")),
	}
}

func (d *DB) columnsOf(ctx context.Context, table string) ([]string, error) {
	database, name, ok := strings.Cut(table, ".")
	if !ok {
		database, name = "", table
	}
	var columns []string
	err := d.query(ctx, d.dialect.columns, []any{database, database, name}, 1, func(v []text) {
		columns = append(columns, v[0].s)
	})
	return columns, d.wrap(ctx, "ask for the columns of "+table, err)
}

// touch reads one value of the table, to see that it can be read.
func (d *DB) touch(ctx context.Context) error {
	err := d.query(ctx, "SELECT 1 FROM "+d.table(d.config.Table)+" LIMIT 1", nil, 1, func([]text) {})
	return d.wrap(ctx, "read table "+d.config.Table, err)
}

// Ping checks that the table can be read now.
func (d *DB) Ping(ctx context.Context) error { return d.touch(ctx) }

// Close ends all connections.
func (d *DB) Close() error { return d.db.Close() }

// Describe tells an administrator what was found: the tables, and which column each piece of a row is read from.
func (d *DB) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s, schema %s, zone %s\n%s\n", d.config.Driver, d.database, d.config.Schema, d.config.Zone, d.rows)
	if !d.rows.has("linkedid") {
		b.WriteString("no linkedid: rows are one call by uniqueid and Local channels\n")
	}
	if !d.rows.has("recording") {
		b.WriteString("no column names recordings\n")
	}
	switch {
	case d.config.CEL == "":
		b.WriteString("channel events: not used")
	case len(d.events.fields) == 0:
		fmt.Fprintf(&b, "channel events: no table %s that can be read; talk times are those of the rows", d.config.CEL)
	default:
		b.WriteString(d.events.String())
	}
	return b.String()
}

// table quotes the name of a table, with its database if it has one.
func (d *DB) table(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		parts[i] = d.dialect.quote(p)
	}
	return strings.Join(parts, ".")
}

// selection lists the columns of a map as expressions, in the order of its fields.
func (d *DB) selection(m columnMap) string {
	cols := make([]string, 0, len(m.fields))
	for _, f := range m.fields {
		cols = append(cols, d.dialect.text(d.dialect.quote(m.column[f])))
	}
	return strings.Join(cols, ", ")
}

// text is a value as the database gave it, in valid UTF-8 without surrounding spaces.
type text struct {
	s      string
	broken bool // it was no UTF-8
}

// query runs a query within its time and reads all it gives, before anybody works on it: a cursor left open holds back the PBX's own writes.
func (d *DB) query(ctx context.Context, q string, args []any, columns int, each func([]text)) (err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	rows, err := d.db.QueryContext(ctx, q, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	raw := make([]sql.RawBytes, columns)
	into := make([]any, columns)
	for i := range raw {
		into[i] = &raw[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		values := make([]text, columns)
		for i, b := range raw {
			s := strings.ToValidUTF8(string(b), "\uFFFD")
			values[i] = text{s: strings.Trim(s, " \t\r\n\x00"), broken: len(s) != len(b) || s != string(b)}
		}
		each(values)
	}
	return rows.Err()
}
