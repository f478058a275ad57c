package emulator

import (
	"slices"
	"strings"
	"time"

	"sverka/internal/emulator/php"
)

// fieldKind says how values of a field are compared.
type fieldKind int

const (
	text    fieldKind = iota + 1 // as MySQL does: without regard to case
	integer                      // also for decimals
	date
	flag
)

// condition is one entry of a filter. Values are string (lower case), float64, int64 (unix seconds) or bool after the kind of the field.
type condition struct {
	op    string
	field string
	kind  fieldKind
	vals  []any // nil stands for empty
	bad   bool  // a value that no row can match
}

// operators that the portal's filters know; longer ones first, so that a prefix is not taken for the whole.
var (
	statisticOperators = []string{"!><", "><", ">=", "<=", "!=", "!%", ">", "<", "!", "?", "=", "%"}
	listOperators      = []string{"!=%", "!%=", ">=", "<=", "!=", "!@", "!%", "=%", "%=", ">", "<", "@", "%", "=", "!"}
)

// parseFilter reads a filter. Fields and operators that the portal does not know are dropped without a word, as the portal does: a misspelt
// filter finds everything. Their names come back in dropped.
func parseFilter(filter any, operators []string, fields map[string]fieldKind, zone *time.Location) (conds []condition, dropped []string) {
	f, _ := filter.(*php.Array)
	for key, v := range f.All() {
		op, field := key, ""
		if i := strings.IndexFunc(key, isLetter); i >= 0 {
			op, field = key[:i], key[i:]
		}
		kind, known := fields[field]
		if !known || op != "" && !slices.Contains(operators, op) {
			dropped = append(dropped, key)
			continue
		}
		c := condition{op: op, field: field, kind: kind}
		vals, ok := v.(*php.Array)
		if !ok {
			vals = php.List(v)
		} else if vals.Len() == 0 {
			vals = php.List("")
		}
		for _, v := range vals.All() {
			c.add(v, zone)
		}
		conds = append(conds, c)
	}
	return conds, dropped
}

func isLetter(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' }

func (c *condition) add(v any, zone *time.Location) {
	s := php.Text(v)
	if s == "" && c.kind != flag {
		c.vals = append(c.vals, nil)
		return
	}
	switch c.kind {
	case text:
		c.vals = append(c.vals, strings.ToLower(s))
	case integer:
		c.vals = append(c.vals, php.Float(v))
	case flag:
		c.vals = append(c.vals, php.Flag(v))
	case date:
		t, err := parseTime(s, zone)
		if err != nil {
			c.bad = true
			return
		}
		c.vals = append(c.vals, t.Unix())
	}
}

// match compares a row's value: string, int64, float64, int, time.Time, bool, nil, or []string for a field with several values.
func (c *condition) match(v any) bool {
	if many, ok := v.([]string); ok {
		neg := strings.HasPrefix(c.op, "!")
		one := *c
		one.op = strings.TrimPrefix(c.op, "!")
		if len(many) == 0 {
			return one.match("") != neg
		}
		return slices.ContainsFunc(many, func(s string) bool { return one.match(s) }) != neg
	}
	op, neg := strings.CutPrefix(c.op, "!")
	if c.bad {
		return neg
	}
	x := c.norm(v)
	switch op {
	case "", "=", "@":
		return slices.ContainsFunc(c.vals, func(w any) bool { return same(x, w) }) != neg
	case "%", "?":
		return slices.ContainsFunc(c.vals, func(w any) bool {
			return strings.Contains(strings.ToLower(php.Text(v)), strings.ToLower(php.Text(w)))
		}) != neg
	case "=%", "%=":
		return slices.ContainsFunc(c.vals, func(w any) bool { return like(strings.ToLower(php.Text(v)), strings.ToLower(php.Text(w))) }) != neg
	case "><":
		return (len(c.vals) >= 2 && order(x, c.vals[0]) >= 0 && order(x, c.vals[1]) <= 0) != neg
	}
	// NULL is neither greater nor less than anything.
	if x == nil || len(c.vals) == 0 || c.vals[0] == nil {
		return false
	}
	o := order(x, c.vals[0])
	switch op {
	case ">":
		return o > 0
	case ">=":
		return o >= 0
	case "<":
		return o < 0
	}
	return o <= 0
}

// norm brings a row's value into the form that the condition's values have.
func (c *condition) norm(v any) any {
	if v == nil || v == "" {
		return nil
	}
	switch c.kind {
	case integer:
		return php.Float(v)
	case flag:
		return php.Flag(v)
	case date:
		if t, ok := v.(time.Time); ok {
			return t.Unix()
		}
		return nil
	}
	return strings.ToLower(php.Text(v))
}

func same(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return order(a, b) == 0
}

// order compares two values of one kind; nil comes first, as NULL does in MySQL.
func order(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch a := a.(type) {
	case int64:
		if b, ok := b.(int64); ok {
			return int(max(-1, min(1, a-b)))
		}
	case bool:
		if b, ok := b.(bool); ok && a == b {
			return 0
		}
		return 1
	case string:
		return strings.Compare(a, php.Text(b))
	}
	x, y := php.Float(a), php.Float(b)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// like is SQL's LIKE with % for any text.
func like(s, pattern string) bool {
	parts := strings.Split(pattern, "%")
	if len(parts) == 1 {
		return s == pattern
	}
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, last)
}

// parseTime reads an ISO-8601 date, in the zone of the server when it names none.
func parseTime(s string, zone *time.Location) (time.Time, error) {
	var first error
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		t, err := time.ParseInLocation(layout, s, zone)
		if err == nil {
			return t.In(zone).Truncate(time.Second), nil
		}
		if first == nil {
			first = err
		}
	}
	return time.Time{}, first
}

const iso = "2006-01-02T15:04:05-07:00"

// page cuts one page of 50 out of found, and says where the next one starts. start below zero asks for no counting.
const pageSize = 50

func page[T any](found []T, start int64) (rows []T, total, next int) {
	if start < 0 {
		return found[:min(pageSize, len(found))], 0, 0
	}
	total = len(found)
	from := int(min(start, int64(total)))
	to := min(from+pageSize, total)
	if to < total {
		next = to
	}
	return found[from:to], total, next
}
