package cdrdb

import (
	"strings"
	"time"

	"sverka/cdr"
)

// borders of a period are widened by this, since a wall time names two moments in the hour that autumn repeats.
const widen = 2 * time.Hour

const wallForm = "2006-01-02 15:04:05"

// clock is the PBX's clock on the wall.
type clock struct {
	zone *time.Location
}

// wall writes a moment as the PBX would, whole seconds.
func (c clock) wall(t time.Time) string { return t.In(c.zone).Format(wallForm) }

// parse reads a wall time. It gives a zero time for what stands for none: "", NULL, 0000-00-00; ok is false for what is no time at all.
func (c clock) parse(text string) (wall time.Time, ok bool) {
	if text == "" || strings.HasPrefix(text, "0000-00-00") {
		return time.Time{}, true
	}
	for _, form := range []string{wallForm, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, strings.TrimSuffix(text, "Z")); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// moments lists what a wall time may mean, in order: one moment mostly, two in the repeated hour. One that the spring leaves out is read as
// if the clock had not been changed.
func (c clock) moments(wall time.Time) []time.Time {
	near := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), c.zone)
	var found []time.Time
	for _, around := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := near.Add(around).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(c.zone)
		if _, o := t.Zone(); o == offset && (len(found) == 0 || !found[0].Equal(t)) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 0:
		return []time.Time{near}
	case len(found) == 2 && found[1].Before(found[0]):
		found[0], found[1] = found[1], found[0]
	}
	return found
}

// notBefore picks the first meaning of a wall time that is not before a moment, with slack for rounding.
func (c clock) notBefore(wall, moment time.Time) time.Time {
	const slack = 2 * time.Second
	found := c.moments(wall)
	for _, t := range found {
		if !t.Before(moment.Add(-slack)) {
			return t
		}
	}
	return found[len(found)-1]
}

// nearest picks the meaning of a wall time that is closest to a moment.
func (c clock) nearest(wall, moment time.Time) time.Time {
	found := c.moments(wall)
	best := found[0]
	for _, t := range found[1:] {
		if t.Sub(moment).Abs() < best.Sub(moment).Abs() {
			best = t
		}
	}
	return best
}

// start picks the meaning of a row's start: a row never starts before its channel, whose epoch the ids hold.
func (c clock) start(wall time.Time, ids ...string) time.Time {
	for _, id := range ids {
		if epoch, ok := cdr.Epoch(id); ok {
			return c.notBefore(wall, epoch)
		}
	}
	return c.moments(wall)[0]
}
