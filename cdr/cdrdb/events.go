package cdrdb

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"sverka/cdr"
)

const eventCalls = 200 // calls whose events are read in one query

// Events gives the channel events of some calls by linkedid, each in the order of the table. It gives nil where there is no table of events.
func (d *DB) Events(ctx context.Context, linkedids []string) (map[string][]cdr.Event, error) {
	if len(d.events.fields) == 0 {
		return nil, nil
	}
	byCall := make(map[string][]cdr.Event, len(linkedids))
	order := "time"
	if d.events.has("id") {
		order = "id"
	}
	q := "SELECT " + d.selection(d.events) + " FROM " + d.table(d.config.CEL) +
		" WHERE " + d.dialect.quote(d.events.column["linkedid"]) + " IN (%) ORDER BY " + d.dialect.quote(d.events.column[order])
	for ids := range slices.Chunk(linkedids, eventCalls) {
		args := make([]any, 0, len(ids))
		for _, id := range ids {
			args = append(args, id)
		}
		marks := strings.TrimSuffix(strings.Repeat("?,", len(ids)), ",")
		err := d.query(ctx, strings.Replace(q, "%", marks, 1), args, len(d.events.fields), func(v []text) {
			if e, ok := d.event(v); ok {
				byCall[e.LinkedID] = append(byCall[e.LinkedID], e)
			}
		})
		if err != nil {
			return nil, d.wrap(ctx, "read channel events", err)
		}
	}
	return byCall, nil
}

// event makes an event of what the database gave. One without a time tells nothing.
func (d *DB) event(v []text) (cdr.Event, bool) {
	get := func(name string) string {
		if i := slices.Index(d.events.fields, name); i >= 0 {
			return v[i].s
		}
		return ""
	}
	e := cdr.Event{
		Type: get("type"), UniqueID: get("uniqueid"), LinkedID: get("linkedid"), Channel: get("channel"), App: get("app"),
		Exten: get("exten"), Context: get("context"), Peer: get("peer"), Extra: get("extra"),
	}
	when := get("time")
	if wall, ok := d.clock.parse(when); ok && !wall.IsZero() {
		e.Time = d.clock.start(wall, e.UniqueID, e.LinkedID)
		return e, true
	}
	// cel_sqlite3_custom writes the epoch unless it is told a format.
	sec, err := strconv.ParseFloat(when, 64)
	if err != nil || sec < 1e8 || sec > 1e11 {
		return e, false
	}
	e.Time = time.UnixMicro(int64(sec * 1e6)).In(d.config.Zone)
	return e, true
}
