// Package phone reads telephone numbers as a PBX writes them.
//
// A PBX writes one caller as +7 916 123-45-67, 89161234567, 79161234567, 9161234567 or 0079161234567, as the trunk likes it. The CRM finds
// a client only when they are all the same, so everything is brought to E.164. Numbering plans come from libphonenumber.
package phone

import (
	"fmt"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

const (
	maxDigits = 15 // of an E.164 number, without the plus
	maxShort  = 6  // up to here a number is a service (112, 0611, 900), not a subscriber
	minShort  = 2
)

// Reader reads numbers as they are dialled in one country. It may be used by several goroutines.
type Reader struct {
	country string
}

// New makes a Reader for numbers written without a country code. The country is an ISO 3166 code of two letters: RU, KZ, DE.
func New(country string) (*Reader, error) {
	c := strings.ToUpper(strings.TrimSpace(country))
	if !phonenumbers.GetSupportedRegions()[c] {
		return nil, fmt.Errorf("country %q: unknown; use two letters as in RU, KZ, BY, DE", country)
	}
	return &Reader{country: c}, nil
}

// E164 gives the number with a plus and its country code.
//
// Short service numbers (2 to 6 digits) stay as they are, and so do up to 15 digits that no numbering plan knows: a call from them still
// happened. What is no telephone number gives "": hidden callers (anonymous, unknown, restricted, asterisk, s), names, feature codes and
// anything longer than 15 digits. E164 of its own result changes nothing.
func (r *Reader) E164(raw string) string {
	digits, plus := clean(raw)
	switch {
	case len(digits) < minShort:
		return ""
	case len(digits) <= maxShort:
		return digits
	case plus:
		return international(digits)
	}
	if n := valid(digits, r.country); n != "" {
		return n
	}
	if len(digits) <= maxDigits {
		if n := valid("+"+digits, r.country); n != "" {
			return n
		}
	}
	// Trunks of every country pass on 00; Russian PBX users dial 8-10.
	for _, prefix := range []string{"00", "810"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok && len(rest) > maxShort {
			if n := valid("+"+rest, r.country); n != "" {
				return n
			}
		}
	}
	if len(digits) > maxDigits {
		return ""
	}
	// Right in length, yet of a range that the plan does not know (any more, or not yet).
	if n, err := phonenumbers.Parse(digits, r.country); err == nil && phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE {
		if full := international(strings.TrimPrefix(phonenumbers.Format(n, phonenumbers.E164), "+")); full != "" {
			return full
		}
	}
	return digits
}

// international writes digits that follow a plus. What the numbering plan would change (a doubled trunk prefix as in +7 8 916…) is changed.
func international(digits string) string {
	if len(digits) <= maxShort || len(digits) > maxDigits {
		return ""
	}
	if n := valid("+"+digits, ""); n != "" {
		return n
	}
	return "+" + digits
}

// valid gives the E.164 form of a number that its country's plan knows, or "".
func valid(number, country string) string {
	n, err := phonenumbers.Parse(number, country)
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return ""
	}
	if s := phonenumbers.Format(n, phonenumbers.E164); len(s) > 1+maxShort && len(s) <= 1+maxDigits {
		return s
	}
	return ""
}

// clean takes the digits out of a caller id, SIP or tel URI. It gives none for what holds anything but a number.
func clean(raw string) (digits string, plus bool) {
	s := strings.TrimSpace(raw)
	if i, j := strings.LastIndexByte(s, '<'), strings.LastIndexByte(s, '>'); i >= 0 && i < j {
		s = s[i+1 : j]
	}
	for _, scheme := range []string{"sips:", "sip:", "tel:"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	s, _, _ = strings.Cut(s, "@")
	s, _, _ = strings.Cut(s, ";")
	var b strings.Builder
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			b.WriteRune(c)
		case c == '+' && b.Len() == 0 && !plus:
			plus = true
		case strings.ContainsRune(" ()-./\u00a0\u2010\u2011\u2012\u2013\u2014\t", c):
		default:
			return "", false
		}
	}
	return b.String(), plus
}
