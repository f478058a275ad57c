package web

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sverka/internal/portal"
)

// Bounds of a form. An event of the portal has some 20 fields of at most three levels.
const (
	maxBody   = 64 << 10
	maxKeys   = 200
	maxLevels = 8
)

// form is what the portal posts to a handler: PHP's nested keys, auth[application_token], by path: auth.application_token.
type form map[string]string

var (
	errTooManyKeys = errors.New("more fields than any event has")
	errBadForm     = errors.New("no form that can be read")
)

// readForm reads a form-encoded body. Keys that PHP would not understand are left out; the last value of a key is taken, as PHP does.
func readForm(body string) (form, error) {
	if strings.Count(body, "&") >= maxKeys {
		return nil, errTooManyKeys
	}
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, errBadForm
	}
	f := make(form, len(values))
	for key, list := range values {
		if path, ok := pathOf(key); ok {
			f[path] = list[len(list)-1]
		}
	}
	return f, nil
}

// pathOf gives data.FIELDS.ID for data[FIELDS][ID].
func pathOf(key string) (string, bool) {
	name, rest, nested := strings.Cut(key, "[")
	if name == "" || strings.ContainsAny(name, "].") {
		return "", false
	}
	path := name
	for level := 0; nested; level++ {
		inner, after, closed := strings.Cut(rest, "]")
		if !closed || level >= maxLevels || strings.ContainsAny(inner, "[.") {
			return "", false
		}
		path += "." + inner
		if after == "" {
			return path, true
		}
		if rest, nested = strings.CutPrefix(after, "["); !nested {
			return "", false
		}
	}
	return path, true
}

// event gives what a form tells as an event.
func (f form) event() portal.Event {
	e := portal.Event{Name: eventName(f["event"]), Data: make(map[string]string)}
	for path, value := range f {
		if field, ok := strings.CutPrefix(path, "data."); ok {
			e.Data[field] = value
		}
	}
	if ts, err := strconv.ParseInt(f["ts"], 10, 64); err == nil && ts > 0 {
		e.At = time.Unix(ts, 0)
	}
	return e
}

// eventName gives a name in upper case, "" for what can be none: it goes into logs before its sender is known.
func eventName(name string) string {
	if name == "" || len(name) > 64 {
		return ""
	}
	name = strings.ToUpper(name)
	for _, r := range name {
		if (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' {
			return ""
		}
	}
	return name
}
