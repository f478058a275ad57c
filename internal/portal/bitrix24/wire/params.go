package wire

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Params are the parameters of a method: texts, whole numbers, lists of either, and Params. Truth values are 1 and 0.
type Params map[string]any

// Query writes Params the way PHP reads them from a query: a[b][0]=c, in the order of names.
func (p Params) Query() string {
	var b strings.Builder
	p.write(&b, "")
	return b.String()
}

func (p Params) write(b *strings.Builder, prefix string) {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		key := url.QueryEscape(name)
		if prefix != "" {
			key = prefix + "%5B" + key + "%5D"
		}
		switch v := p[name].(type) {
		case Params:
			v.write(b, key)
		case []string:
			for i, item := range v {
				pair(b, key+"%5B"+strconv.Itoa(i)+"%5D", item)
			}
		case []int:
			for i, item := range v {
				pair(b, key+"%5B"+strconv.Itoa(i)+"%5D", strconv.Itoa(item))
			}
		default:
			pair(b, key, fmt.Sprint(v))
		}
	}
}

func pair(b *strings.Builder, key, value string) {
	if b.Len() > 0 {
		b.WriteByte('&')
	}
	b.WriteString(key)
	b.WriteByte('=')
	b.WriteString(url.QueryEscape(value))
}
