package cdr

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// leg is a phone of ours in a call: a Leg, and what is needed to work it out.
type leg struct {
	Leg
	device     string // its channel
	start, end time.Time
	talk       []span
	bill       int  // talk as the PBX counted it, in seconds; -1 when talk is something else by now
	loose      bool // dialled on a channel that something had answered before: the answer is a lower bound
	recordings []recorded
}

// recorded is a recording and the time of the row that names it.
type recorded struct {
	name string
	span
}

func (l *leg) answered() bool { return len(l.talk) > 0 }

// same reports whether two legs are one phone number.
func (l *leg) same(o *leg) bool { return l.Extension == o.Extension && l.Phone == o.Phone }

// legsFromRows finds the phones that were dialled for a client, or that dialled it.
func (c *assembly) legsFromRows() []*leg {
	var legs []*leg
	for _, h := range c.hops {
		switch {
		case c.clients[h.a.channel] && h.a.channel != "":
			legs = append(legs, c.follow([]*hop{h}, h.b, true)...)
		case c.clients[h.b.channel] && h.b.channel != "":
			found := c.follow([]*hop{h}, h.a, false)
			if len(found) == 0 && h.answered && c.call.Direction == Outbound {
				found = append(found, c.leg([]*hop{h}, party{}, false)) // whoever it was talked with the client
			}
			legs = append(legs, found...)
		}
	}
	if len(legs) > 0 {
		return legs
	}
	// A click-to-call that the employee did not pick up never came to a client. Their phone rang all the same.
	for _, h := range c.hops {
		if h.b.kind == extension {
			l := c.leg([]*hop{h}, h.b, true)
			l.talk = nil
			legs = append(legs, l)
		}
	}
	return legs
}

// follow goes from a row of the client to the phones behind it, through Local channels. trail holds the rows passed, the client's first.
func (c *assembly) follow(trail []*hop, at party, called bool) []*leg {
	switch at.kind {
	case extension:
		return []*leg{c.leg(trail, at, called)}
	case trunk:
		if c.clients[at.channel] || !called {
			return nil
		}
		return []*leg{c.leg(trail, at, called)}
	case local:
		var legs []*leg
		found := false
		for _, g := range c.hops {
			switch {
			case slices.Contains(trail, g):
			case g.a.otherHalf(at):
				found = found || g.b.kind != nobody
				legs = append(legs, c.follow(append(slices.Clone(trail), g), g.b, true)...)
			case g.b.otherHalf(at) && g.a.kind == extension:
				found = true
				legs = append(legs, c.follow(append(slices.Clone(trail), g), g.a, false)...)
			}
		}
		if found {
			return c.afterConsult(legs, at)
		}
		// The far half left no row. Its name says what was dialled.
		if to := c.dialled(at.exten); to.kind != nobody {
			return c.afterConsult([]*leg{c.leg(trail, to, called)}, at)
		}
	}
	return nil
}

// dialled says whom the name of a Local channel dials.
func (c *assembly) dialled(exten string) party {
	if m := followMe.FindStringSubmatch(exten); m != nil {
		exten = m[1]
	}
	switch {
	case c.internal(exten):
		return party{kind: extension, number: exten}
	case strings.ContainsAny(exten, "0123456789") && c.e164(exten) != "":
		return party{kind: trunk}
	}
	return party{kind: nobody}
}

// leg makes a leg of the rows that lead to it, the client's first, its own last.
func (c *assembly) leg(trail []*hop, who party, called bool) *leg {
	first, own := trail[0], trail[len(trail)-1]
	l := &leg{device: who.channel, start: own.start, end: earlier(first.end, own.end), bill: -1}
	l.Disposition = own.row.Disposition
	if who.kind == trunk {
		l.Phone, l.Via = c.outside(trail)
	} else {
		l.Extension = who.number
	}
	answered := true
	answer := own.start
	for _, h := range trail {
		answered = answered && h.answered
		answer = later(answer, h.answer)
		if l.Recording == "" {
			l.Recording = h.recording()
		}
	}
	if l.end.Before(l.start) {
		l.end = l.start
	}
	if answered {
		answer = earlier(answer, l.end)
		l.talk = []span{{answer, l.end}}
		if own.row.BillSec >= 0 && (l.end.Sub(answer)-time.Duration(own.row.BillSec)*time.Second).Abs() <= time.Second {
			l.bill = own.row.BillSec
		}
	}
	if called && c.rang(own, answered, answer) {
		l.RangAt = own.start
		l.loose = answered && !answer.After(own.start)
	}
	if l.Recording != "" {
		l.recordings = []recorded{{l.Recording, span{own.start, l.end}}}
	}
	return l
}

// rang reports whether the phone of a row rang, or came into the call by a pickup or a transfer: then the row starts with its answer,
// and what was dialled is another phone.
func (c *assembly) rang(own *hop, answered bool, answer time.Time) bool {
	if !answered {
		switch own.row.Disposition {
		case "CHANUNAVAIL", "FAILED", "CONGESTION", "INVALIDARGS", "INVALID_NUMBER":
			return false // not reachable at all
		}
		return true
	}
	if c.miko {
		return own.row.ToAccount != "" || answer.Sub(own.start) >= time.Second
	}
	return answer.After(own.start) || strings.EqualFold(own.row.LastApp, "Queue") || rings(own.row.LastData, own.b.channel)
}

// outside gives the number of an outside phone that a call was sent on to, and the extension that the Local channel on the way names.
func (c *assembly) outside(trail []*hop) (number, via string) {
	for _, h := range slices.Backward(trail) {
		exten := h.a.exten
		if h.b.kind == local {
			exten = h.b.exten
		}
		if c.internal(exten) {
			via = exten
		} else if m := followMe.FindStringSubmatch(exten); m != nil && c.internal(m[1]) {
			via = m[1]
		}
		for _, n := range []string{dialledThrough(h.row.LastData, h.b.peer), h.row.Dst, exten} {
			if number == "" && n != "" && n != h.row.DID && !c.internal(n) {
				number = c.e164(n)
			}
		}
	}
	return number, via
}

// afterConsult keeps what a phone behind a Local channel talked with the client. When a colleague dialled that channel to ask first, the
// client came to it only when the colleague had left.
func (c *assembly) afterConsult(legs []*leg, link party) []*leg {
	var left time.Time
	for _, h := range c.hops {
		if h.b.base != "" && h.b.base == link.base && h.a.kind == extension && !c.clients[h.a.channel] {
			left = later(left, h.end)
		}
	}
	if left.IsZero() {
		return legs
	}
	var kept []*leg
	for _, l := range legs {
		if l.talk = cut(l.talk, span{l.start.Add(-maxRow), left}); !l.answered() {
			continue
		}
		l.RangAt, l.loose, l.bill = time.Time{}, false, -1
		kept = append(kept, l)
	}
	return kept
}

// tighten finds when a phone really answered that rang on an answered channel: the others of its round stopped ringing at that moment.
func tighten(legs []*leg) {
	for _, l := range legs {
		if !l.loose || len(l.talk) != 1 {
			continue
		}
		at := l.talk[0].from
		for _, o := range legs {
			if o != l && !o.answered() && !o.RangAt.IsZero() && o.device != l.device &&
				o.start.Sub(l.start).Abs() <= 2*time.Second && o.end.Before(l.end) {
				at = later(at, o.end)
			}
		}
		if at.After(l.talk[0].from) {
			l.talk[0].from, l.bill = at, -1
		}
	}
}

// merge joins the rows of one phone: rounds of a queue, contacts of one account, the return from a consultation. A phone that answers once
// more after somebody else talked is another leg.
func merge(raw []*leg) []*leg {
	slices.SortStableFunc(raw, func(a, b *leg) int { return a.start.Compare(b.start) })
	var legs []*leg
	for _, l := range raw {
		var into *leg
		for _, o := range slices.Backward(legs) {
			if o.same(l) {
				into = o
				break
			}
		}
		if into == nil || !continues(into, l, raw) {
			legs = append(legs, l)
			continue
		}
		if into.RangAt.IsZero() && !into.answered() {
			into.RangAt = l.RangAt
		}
		if l.answered() || !into.answered() {
			into.Disposition, into.device = l.Disposition, l.device
			into.bill = cond(into.answered(), -1, l.bill)
		}
		into.talk = union(append(into.talk, l.talk...))
		into.recordings = append(into.recordings, l.recordings...)
		into.end = later(into.end, l.end)
		into.loose = into.loose || l.loose
	}
	return legs
}

func continues(into, l *leg, all []*leg) bool {
	if l.device != "" && l.device == into.device {
		return true
	}
	if into.answered() {
		return l.start.Before(into.talk[0].from) // another contact that rang along
	}
	return !slices.ContainsFunc(all, func(o *leg) bool {
		return !o.same(l) && o.answered() && o.talk[0].from.Before(l.start) && !o.talk[0].from.Before(into.start)
	})
}

// exact replaces what the rows say of talk by what the channel events say. A phone that they name and never join with the client did not
// talk with it; one that they do not name keeps its rows.
func (c *assembly) exact(legs []*leg) []*leg {
	if len(c.bridges.stays) == 0 {
		return legs
	}
	seen := false
	for ch := range c.clients {
		seen = seen || c.bridges.known[ch]
	}
	if !seen {
		return legs
	}
	talk := c.bridges.with(c.clients)
	for _, l := range legs {
		if l.device == "" || !c.bridges.known[l.device] {
			continue
		}
		l.talk, l.bill, l.loose = talk[l.device], -1, false
		delete(talk, l.device)
	}
	var more []*leg
	for ch, spans := range talk {
		p := c.party(ch, "")
		if p.kind != extension || total(spans) < time.Second {
			continue
		}
		l := &leg{device: ch, start: spans[0].from, end: spans[len(spans)-1].to, talk: spans, bill: -1}
		l.Extension, l.Disposition = p.number, "ANSWERED"
		more = append(more, l)
	}
	slices.SortFunc(more, func(a, b *leg) int { return cmp.Or(a.start.Compare(b.start), cmp.Compare(a.device, b.device)) })
	legs = append(legs, more...)
	slices.SortStableFunc(legs, func(a, b *leg) int { return a.start.Compare(b.start) })
	return legs
}

// consults takes the time out of a talk in which the employee asked a colleague while the client waited. Without channel events a PBX
// counts it as talk.
func (c *assembly) consults(legs []*leg) {
	for _, h := range c.hops {
		if h.a.kind != extension || c.clients[h.a.channel] || c.clients[h.b.channel] || h.b.kind == nobody || h.b.kind == app {
			continue
		}
		asked := h.b.number
		if h.b.kind == local {
			asked = c.dialled(h.b.exten).number
		}
		gone := h.span()
		// When the one who was asked then talks with the client, the employee did not come back to it.
		for _, l := range legs {
			if asked == "" || l.Extension != asked || !l.answered() {
				continue
			}
			for _, s := range l.talk {
				if !s.from.Before(h.start) && !s.from.After(h.end.Add(2*time.Second)) {
					gone.to = later(gone.to, s.from.Add(2*time.Second))
				}
			}
		}
		for _, l := range legs {
			if l.Extension != h.a.number || l.Extension == asked || len(c.bridges.stays) > 0 && c.bridges.known[l.device] {
				continue
			}
			if left := cut(l.talk, gone); total(left) != total(l.talk) && len(left) > 0 {
				l.talk, l.bill = left, -1
			}
		}
	}
}

// forwarders names the extension that sent the call on to each outside phone, where no channel's name did: the last that rang before, or
// the one whose follow-me rang along.
func (c *assembly) forwarders(legs []*leg) {
	for _, l := range legs {
		if l.Extension != "" || l.Via != "" {
			continue
		}
		for _, o := range legs {
			if o.Extension != "" && (o.start.Before(l.start) || o.start.Equal(l.start) && c.followsMe(o.Extension)) {
				l.Via = o.Extension
			}
		}
	}
}

func (c *assembly) followsMe(extension string) bool {
	return slices.ContainsFunc(c.hops, func(h *hop) bool { return h.b.exten == "FMPR-"+extension })
}

func cond[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}
