// Package php holds values the way a PHP program has them: one ordered array for lists and maps, numbers and texts that turn into each
// other, query strings with brackets. A Bitrix24 portal is such a program, and much of its behaviour on the wire follows from this alone.
//
// A value is nil, bool, int64, float64, string or *Array. Answers may also hold int and any other type that encoding/json can write.
package php

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Array is a PHP array: an ordered map whose keys are texts, "0", "1"… in a list. The zero value is empty and ready to use; a nil *Array reads
// as an empty one. It is searched from the front, since those of a REST call are short.
type Array struct {
	keys  []string
	vals  []any
	named bool // the keys are not 0, 1, 2…
}

// Map makes an array of keys and values in turn. It panics on a key that is no string, which is a mistake in the calling code.
func Map(pairs ...any) *Array {
	a := &Array{keys: make([]string, 0, len(pairs)/2), vals: make([]any, 0, len(pairs)/2)}
	for i := 0; i+1 < len(pairs); i += 2 {
		a.push(pairs[i].(string), pairs[i+1])
	}
	return a
}

// List makes an array with the keys 0, 1, 2…
func List[T any](vals ...T) *Array {
	a := &Array{}
	for _, v := range vals {
		a.Append(v)
	}
	return a
}

// From turns what Go code would write, maps and slices of any, into a value. The keys of a Go map come in alphabetical order.
func From(v any) any {
	switch v := v.(type) {
	case map[string]any:
		a := &Array{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			a.Set(k, From(v[k]))
		}
		return a
	case map[string]string:
		a := &Array{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			a.Set(k, v[k])
		}
		return a
	case []any:
		a := &Array{}
		for _, e := range v {
			a.Append(From(e))
		}
		return a
	case []string:
		return List(v...)
	case []int:
		return List(v...)
	case []int64:
		return List(v...)
	case int:
		return int64(v)
	}
	return v
}

// Plain turns a value into what encoding/json would decode its JSON to, but for integers, which are int64.
func Plain(v any) any {
	switch v := v.(type) {
	case *Array:
		if v.IsList() {
			list := make([]any, 0, v.Len())
			for _, e := range v.All() {
				list = append(list, Plain(e))
			}
			return list
		}
		m := make(map[string]any, v.Len())
		for k, e := range v.All() {
			m[k] = Plain(e)
		}
		return m
	case int:
		return int64(v)
	}
	return v
}

// Len is the number of elements.
func (a *Array) Len() int {
	if a == nil {
		return 0
	}
	return len(a.keys)
}

// All yields the elements in order.
func (a *Array) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		if a == nil {
			return
		}
		for i, k := range a.keys {
			if !yield(k, a.vals[i]) {
				return
			}
		}
	}
}

// Lookup finds an element.
func (a *Array) Lookup(key string) (any, bool) {
	if a != nil {
		if i := slices.Index(a.keys, key); i >= 0 {
			return a.vals[i], true
		}
	}
	return nil, false
}

// Get finds an element, nil if there is none.
func (a *Array) Get(key string) any {
	v, _ := a.Lookup(key)
	return v
}

// Param finds an element whatever the case of its key, the way REST methods read the names of their parameters: the last one, if several
// differ in case only.
func (a *Array) Param(key string) (found any, ok bool) {
	for k, v := range a.All() {
		if strings.EqualFold(k, key) {
			found, ok = v, true
		}
	}
	return found, ok
}

// Set stores an element under a key, at the end if the key is new.
func (a *Array) Set(key string, v any) {
	if i := slices.Index(a.keys, key); i >= 0 {
		a.vals[i] = v
		return
	}
	a.push(key, v)
}

func (a *Array) push(key string, v any) {
	a.named = a.named || key != strconv.Itoa(len(a.keys))
	a.keys = append(a.keys, key)
	a.vals = append(a.vals, v)
}

// Append stores an element under the next number.
func (a *Array) Append(v any) {
	if !a.named {
		a.push(strconv.Itoa(len(a.keys)), v)
		return
	}
	next := 0
	for _, k := range a.keys {
		if n, err := strconv.Atoi(k); err == nil && n >= next {
			next = n + 1
		}
	}
	a.Set(strconv.Itoa(next), v)
}

// IsList reports whether the keys are 0, 1, 2… in this order, as in an empty array.
func (a *Array) IsList() bool { return a == nil || !a.named }

// MarshalJSON writes a list as a JSON array and anything else as an object. So an empty map is written as [], as PHP does.
func (a *Array) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	list := a.IsList()
	open, end := byte('{'), byte('}')
	if list {
		open, end = '[', ']'
	}
	b.WriteByte(open)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	first := true
	for k, v := range a.All() {
		if !first {
			b.WriteByte(',')
		}
		first = false
		if !list {
			if err := enc.Encode(k); err != nil {
				return nil, err
			}
			b.WriteByte(':')
		}
		if err := enc.Encode(v); err != nil {
			return nil, err
		}
	}
	b.WriteByte(end)
	return b.Bytes(), nil
}
