package emulator

import (
	"cmp"
	"slices"
	"sort"
	"strings"
	"time"

	"sverka/internal/emulator/php"
)

// Call is one row of the call statistics.
type Call struct {
	ID           int64 // numbered in the order of finish
	CallID       string
	ExternalID   string
	UserID       int
	Phone        string
	Line         string // PORTAL_NUMBER: the line, or REST_APP: without one
	Type         int
	Start        time.Time // in the zone of the server, whole seconds
	Duration     int       // seconds
	Status       string    // CALL_FAILED_CODE
	Reason       string
	Cost         float64
	Currency     string
	Vote         int    // 0: none
	EntityType   string // LEAD, CONTACT, COMPANY or ""
	EntityID     int64
	ActivityID   int64  // 0: none
	RecordFileID int64  // 0: no recording
	RecordURL    string // where the portal fetched the recording
	TranscriptID int64  // 0: none
	Comment      string
	AppID        string // "": a webhook
	AppName      string
	InChat       bool // a message went to the employee's chat
	Missed       bool // counts among the missed calls
	CalledBack   bool // a missed call that was called back later
}

// statistics keep the rows with the indexes that the portal's table has.
type statistics struct {
	rows       []*Call // by ID
	byStart    []*Call // by Start
	byCall     map[string][]*Call
	byExternal map[string][]*Call
	missed     map[string][]*Call // by normal phone: not called back yet
	last       int64
}

func newStatistics() statistics {
	return statistics{byCall: map[string][]*Call{}, byExternal: map[string][]*Call{}, missed: map[string][]*Call{}}
}

func (s *statistics) insert(c *Call) {
	s.last = max(s.last, c.ID)
	s.rows = slices.Insert(s.rows, s.from(c.ID), c)
	s.byStart = slices.Insert(s.byStart, sort.Search(len(s.byStart), func(i int) bool { return s.byStart[i].Start.After(c.Start) }), c)
	s.byCall[strings.ToLower(c.CallID)] = append(s.byCall[strings.ToLower(c.CallID)], c)
	if c.ExternalID != "" {
		s.byExternal[strings.ToLower(c.ExternalID)] = append(s.byExternal[strings.ToLower(c.ExternalID)], c)
	}
	phone := normalPhone(c.Phone)
	switch {
	case c.Missed:
		s.missed[phone] = append(s.missed[phone], c)
	case c.Type == outgoing && c.Status == statusOK:
		for _, m := range s.missed[phone] {
			m.CalledBack = true
		}
		delete(s.missed, phone)
	}
}

// from is the place of the first row whose ID is at least id.
func (s *statistics) from(id int64) int {
	return sort.Search(len(s.rows), func(i int) bool { return s.rows[i].ID >= id })
}

// find gives the row of a call, nil if it is not finished.
func (s *statistics) find(callID string) *Call {
	if found := s.byCall[strings.ToLower(callID)]; len(found) > 0 {
		return found[0]
	}
	return nil
}

var statisticFields = map[string]fieldKind{
	"ID": integer, "CALL_ID": text, "EXTERNAL_CALL_ID": text, "CALL_CATEGORY": text, "PORTAL_USER_ID": integer, "PORTAL_NUMBER": text,
	"PHONE_NUMBER": text, "CALL_TYPE": integer, "CALL_DURATION": integer, "CALL_START_DATE": date, "CALL_LOG": text, "CALL_RECORD_URL": text,
	"CALL_VOTE": integer, "COST": integer, "COST_CURRENCY": text, "CALL_FAILED_CODE": text, "CALL_FAILED_REASON": text, "CRM_ENTITY_TYPE": text,
	"CRM_ENTITY_ID": integer, "CRM_ACTIVITY_ID": integer, "REST_APP_ID": integer, "REST_APP_NAME": text, "TRANSCRIPT_ID": integer,
	"TRANSCRIPT_PENDING": text, "SESSION_ID": integer, "REDIAL_ATTEMPT": integer, "COMMENT": text, "RECORD_DURATION": integer,
	// Not documented, known to the portal's source.
	"CALL_WEBDAV_ID": integer, "CALL_RECORD_ID": integer, "HAS_RECORD": text, "CALL_STATUS": integer, "INCOMING": integer,
}

func (c *Call) field(name string) any {
	switch name {
	case "ID":
		return c.ID
	case "CALL_ID":
		return c.CallID
	case "EXTERNAL_CALL_ID":
		return c.ExternalID
	case "CALL_CATEGORY":
		return "external"
	case "PORTAL_USER_ID":
		return int64(c.UserID)
	case "PORTAL_NUMBER":
		return c.Line
	case "PHONE_NUMBER":
		return c.Phone
	case "CALL_TYPE", "INCOMING":
		return int64(c.Type)
	case "CALL_DURATION":
		return int64(c.Duration)
	case "CALL_START_DATE":
		return c.Start
	case "CALL_RECORD_URL":
		return c.RecordURL
	case "CALL_VOTE":
		return some(int64(c.Vote))
	case "COST":
		return c.Cost
	case "COST_CURRENCY":
		return c.Currency
	case "CALL_FAILED_CODE":
		return c.Status
	case "CALL_FAILED_REASON":
		return c.Reason
	case "CRM_ENTITY_TYPE":
		return c.EntityType
	case "CRM_ENTITY_ID":
		return some(c.EntityID)
	case "CRM_ACTIVITY_ID":
		return some(c.ActivityID)
	case "REST_APP_ID":
		return c.AppID
	case "REST_APP_NAME":
		return c.AppName
	case "TRANSCRIPT_PENDING":
		return "N"
	case "TRANSCRIPT_ID":
		return some(c.TranscriptID)
	case "COMMENT":
		return c.Comment
	case "CALL_WEBDAV_ID", "CALL_RECORD_ID":
		return some(c.RecordFileID)
	case "HAS_RECORD":
		if c.RecordFileID != 0 {
			return "Y"
		}
		return "N"
	case "CALL_STATUS":
		return int64(talked(c.Duration))
	}
	return nil
}

// some is nil for zero, which the table holds as NULL.
func some(n int64) any {
	if n == 0 {
		return nil
	}
	return n
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func numberOrNull(n int64) any {
	if n == 0 {
		return nil
	}
	return itoa(n)
}

// row is a call as voximplant.statistic.get shows it: texts and nulls, but for RECORD_FILE_ID.
func (c *Call) row() *php.Array {
	return php.Map(
		"ID", itoa(c.ID),
		"PORTAL_USER_ID", itoa(int64(c.UserID)),
		"PORTAL_NUMBER", c.Line,
		"PHONE_NUMBER", c.Phone,
		"CALL_ID", c.CallID,
		"EXTERNAL_CALL_ID", textOrNull(c.ExternalID),
		"CALL_CATEGORY", "external",
		"CALL_LOG", nil,
		"CALL_DURATION", itoa(int64(c.Duration)),
		"CALL_START_DATE", c.Start.Format(iso),
		"CALL_RECORD_URL", textOrNull(c.RecordURL),
		"CALL_VOTE", numberOrNull(int64(c.Vote)),
		"COST", decimal(c.Cost),
		"COST_CURRENCY", c.Currency,
		"CALL_FAILED_CODE", c.Status,
		"CALL_FAILED_REASON", c.Reason,
		"CRM_ENTITY_TYPE", textOrNull(c.EntityType),
		"CRM_ENTITY_ID", numberOrNull(c.EntityID),
		"CRM_ACTIVITY_ID", numberOrNull(c.ActivityID),
		"REST_APP_ID", textOrNull(c.AppID),
		"REST_APP_NAME", textOrNull(c.AppName),
		"TRANSCRIPT_ID", numberOrNull(c.TranscriptID),
		"TRANSCRIPT_PENDING", "N",
		"SESSION_ID", nil,
		"REDIAL_ATTEMPT", nil,
		"COMMENT", textOrNull(c.Comment),
		"RECORD_DURATION", nil,
		"RECORD_FILE_ID", some(c.RecordFileID),
		"CALL_TYPE", itoa(int64(c.Type)),
	)
}

// span is a part of a sorted index.
type span struct{ lo, hi int }

func (s span) cut(o span) span { return span{max(s.lo, o.lo), max(max(s.lo, o.lo), min(s.hi, o.hi))} }
func (s span) size() int       { return s.hi - s.lo }

// candidates gives rows in order of ID among which all are that match: those of the index that leaves the fewest.
func (s *statistics) candidates(conds []condition) []*Call {
	ids, starts := span{0, len(s.rows)}, span{0, len(s.byStart)}
	var keyed []*Call
	byKey := false
	for _, c := range conds {
		switch c.field {
		case "CALL_ID", "EXTERNAL_CALL_ID":
			index := s.byCall
			if c.field == "EXTERNAL_CALL_ID" {
				index = s.byExternal
			}
			if found, ok := fromMap(index, c); ok && (!byKey || len(found) < len(keyed)) {
				keyed, byKey = found, true
			}
		case "ID":
			if (c.op == "" || c.op == "=") && !byKey {
				var found []*Call
				for _, v := range c.vals {
					id := php.Int(v)
					if i := s.from(id); i < len(s.rows) && s.rows[i].ID == id {
						found = append(found, s.rows[i])
					}
				}
				keyed, byKey = found, true
				continue
			}
			ids = ids.cut(within(c, len(s.rows), func(i int, v any) int { return order(float64(s.rows[i].ID), v) }))
		case "CALL_START_DATE":
			starts = starts.cut(within(c, len(s.byStart), func(i int, v any) int { return order(s.byStart[i].Start.Unix(), v) }))
		}
	}
	var found []*Call
	switch {
	case byKey:
		found = keyed
	case starts.size() < ids.size():
		found = slices.Clone(s.byStart[starts.lo:starts.hi])
	default:
		return s.rows[ids.lo:ids.hi]
	}
	slices.SortFunc(found, byID)
	return slices.Compact(found)
}

func byID(a, b *Call) int { return cmp.Compare(a.ID, b.ID) }

// fromMap answers an equality from an index, and says whether it could.
func fromMap(index map[string][]*Call, c condition) ([]*Call, bool) {
	if c.op != "" && c.op != "=" || slices.Contains(c.vals, nil) {
		return nil, false
	}
	var found []*Call
	for _, v := range c.vals {
		found = append(found, index[php.Text(v)]...)
	}
	return found, true
}

// within is the part of a sorted index of n places that a condition can match; all of it when the condition bounds nothing.
func within(c condition, n int, compare func(i int, v any) int) span {
	all := span{0, n}
	if c.bad || len(c.vals) == 0 || slices.Contains(c.vals, nil) {
		return all
	}
	first := func(v any) int { return sort.Search(n, func(i int) bool { return compare(i, v) >= 0 }) }
	after := func(v any) int { return sort.Search(n, func(i int) bool { return compare(i, v) > 0 }) }
	v := c.vals[0]
	switch c.op {
	case "", "=":
		if len(c.vals) == 1 {
			return all.cut(span{first(v), after(v)})
		}
	case ">":
		return span{after(v), n}
	case ">=":
		return span{first(v), n}
	case "<":
		return span{0, first(v)}
	case "<=":
		return span{0, after(v)}
	case "><":
		if len(c.vals) > 1 {
			return all.cut(span{first(v), after(c.vals[1])})
		}
	}
	return all
}

func statisticGet(p *Portal, q *query) (answer, error) {
	conds, dropped := parseFilter(q.arg("FILTER"), statisticOperators, statisticFields, p.zone)
	p.noteDropped("voximplant.statistic.get", dropped)
	if p.rules.OwnCalls && !q.by.admin() {
		conds = append(conds, condition{field: "PORTAL_USER_ID", kind: integer, vals: []any{float64(q.by.user)}})
	}
	// SORT and ORDER are needed both, in upper case; otherwise the rows come as they lie in the table.
	field, direction := q.text("SORT"), q.text("ORDER")
	kind, sorted := statisticFields[field]
	sorted = sorted && field != "CALL_TYPE" && (direction == "ASC" || direction == "DESC")

	start := q.start()
	enough := -1
	if start < 0 && (!sorted || field == "ID" && direction == "ASC") {
		enough = pageSize
	}
	rows := p.stats.candidates(conds)
	var found []*Call
	scanned := 0
	for _, c := range rows {
		if len(found) == enough {
			break
		}
		scanned++
		if !slices.ContainsFunc(conds, func(k condition) bool { return !k.match(c.field(k.field)) }) {
			found = append(found, c)
		}
	}
	if sorted {
		k := condition{kind: kind}
		slices.SortStableFunc(found, func(a, b *Call) int {
			o := order(k.norm(a.field(field)), k.norm(b.field(field)))
			if direction == "DESC" {
				return -o
			}
			return o
		})
	}
	rows, total, next := page(found, start)
	out := &php.Array{}
	for _, c := range rows {
		out.Append(c.row())
	}
	const perRow = 5e-6 // seconds that the portal works on a row it looks at
	return answer{result: out, counted: true, total: total, next: next, work: perRow * float64(scanned)}, nil
}
