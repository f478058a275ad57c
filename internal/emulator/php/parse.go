package php

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
)

const depth = 512 // json_decode's default

var errDeep = errors.New("nested too deep")

// ParseJSON reads one JSON value and keeps the order of keys: commands of a batch run in it.
func ParseJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the value")
	}
	return v, nil
}

func parseValue(d *json.Decoder, level int) (any, error) {
	if level > depth {
		return nil, errDeep
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		a := &Array{}
		for d.More() {
			if t == '[' {
				v, err := parseValue(d, level+1)
				if err != nil {
					return nil, err
				}
				a.Append(v)
				continue
			}
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(d, level+1)
			if err != nil {
				return nil, err
			}
			a.Set(k.(string), v) // the decoder gives nothing but strings here
		}
		_, err := d.Token()
		return a, err
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	}
	return t, nil
}

// ParseQuery reads a query string as parse_str does: "a[b]=c&d[]=e" gives maps and lists, "+" is a space, broken escapes stay as they are.
func ParseQuery(s string) *Array {
	a := &Array{}
	for pair := range strings.SplitSeq(s, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		SetPath(a, unescape(k), unescape(v))
	}
	return a
}

// SetPath stores a value under a key with brackets: "a[b][]".
func SetPath(a *Array, key string, v any) {
	name, rest := key, ""
	if i := strings.IndexByte(key, '['); i > 0 && strings.IndexByte(key[i:], ']') > 0 {
		name, rest = key[:i], key[i:]
	}
	name = strings.NewReplacer(" ", "_", ".", "_", "[", "_").Replace(strings.TrimLeft(name, " "))
	if name == "" {
		return
	}
	path := []string{name}
	for strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			break
		}
		path = append(path, rest[1:end])
		rest = rest[end+1:]
	}
	for _, k := range path[:len(path)-1] {
		sub := &Array{}
		if k == "" {
			a.Append(sub)
		} else if old, ok := a.Get(k).(*Array); ok {
			sub = old
		} else {
			a.Set(k, sub)
		}
		a = sub
	}
	if k := path[len(path)-1]; k == "" {
		a.Append(v)
	} else {
		a.Set(k, v)
	}
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s):
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
			b.WriteByte('%')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
