package bitrix24

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

// The types here read what PHP writes: an empty map as [], a list with holes as a map, numbers as strings, and null or false for nothing.
// A value of another shape reads as nothing, and whoever needs the value says that it is missing.

// text is a string, or a number as it is written.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(t))
	case 'n', 'f', 't', '[', '{':
		return nil
	}
	*t = text(b)
	return nil
}

// number is a whole number, or a text of one.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	var f decimal
	*n = 0
	s := strings.Trim(string(b), `"`)
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		*n = number(i)
		return nil
	}
	if err := f.UnmarshalJSON(b); err != nil {
		return err
	}
	if f == decimal(math.Trunc(float64(f))) && math.Abs(float64(f)) < 1<<53 {
		*n = number(f)
	}
	return nil
}

// decimal is a number, or a text of one.
type decimal float64

func (d *decimal) UnmarshalJSON(b []byte) error {
	*d = 0
	f, err := strconv.ParseFloat(strings.TrimSpace(strings.Trim(string(b), `"`)), 64)
	if err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
		*d = decimal(f)
	}
	return nil
}

// flag is a truth value: true, 1, "Y".
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	switch strings.ToLower(strings.Trim(string(b), `"`)) {
	case "true", "1", "y", "yes":
		*f = true
	default:
		*f = false
	}
	return nil
}

// object is a map of known members; anything else reads as an empty one.
type object[T any] struct{ v T }

func (o *object[T]) UnmarshalJSON(b []byte) error {
	var zero T
	o.v = zero
	if b[0] != '{' {
		return nil
	}
	return json.Unmarshal(b, &o.v)
}

// table is a map by name; an array is one whose names are its places.
type table[T any] map[string]T

func (t *table[T]) UnmarshalJSON(b []byte) error {
	*t = nil
	switch b[0] {
	case '{':
		return json.Unmarshal(b, (*map[string]T)(t))
	case '[':
		var items []T
		if err := json.Unmarshal(b, &items); err != nil {
			return err
		}
		*t = make(table[T], len(items))
		for i, item := range items {
			(*t)[strconv.Itoa(i)] = item
		}
	}
	return nil
}

// list is an array; a map is one in the order it is written.
type list[T any] []T

func (l *list[T]) UnmarshalJSON(b []byte) error {
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

// timing is the member time of an answer.
type timing struct {
	Finish    decimal `json:"finish"` // Unix time of the portal's clock
	Duration  decimal `json:"duration"`
	Operating decimal `json:"operating"` // seconds of this method in the window
	ResetAt   decimal `json:"operating_reset_at"`
}

// reset gives how long a method at its limit rests, by the portal's own clock.
func (t timing) reset() time.Duration {
	if t.ResetAt <= t.Finish || t.Finish <= 0 {
		return operatingMinute
	}
	return time.Duration(min(float64(t.ResetAt-t.Finish), operatingWindow)*float64(time.Second)) + time.Second
}

// answer is what the portal sends back for any method.
type answer struct {
	Result      json.RawMessage `json:"result"`
	Error       *text           `json:"error"`
	Description text            `json:"error_description"`
	Total       number          `json:"total"`
	Time        object[timing]  `json:"time"`
}

var errNoJSON = errors.New("the answer is no JSON object")

// decodeAnswer reads an answer. A byte order mark, which self-hosted portals are known to send, is no error.
func decodeAnswer(body []byte) (answer, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf")))
	var a answer
	if len(body) == 0 || body[0] != '{' {
		return a, errNoJSON
	}
	err := json.Unmarshal(body, &a)
	return a, err
}

// failed reports whether an answer tells of an error. Some methods send an empty error code with only a description.
func (a answer) failed(status int) bool {
	return status >= 400 || a.Error != nil && (*a.Error != "" || a.Result == nil)
}

func (a answer) code() string {
	if a.Error == nil {
		return ""
	}
	return string(*a.Error)
}

// words gives all texts inside a value, for messages that come as a text, a list or a map.
func words(raw json.RawMessage) string {
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

// page gives the first words of a page that came instead of an answer, for people.
func page(body []byte) string {
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

// moment reads a time of the portal: ISO 8601 with an offset, never without.
func moment(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05-0700", "2006-01-02 15:04:05-07:00", "2006-01-02 15:04:05-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is no time with an offset", s)
}
