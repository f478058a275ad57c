package cdr

import (
	"slices"
	"time"
)

// span is a stretch of time. An empty one (from == to) marks a moment.
type span struct{ from, to time.Time }

func (s span) length() time.Duration { return s.to.Sub(s.from) }

func (s span) overlaps(o span) bool { return s.from.Before(o.to) && o.from.Before(s.to) }

// touches is overlaps, with slack for clocks of whole seconds.
func (s span) touches(o span, slack time.Duration) bool {
	return !s.from.After(o.to.Add(slack)) && !o.from.After(s.to.Add(slack))
}

// union puts spans in order and joins those that meet.
func union(spans []span) []span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b span) int {
		if c := a.from.Compare(b.from); c != 0 {
			return c
		}
		return a.to.Compare(b.to)
	})
	var out []span
	for _, s := range sorted {
		if n := len(out); n > 0 && !s.from.After(out[n-1].to) {
			if s.to.After(out[n-1].to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// cut takes a stretch out of spans.
func cut(spans []span, out span) []span {
	var left []span
	for _, s := range spans {
		if !s.overlaps(out) {
			left = append(left, s)
			continue
		}
		if s.from.Before(out.from) {
			left = append(left, span{s.from, out.from})
		}
		if out.to.Before(s.to) {
			left = append(left, span{out.to, s.to})
		}
	}
	return left
}

func total(spans []span) time.Duration {
	var d time.Duration
	for _, s := range union(spans) {
		d += s.length()
	}
	return d
}

// seconds rounds to the nearest.
func seconds(d time.Duration) int { return int(d.Round(time.Second) / time.Second) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
