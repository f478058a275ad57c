// Package secret keeps a text that must not be seen: a webhook's address, a token, a password.
//
// A Text prints as *** with every verb of fmt, in JSON, in YAML and in logs, so that a struct which holds one can be printed without
// thinking. Only Reveal gives the text itself, and encoding/json where a Text is the key of a map: it asks no method of a string there,
// so never key a map by one.
package secret

import (
	"fmt"
	"io"
)

const mask = "***"

// Text is a text that prints as ***. An empty one prints as "", so that a missing secret can be told from a set one.
type Text string

// Reveal gives the text itself. Its result must not reach a log, an error or an output.
func (t Text) Reveal() string { return string(t) }

// String gives ***.
func (t Text) String() string {
	if t == "" {
		return ""
	}
	return mask
}

// Format writes *** for every verb and flag: %x of a string type without it would show the bytes.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// GoString gives ***.
func (t Text) GoString() string { return t.String() }

// MarshalText gives ***, for JSON and whatever else encodes texts.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText takes the text as it is.
func (t *Text) UnmarshalText(b []byte) error {
	*t = Text(b)
	return nil
}

// MarshalYAML gives ***.
func (t Text) MarshalYAML() (any, error) { return t.String(), nil }
