package pbxtest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// createCDR is FreePBX's table, reference cdr-ami.md §2.1, in today's charset.
const createCDR = `CREATE TABLE cdr (
  calldate datetime NOT NULL DEFAULT '0000-00-00 00:00:00',
  clid varchar(80) NOT NULL DEFAULT '',
  src varchar(80) NOT NULL DEFAULT '',
  dst varchar(80) NOT NULL DEFAULT '',
  dcontext varchar(80) NOT NULL DEFAULT '',
  channel varchar(80) NOT NULL DEFAULT '',
  dstchannel varchar(80) NOT NULL DEFAULT '',
  lastapp varchar(80) NOT NULL DEFAULT '',
  lastdata varchar(80) NOT NULL DEFAULT '',
  duration int(11) NOT NULL DEFAULT 0,
  billsec int(11) NOT NULL DEFAULT 0,
  disposition varchar(45) NOT NULL DEFAULT '',
  amaflags int(11) NOT NULL DEFAULT 0,
  accountcode varchar(20) NOT NULL DEFAULT '',
  uniqueid varchar(32) NOT NULL DEFAULT '',
  userfield varchar(255) NOT NULL DEFAULT '',
  did varchar(50) NOT NULL DEFAULT '',
  recordingfile varchar(255) NOT NULL DEFAULT '',
  cnum varchar(80) NOT NULL DEFAULT '',
  cnam varchar(80) NOT NULL DEFAULT '',
  outbound_cnum varchar(80) NOT NULL DEFAULT '',
  outbound_cnam varchar(80) NOT NULL DEFAULT '',
  dst_cnam varchar(80) NOT NULL DEFAULT '',
  linkedid varchar(32) NOT NULL DEFAULT '',
  peeraccount varchar(80) NOT NULL DEFAULT '',
  sequence int(11) NOT NULL DEFAULT 0,
  KEY calldate (calldate),
  KEY dst (dst),
  KEY accountcode (accountcode),
  KEY uniqueid (uniqueid),
  KEY did (did),
  KEY recordingfile (recordingfile(191))
) DEFAULT CHARSET=utf8mb4`

// createCEL is FreePBX's table, §2.2: whole seconds.
const createCEL = `CREATE TABLE cel (
  id int(11) NOT NULL AUTO_INCREMENT,
  eventtype varchar(30) NOT NULL,
  eventtime datetime NOT NULL,
  cid_name varchar(80) NOT NULL,
  cid_num varchar(80) NOT NULL,
  cid_ani varchar(80) NOT NULL,
  cid_rdnis varchar(80) NOT NULL,
  cid_dnid varchar(80) NOT NULL,
  exten varchar(80) NOT NULL,
  context varchar(80) NOT NULL,
  channame varchar(80) NOT NULL,
  appname varchar(80) NOT NULL,
  appdata varchar(1024) NOT NULL,
  amaflags int(11) NOT NULL,
  accountcode varchar(20) NOT NULL,
  uniqueid varchar(32) NOT NULL,
  linkedid varchar(32) NOT NULL,
  peer varchar(80) NOT NULL,
  userdeftype varchar(255) NOT NULL,
  extra varchar(512) NOT NULL,
  PRIMARY KEY (id),
  KEY uniqueid_index (uniqueid),
  KEY linkedid_index (linkedid),
  KEY context_index (context)
) DEFAULT CHARSET=utf8mb4`

// Vanilla is the name of the table that LoadVanilla makes.
const Vanilla = "cdr_vanilla"

// createVanilla is the table of Asterisk's own migrations, §2.3: every column nullable, no key, no recording, no DID.
const createVanilla = `CREATE TABLE ` + Vanilla + ` (
  accountcode varchar(80), src varchar(80), dst varchar(80), dcontext varchar(80), clid varchar(80), channel varchar(80),
  dstchannel varchar(80), lastapp varchar(80), lastdata varchar(80), start datetime, answer datetime, end datetime, duration int,
  billsec int, disposition varchar(45), amaflags varchar(45), userfield varchar(256), uniqueid varchar(150), linkedid varchar(150),
  peeraccount varchar(80), sequence int
) DEFAULT CHARSET=utf8mb4`

var vanillaColumns = [...]string{
	"accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata", "start", "answer", "end", "duration",
	"billsec", "disposition", "amaflags", "userfield", "uniqueid", "linkedid", "peeraccount", "sequence",
}

// row is a row of cdr, with what FreePBX's table lacks.
type row struct {
	values      [len(cdrColumns)]string
	answer, end string // wall times; answer is "" where there was none
	inserted    time.Time
}

// cdrColumn gives the place of a column; one that is not there is a mistake in this package, and panics where it is used.
func cdrColumn(name string) int { return slices.Index(cdrColumns[:], name) }

func (r *row) get(column string) string { return r.values[cdrColumn(column)] }
func (r *row) set(column, value string) { r.values[cdrColumn(column)] = value }

// wall writes a moment as the PBX's clock shows it.
func (p *PBX) wall(t time.Time) string { return t.In(p.opts.Zone).Format(layout) }

// rows makes the rows of a call in the order in which Asterisk wrote them.
func (p *PBX) rows(c *call) []row {
	all := make([]row, 0, len(c.template.rows))
	for _, from := range c.template.rows {
		r := row{end: p.wall(from.end.Add(c.delta)), inserted: from.inserted.Add(c.delta)}
		if !from.answer.IsZero() {
			r.answer = p.wall(from.answer.Add(c.delta))
		}
		for i := range cdrColumns {
			r.values[i] = from.texts[i].with(c.values)
		}
		r.set("calldate", p.wall(from.start.Add(c.delta)))
		r.set("sequence", strconv.FormatInt(c.sequence+from.sequence-c.template.sequence, 10))
		if !c.named {
			r.set("recordingfile", "")
		}
		all = append(all, r)
	}
	return all
}

// event is a row of cel.
type event struct {
	at     time.Time
	values [len(celColumns)]string
}

func (p *PBX) events(c *call) []event {
	all := make([]event, 0, len(c.template.cel))
	for _, from := range c.template.cel {
		e := event{at: from.at.Add(c.delta)}
		for i, column := range celColumns {
			if column == "eventtime" {
				e.values[i] = p.wall(e.at)
			} else {
				e.values[i] = from.texts[i].with(c.values)
			}
		}
		all = append(all, e)
	}
	return all
}

// Load makes the table cdr, and cel when the PBX keeps events, and writes all calls in the order in which Asterisk would have: rows appear
// when their channel hangs up, so a long call stands behind shorter ones that began later.
func (p *PBX) Load(ctx context.Context, db *sql.DB) error {
	tables := []string{createCDR}
	if p.opts.CEL {
		tables = append(tables, createCEL)
	}
	for _, t := range tables {
		if _, err := db.ExecContext(ctx, t); err != nil {
			return fmt.Errorf("make tables of the PBX: %w", err)
		}
	}
	return p.write(ctx, db, p.calls, nil)
}

// LoadVanilla makes the table Vanilla and writes all calls, too: no recordings, no DIDs, and NULL for whatever Asterisk had no value for.
func (p *PBX) LoadVanilla(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, createVanilla); err != nil {
		return fmt.Errorf("make table %s: %w", Vanilla, err)
	}
	var all []row
	for _, c := range p.calls {
		all = append(all, p.rows(c)...)
	}
	return insertVanilla(ctx, db, inOrder(all))
}

// Insert writes a call of Add, or some of its rows, counted from 0 in the order of Asterisk; none means all. Its events are written with
// row 0: they appear while the call goes on.
func (p *PBX) Insert(ctx context.Context, db *sql.DB, linkedID string, rows ...int) error {
	i := slices.IndexFunc(p.calls, func(c *call) bool { return c.LinkedID == linkedID })
	if i < 0 {
		return fmt.Errorf("insert call %s: the PBX has none of that linkedid", linkedID)
	}
	return p.write(ctx, db, p.calls[i:i+1], rows)
}

// Rows tells how many rows of cdr a call has; 0 for none of that linkedid.
func (p *PBX) Rows(linkedID string) int {
	for _, c := range p.calls {
		if c.LinkedID == linkedID {
			return len(c.template.rows)
		}
	}
	return 0
}

// write writes calls; only lists the rows of each, nil means all.
func (p *PBX) write(ctx context.Context, db *sql.DB, calls []*call, only []int) error {
	var rows []row
	var events []event
	for _, c := range calls {
		for i, r := range p.rows(c) {
			if len(only) == 0 || slices.Contains(only, i) {
				rows = append(rows, r)
			}
		}
		if p.opts.CEL && (len(only) == 0 || slices.Contains(only, 0)) {
			events = append(events, p.events(c)...)
		}
	}
	if err := insertCDR(ctx, db, inOrder(rows)); err != nil {
		return err
	}
	return insertEvents(ctx, db, events)
}

func insertEvents(ctx context.Context, db *sql.DB, events []event) error {
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	values := make([][]any, len(events))
	for i := range events {
		values[i] = anys(events[i].values[:])
	}
	return insert(ctx, db, "cel", celColumns[:], values)
}

func inOrder(rows []row) []row {
	slices.SortStableFunc(rows, func(a, b row) int { return a.inserted.Compare(b.inserted) })
	return rows
}

func insertCDR(ctx context.Context, db *sql.DB, rows []row) error {
	values := make([][]any, len(rows))
	for i := range rows {
		values[i] = anys(rows[i].values[:])
	}
	return insert(ctx, db, "cdr", cdrColumns[:], values)
}

func insertVanilla(ctx context.Context, db *sql.DB, rows []row) error {
	values := make([][]any, len(rows))
	for i := range rows {
		values[i] = rows[i].vanilla()
	}
	return insert(ctx, db, Vanilla, vanillaColumns[:], values)
}

// vanilla gives the row as Asterisk's own table has it: what is empty is not written, and stays NULL.
func (r *row) vanilla() []any {
	out := make([]any, len(vanillaColumns))
	for i, column := range vanillaColumns {
		var v string
		switch column {
		case "start":
			v = r.get("calldate")
		case "answer":
			v = r.answer
		case "end":
			v = r.end
		case "amaflags":
			v = "DOCUMENTATION"
		default:
			v = r.get(column)
		}
		if v != "" {
			out[i] = v
		}
	}
	return out
}

func anys(values []string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

// insert writes rows, many with one statement, in one transaction: the SQL mode is FreePBX's, which takes whatever comes.
func insert(ctx context.Context, db *sql.DB, table string, columns []string, rows [][]any) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.ExecContext(ctx, "SET SESSION sql_mode = ''"); err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	const most = 500                     // rows in one statement: MySQL takes 65,535 parameters
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	for batch := range slices.Chunk(rows, most) {
		query := "INSERT INTO " + table + " (`" + strings.Join(columns, "`,`") + "`) VALUES " +
			strings.TrimSuffix(strings.Repeat(one+",", len(batch)), ",")
		if _, err := tx.ExecContext(ctx, query, slices.Concat(batch...)...); err != nil {
			return fmt.Errorf("write %d rows of %s: %w", len(batch), table, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write %s: %w", table, err)
	}
	return nil
}
