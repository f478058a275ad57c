package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Text is a string, or a number as it is written.
type Text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case 'n', 'f', 't', '[', '{':
		return nil
	}
	*t = Text(b)
	return nil
}

// Number is a whole number, or a text of one.
type Number int64

// UnmarshalJSON implements json.Unmarshaler.
func (n *Number) UnmarshalJSON(b []byte) error {
	var f Decimal
	*n = 0
	s := strings.Trim(string(b), `"`)
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = Number(i)
		return nil
	}
	if err := f.UnmarshalJSON(b); err != nil {
		return err
	}
	if f == Decimal(math.Trunc(float64(f))) && math.Abs(float64(f)) < 1<<53 {
		*n = Number(f)
	}
	return nil
}

// Decimal is a number, or a text of one.
type Decimal float64

// UnmarshalJSON implements json.Unmarshaler.
func (d *Decimal) UnmarshalJSON(b []byte) error {
	*d = 0
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.Trim(string(b), `"`)), 64)
	if err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		*d = Decimal(f)
	}
	return nil
}

// Flag is a truth value: true, 1, "Y".
type Flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(strings.Trim(string(b), `"`)) {
	case "true", "1", "y", "yes":
		*f = true
	default:
		*f = false
	}
	return nil
}

// Object is a map of known members; anything else reads as an empty one.
type Object[T any] struct{ V T }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object[T]) UnmarshalJSON(b []byte) error {
	var zero T
	o.V = zero
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, &o.V)
}

// Table is a map by name; an array is one whose names are its places.
type Table[T any] map[string]T

// UnmarshalJSON implements json.Unmarshaler.
func (t *Table[T]) UnmarshalJSON(b []byte) error {
	*t = nil
	switch b[0] {
	case '{':
		return json.Unmarshal(b, (*map[string]T)(t))
	case '[':
		var items []T
		if err := json.Unmarshal(b, &items); err != nil {
			return err
		}
		*t = make(Table[T], len(items))
		for i, item := range items {
			(*t)[strconv.Itoa(i)] = item
		}
	}
	return nil
}

// List is an array; a map is one in the order it is written.
type List[T any] []T

// UnmarshalJSON implements json.Unmarshaler.
func (l *List[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	switch b[0] {
	case '[':
		return json.Unmarshal(b, (*[]T)(l))
	case '{':
		d := json.NewDecoder(bytes.NewReader(b))
		if _, err := d.Token(); err != nil {
			return err
		}
		for d.More() {
			if _, err := d.Token(); err != nil {
				return err
			}
			var item T
			if err := d.Decode(&item); err != nil {
				return err
			}
			*l = append(*l, item)
		}
		return nil
	case 'n', 'f':
		return nil
	}
	return fmt.Errorf("want a list, got %.20s", b)
}

// Timing is the member time of an answer.
type Timing struct {
	Finish    Decimal `json:"finish"` // Unix time of the portal's clock
	Duration  Decimal `json:"duration"`
	Operating Decimal `json:"operating"` // seconds of this method in the window
	ResetAt   Decimal `json:"operating_reset_at"`
}

// Reset gives how long it takes until the oldest minute falls out of the window, by the portal's own clock. The portal counts in minutes:
// a minute when it says nothing of use, and never more than the window of ten.
func (t Timing) Reset() time.Duration {
	if t.ResetAt <= t.Finish || t.Finish <= 0 {
		return time.Minute
	}
	return time.Duration(min(float64(t.ResetAt-t.Finish), 600)*float64(time.Second)) + time.Second
}

// Answer is what the portal sends back for any method.
type Answer struct {
	Result      json.RawMessage `json:"result"`
	Error       *Text           `json:"error"`
	Description Text            `json:"error_description"`
	Total       Number          `json:"total"`
	Time        Object[Timing]  `json:"time"`
}

var errNoJSON = errors.New("the answer is no JSON object")

// Decode reads an answer. A byte order mark, which self-hosted portals are known to send, is no error.
func Decode(body []byte) (Answer, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	var a Answer
	if len(body) == 0 || body[0] != '{' {
		return a, errNoJSON
	}
	err := json.Unmarshal(body, &a)
	return a, err
}

// Failed reports whether an answer tells of an error. Some methods send an empty error code with only a description.
func (a Answer) Failed(status int) bool {
	return status >= 400 || a.Error != nil && (*a.Error != "" || a.Result == nil)
}

// Code gives the error code, "" if there is none.
func (a Answer) Code() string {
	if a.Error == nil {
		return ""
	}
	return string(*a.Error)
}

// Words gives all texts inside a value, for messages that come as a text, a list or a map.
func Words(raw json.RawMessage) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return ""
	}
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			if v = strings.TrimSpace(v); v != "" {
				found = append(found, v)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key])
			}
		}
	}
	walk(v)
	return strings.Join(found, "; ")
}

var (
	unseen = regexp.MustCompile(`(?is)<(script|style|head)\b.*?(</(script|style|head)\s*>|$)|<!--.*?(-->|$)`)
	title  = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	tags   = regexp.MustCompile(`(?s)<[^>]*(>|$)`)
)

// Page gives the first words of a page that came instead of an answer, for people.
func Page(body []byte) string {
	const most = 160
	s := string(body[:min(len(body), 64<<10)])
	heading := ""
	if m := title.FindStringSubmatch(s); m != nil {
		heading = m[1] + " "
	}
	s = heading + tags.ReplaceAllString(unseen.ReplaceAllString(s, " "), " ")
	s = strings.Join(strings.Fields(strings.ToValidUTF8(html.UnescapeString(s), "")), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// Moment reads a time of the portal: ISO 8601 with an offset, never without.
func Moment(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time with an offset", s)
}
