package cdrdb

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sverka/cdr"
)

const (
	pageRows = 1000
	callRows = 20000 // of one call; more are no call
	// A call's rows lie this far around the epoch in its linkedid. The start is indexed everywhere, linkedid only in newer tables.
	callBefore, callAfter = 26 * time.Hour, 72 * time.Hour
	badRemembered         = 10000
)

// Rows yields the rows that start in [from, to), ordered by start, uniqueid and sequence, and stops at the first error of yield.
//
// It reads pages of 1,000 rows and holds no more than one, and no connection while yield runs. (In the one hour a year that the clock repeats
// it holds that hour, to put it in order.) Rows without a start take it from their uniqueid, if it is one of the newest 1,000 such rows.
func (d *DB) Rows(ctx context.Context, from, to time.Time, yield func(cdr.Row) error) error {
	if !from.Before(to) {
		return nil
	}
	within := func(r cdr.Row) bool { return !r.Start.Before(from) && r.Start.Before(to) }
	start := d.dialect.quote(d.rows.column["start"])
	base := "SELECT " + d.selection(d.rows) + " FROM " + d.table(d.config.Table) + " WHERE "

	var waiting []cdr.Row
	keep := func(v []text) {
		if r, ok := d.row(v); ok && within(r) {
			waiting = append(waiting, r)
		}
	}
	// Two queries: with OR the server gives up the index. The start comes first in the order, so that it is not tempted to walk the whole
	// index of uniqueids for these few rows.
	order := " ORDER BY " + start
	if d.rows.has("uniqueid") {
		order += ", " + d.dialect.quote(d.rows.column["uniqueid"]) + " DESC"
	}
	for _, undated := range []string{d.dialect.isNull, " < '1971-01-01'"} {
		if err := d.query(ctx, base+start+undated+order+" LIMIT "+strconv.Itoa(pageRows), nil, len(d.rows.fields), keep); err != nil {
			return d.wrap(ctx, "read CDR rows without a date", err)
		}
	}

	// The order within a second is made here: asking the database for it would make it sort the whole period for every page. A page ends at
	// a whole second, so that nothing between two pages is lost or read twice.
	page := base + start + " >= ? AND " + start + " < ? ORDER BY " + start + " LIMIT "
	cursor, end := d.clock.wall(from.Add(-widen)), d.clock.wall(to.Add(widen))
	for limit := pageRows; ; {
		var rows [][]text
		err := d.query(ctx, page+strconv.Itoa(limit), []any{cursor, end}, len(d.rows.fields), func(v []text) { rows = append(rows, v) })
		if err != nil {
			return d.wrap(ctx, fmt.Sprintf("read CDR rows from %s", cursor), err)
		}
		last := len(rows) < limit
		if !last {
			second := secondOf(d.value(rows[len(rows)-1], "start"))
			if second <= cursor {
				limit *= 2 // one second holds more than a page
				continue
			}
			rows = slices.DeleteFunc(rows, func(v []text) bool { return secondOf(d.value(v, "start")) >= second })
			cursor, limit = second, pageRows
		}
		for _, v := range rows {
			keep(v)
		}
		slices.SortStableFunc(waiting, compareRows)
		n := len(waiting)
		if !last {
			n = d.settled(waiting, cursor)
		}
		for _, r := range waiting[:n] {
			if err := yield(r); err != nil {
				return err
			}
		}
		waiting = slices.Delete(waiting, 0, n)
		if last {
			return nil
		}
	}
}

// settled says how many of the rows waiting no later page can come before.
func (d *DB) settled(waiting []cdr.Row, cursor string) int {
	wall, ok := d.clock.parse(cursor)
	if !ok || wall.IsZero() {
		return 0
	}
	next := d.clock.moments(wall)[0]
	n, _ := slices.BinarySearchFunc(waiting, next, func(r cdr.Row, t time.Time) int { return r.Start.Compare(t) })
	return n
}

// secondOf cuts a wall time to its second.
func secondOf(wall string) string {
	if len(wall) > len(wallForm) {
		return wall[:len(wallForm)]
	}
	return wall
}

func compareRows(a, b cdr.Row) int {
	return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.UniqueID, b.UniqueID), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.ID, b.ID))
}

// Call gives the rows of one linkedid in the same order, none if there is no such call.
func (d *DB) Call(ctx context.Context, linkedid string) ([]cdr.Row, error) {
	var conditions []string
	var args []any
	for _, f := range []string{"linkedid", "uniqueid"} {
		if d.rows.has(f) {
			conditions = append(conditions, d.dialect.quote(d.rows.column[f])+" = ?")
			args = append(args, linkedid)
		}
	}
	q := "SELECT " + d.selection(d.rows) + " FROM " + d.table(d.config.Table) + " WHERE (" + strings.Join(conditions, " OR ") + ")"
	limit := " LIMIT " + strconv.Itoa(callRows)
	var rows []cdr.Row
	keep := func(v []text) {
		if r, ok := d.row(v); ok && r.LinkedID == linkedid {
			rows = append(rows, r)
		}
	}
	if epoch, ok := cdr.Epoch(linkedid); ok {
		start := d.dialect.quote(d.rows.column["start"])
		near := append(slices.Clone(args), d.clock.wall(epoch.Add(-callBefore)), d.clock.wall(epoch.Add(callAfter)))
		if err := d.query(ctx, q+" AND "+start+" >= ? AND "+start+" < ?"+limit, near, len(d.rows.fields), keep); err != nil {
			return nil, d.wrap(ctx, "read CDR rows of "+linkedid, err)
		}
	}
	if len(rows) == 0 { // rows without a date, or an id without an epoch
		if err := d.query(ctx, q+limit, args, len(d.rows.fields), keep); err != nil {
			return nil, d.wrap(ctx, "read CDR rows of "+linkedid, err)
		}
	}
	slices.SortStableFunc(rows, compareRows)
	return rows, nil
}

// value gives a field of a row, "" where the table has none.
func (d *DB) value(v []text, name string) string {
	if i := slices.Index(d.rows.fields, name); i >= 0 {
		return v[i].s
	}
	return ""
}

// row makes a row of what the database gave. It is false for one that cannot even be told apart, of which OnBad is told.
func (d *DB) row(v []text) (cdr.Row, bool) {
	get := func(name string) string { return d.value(v, name) }
	r := cdr.Row{
		UniqueID: get("uniqueid"), LinkedID: get("linkedid"),
		Src: get("src"), Dst: get("dst"), CallerID: get("callerid"), CallerNum: get("callernum"), Context: get("context"),
		Channel: get("channel"), DstChannel: get("dstchannel"), LastApp: get("lastapp"), LastData: get("lastdata"),
		Disposition: get("disposition"), DID: get("did"), Recording: get("recording"),
		UserField: get("userfield"), AccountCode: get("accountcode"), PeerAccount: get("peeraccount"),
		FromAccount: get("fromaccount"), ToAccount: get("toaccount"), DialStatus: get("dialstatus"), App: get("app") == "1",
	}
	if r.LinkedID == "" {
		r.LinkedID = r.UniqueID
	}
	if r.UniqueID == "" {
		r.UniqueID = r.LinkedID
	}
	if dst := get("realdst"); dst != "" && (r.Dst == "" || r.Dst == "s") {
		r.Dst = dst
	}
	if r.Recording == "none" || r.Recording == "-" {
		r.Recording = ""
	}
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	for i, t := range v {
		if t.broken {
			problem("row %s: %s is no valid text", r.UniqueID, d.rows.fields[i])
		}
	}
	number := func(name string) int64 {
		s := get(name)
		if s == "" {
			return 0
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(s, 64); err == nil && f > -1e15 && f < 1e15 {
			return int64(f)
		}
		problem("row %s: %s is %q, no number", r.UniqueID, name, s)
		return 0
	}
	r.ID, r.Sequence = number("id"), number("sequence")
	r.Duration, r.BillSec = int(number("duration")), int(number("billsec"))

	key := strings.TrimSpace(get("start") + " " + r.UniqueID)
	if r.ID != 0 {
		key = fmt.Sprintf("%s id %d", key, r.ID)
	}
	if r.LinkedID == "" {
		d.tellBad(key, fmt.Errorf("CDR row %s: it has neither uniqueid nor linkedid", key))
		return r, false
	}
	wall, ok := d.clock.parse(get("start"))
	if !ok || wall.IsZero() {
		epoch, found := cdr.Epoch(r.UniqueID)
		if !found {
			d.tellBad(key, fmt.Errorf("CDR row %s: its start is %q and its uniqueid tells none", key, get("start")))
			return r, false
		}
		r.Start = epoch.In(d.config.Zone)
		problem("row %s: its start is %q; taken from uniqueid", r.UniqueID, get("start"))
	} else {
		r.Start = d.clock.start(wall, r.UniqueID, r.LinkedID)
	}
	over := r.Start.Add(time.Duration(max(r.Duration, 0)) * time.Second)
	for _, f := range []struct {
		name  string
		into  *time.Time
		about time.Time // where the lengths put it
	}{{"answer", &r.Answer, over.Add(-time.Duration(max(r.BillSec, 0)) * time.Second)}, {"end", &r.End, over}} {
		wall, ok := d.clock.parse(get(f.name))
		switch {
		case !ok:
			problem("row %s: %s is %q, no time", r.UniqueID, f.name, get(f.name))
		case !wall.IsZero():
			*f.into = d.clock.nearest(wall, f.about)
		}
	}
	return r, true
}

// tellBad tells OnBad of a row once, however often it is read again.
func (d *DB) tellBad(key string, err error) {
	d.mu.Lock()
	told := d.bad[key] || len(d.bad) >= badRemembered
	if !told {
		d.bad[key] = true
	}
	d.mu.Unlock()
	if !told && d.config.OnBad != nil {
		d.config.OnBad(key, err)
	}
}
