package cdr

import (
	"slices"
	"sort"
	"strings"
	"time"
)

// channelGap is how far apart two rows of one channel may lie and still be one conversation passed on: clocks of whole seconds.
const channelGap = time.Second

// Grouper gathers rows that come in order of start into calls. It keeps a call until no row of it can follow, so its memory is bounded by
// the calls of one hold and of the longest call, whatever the period.
//
// Rows of one linkedid are one call. So are two linkedids that a SIP transfer (REFER) joined: they overlap, and one device channel passes
// from one to the other. Where the table has no linkedid, the two halves of a Local channel join the uniqueids.
type Grouper struct {
	hold   time.Duration
	now    time.Time          // latest start seen
	queue  []*group           // open groups, by start
	byID   map[string]*group  // linkedid to its group
	byChan map[string][]usage // channel to the rows that used it
}

type group struct {
	span
	rows []Row
	gone bool // joined to another, or given out
}

type usage struct {
	span
	group *group
}

// NewGrouper makes a Grouper that gives a call out when its last end lies hold before the newest start. A call's next row never begins later
// than the end of the one before, save for a clock's jitter and the time that a caller spends where the PBX writes no row: an hour is ample.
func NewGrouper(hold time.Duration) *Grouper {
	return &Grouper{hold: hold, byID: map[string]*group{}, byChan: map[string][]usage{}}
}

// Add takes the next row and gives the calls that are whole now, in order of their start. A row that starts up to hold before the newest is
// still put where it belongs.
func (g *Grouper) Add(r Row) [][]Row {
	at := rowSpan(&r)
	g.now = later(g.now, at.from)

	mine := g.byID[r.LinkedID]
	if mine == nil {
		mine = &group{span: at}
		i := sort.Search(len(g.queue), func(i int) bool { return g.queue[i].from.After(at.from) })
		g.queue = slices.Insert(g.queue, i, mine)
		if r.LinkedID != "" {
			g.byID[r.LinkedID] = mine
		}
	}
	mine.rows = append(mine.rows, r)
	mine.from, mine.to = earlier(mine.from, at.from), later(mine.to, at.to)

	for _, ch := range linkingChannels(&r) {
		for _, u := range g.byChan[ch] {
			if !u.group.gone && u.group != mine && u.touches(at, channelGap) && u.group.overlaps(mine.span) {
				mine = g.join(u.group, mine)
			}
		}
		g.byChan[ch] = append(slices.DeleteFunc(g.byChan[ch], func(u usage) bool { return u.group.gone }), usage{at, mine})
	}
	return g.whole(g.now.Add(-g.hold))
}

// Flush gives out what is left, in order of start. Calls that go on may be among it.
func (g *Grouper) Flush() [][]Row {
	var calls [][]Row
	for _, o := range g.queue {
		calls = append(calls, g.give(o)...)
	}
	g.queue = nil
	return calls
}

// Open says how many calls are held.
func (g *Grouper) Open() int {
	n := 0
	for _, o := range g.queue {
		if !o.gone {
			n++
		}
	}
	return n
}

func (g *Grouper) join(a, b *group) *group {
	if b.from.Before(a.from) {
		a, b = b, a
	}
	a.rows = append(a.rows, b.rows...)
	a.to = later(a.to, b.to)
	b.gone = true
	for i := range b.rows {
		r := &b.rows[i]
		if r.LinkedID != "" {
			g.byID[r.LinkedID] = a
		}
		for _, ch := range linkingChannels(r) {
			for i := range g.byChan[ch] {
				if g.byChan[ch][i].group == b {
					g.byChan[ch][i].group = a
				}
			}
		}
	}
	return a
}

// whole gives out the groups at the head of the queue that ended before a moment. One that goes on holds back those behind it.
func (g *Grouper) whole(before time.Time) [][]Row {
	var calls [][]Row
	n := 0
	for ; n < len(g.queue); n++ {
		if o := g.queue[n]; !o.gone && !o.to.Before(before) {
			break
		}
		calls = append(calls, g.give(g.queue[n])...)
	}
	g.queue = slices.Delete(g.queue, 0, n)
	return calls
}

func (g *Grouper) give(o *group) [][]Row {
	if o.gone {
		return nil
	}
	o.gone = true
	for i := range o.rows {
		r := &o.rows[i]
		if g.byID[r.LinkedID] == o {
			delete(g.byID, r.LinkedID)
		}
		for _, ch := range linkingChannels(r) {
			left := slices.DeleteFunc(g.byChan[ch], func(u usage) bool { return u.group.gone })
			if len(left) == 0 {
				delete(g.byChan, ch)
				continue
			}
			g.byChan[ch] = left
		}
	}
	slices.SortFunc(o.rows, compareRows)
	return [][]Row{o.rows}
}

// linkingChannels are the channels by which two linkedids are known as one call.
func linkingChannels(r *Row) []string {
	var names []string
	for _, ch := range []string{cleanChannel(r.Channel), cleanChannel(r.DstChannel)} {
		if ch == "" || isApp(ch) || !strings.Contains(ch, "/") {
			continue
		}
		if base, ok := strings.CutSuffix(ch, ";1"); ok {
			ch = base
		} else if base, ok := strings.CutSuffix(ch, ";2"); ok {
			ch = base
		}
		if !slices.Contains(names, ch) {
			names = append(names, ch)
		}
	}
	return names
}

func rowSpan(r *Row) span {
	s := span{r.Start, r.Start.Add(clampSeconds(r.Duration))}
	if r.End.After(s.to) && r.End.Sub(r.Start) <= maxRow {
		s.to = r.End
	}
	return s
}
