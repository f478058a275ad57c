package php

import (
	"strconv"
	"strings"
)

// Text is the (string) cast: true is "1", false and nil are "", an array is "Array".
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "1"
		}
		return ""
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return "Array"
}

// Float is the (float) cast: of a text, what it begins with.
func Float(v any) float64 {
	switch v := v.(type) {
	case bool:
		if v {
			return 1
		}
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case float64:
		return v
	case string:
		s := strings.TrimLeft(v, " \t\n\r\v\f")
		end, dot, digits := 0, false, false
		for end < len(s) {
			c := s[end]
			switch {
			case c >= '0' && c <= '9':
				digits = true
			case (c == '-' || c == '+') && end == 0:
			case c == '.' && !dot:
				dot = true
			default:
				c = 0
			}
			if c == 0 {
				break
			}
			end++
		}
		if digits {
			f, err := strconv.ParseFloat(s[:end], 64)
			if err == nil {
				return f
			}
		}
	case *Array:
		if v.Len() > 0 {
			return 1
		}
	}
	return 0
}

// Int is the (int) cast: of a text, the whole number that it begins with.
func Int(v any) int64 {
	if n, ok := v.(int64); ok {
		return n
	}
	return int64(Float(v))
}

// True is the (bool) cast: "", "0", 0, nil and an empty array are false.
func True(v any) bool {
	switch v := v.(type) {
	case string:
		return v != "" && v != "0"
	case *Array:
		return v.Len() > 0
	}
	return Float(v) != 0
}

// Flag reads a yes or no as REST clients write them: Y, true and 1 are yes.
func Flag(v any) bool {
	if s, ok := v.(string); ok {
		switch strings.ToLower(s) {
		case "y", "true":
			return true
		case "n", "false":
			return false
		}
	}
	return True(v)
}
