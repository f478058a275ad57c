package cdr

import (
	"slices"
	"strings"
	"time"
)

// speech is what one employee talked with the client without another taking over.
type speech struct {
	leg  *leg // the first, when the phone came back on another channel
	bill int
	talk []span
	recs []recorded
}

func (s *speech) end() time.Time { return s.talk[len(s.talk)-1].to }

// speeches puts the talk of all legs in order of time. One employee's talk goes on until somebody else has talked in a break of it.
func speeches(legs []*leg) []*speech {
	type piece struct {
		leg *leg
		span
	}
	var pieces []piece
	for _, l := range legs {
		for _, s := range l.talk {
			pieces = append(pieces, piece{l, s})
		}
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.from.Compare(b.from) })
	var out []*speech
	for _, p := range pieces {
		var goesOn *speech
		for _, s := range slices.Backward(out) {
			if s.leg.same(p.leg) {
				goesOn = s
				break
			}
		}
		if goesOn != nil {
			pause := span{goesOn.end(), p.from}
			for _, o := range pieces {
				if !o.leg.same(p.leg) && !o.from.Before(pause.from) && !o.to.After(pause.to) && o.length() >= time.Second {
					goesOn = nil // the call was passed on and came back
					break
				}
			}
		}
		if goesOn == nil {
			out = append(out, &speech{leg: p.leg, bill: p.leg.bill, talk: []span{p.span}, recs: p.leg.recordings})
			continue
		}
		goesOn.talk, goesOn.bill = union(append(goesOn.talk, p.span)), -1
		if p.leg != goesOn.leg {
			goesOn.recs = append(slices.Clone(goesOn.recs), p.leg.recordings...)
		}
	}
	// Nobody who was on the line for an instant is a further employee.
	return slices.DeleteFunc(out, func(s *speech) bool { return s != out[0] && seconds(total(s.talk)) == 0 })
}

// parts says what becomes of the call in Bitrix24.
func (c *assembly) parts(legs []*leg) {
	talks := speeches(legs)
	if len(talks) == 0 {
		c.call.Status = c.unanswered()
		p := Part{N: 1, Start: c.call.Start, Status: c.call.Status}
		if c.call.Direction == Outbound {
			p.Extension = c.caller(legs)
		}
		for _, l := range legs {
			p.Rang = addRang(p.Rang, l)
		}
		c.call.Parts = []Part{p}
		return
	}
	c.call.Status = Answered
	for i, s := range talks {
		p := Part{
			N: i + 1, Extension: s.leg.Extension, Phone: s.leg.Phone, Via: s.leg.Via,
			Start: s.talk[0].from, Talk: c.bounded(s.bill, total(s.talk)), Status: Answered, Recordings: c.recordings(s),
		}
		if i == 0 {
			p.Start = c.call.Start
			if p.Extension == "" && p.Phone == "" && c.call.Direction == Outbound {
				p.Extension = c.caller(legs)
			}
		} else {
			p.Start = later(p.Start, c.call.Parts[i-1].Start)
		}
		c.call.Parts = append(c.call.Parts, p)
	}
	for _, l := range legs {
		i := rangFor(l, talks)
		c.call.Parts[i].Rang = addRang(c.call.Parts[i].Rang, l)
	}
}

// rangFor finds the part that a phone rang for: its own, else the one that was going on or waited for.
func rangFor(l *leg, talks []*speech) int {
	for i, s := range talks {
		if s.leg == l {
			return i
		}
	}
	for i, s := range talks {
		if l.RangAt.Add(time.Second).Before(s.end()) {
			return i
		}
	}
	return len(talks) - 1
}

func addRang(rang []string, l *leg) []string {
	if l.Extension == "" || l.RangAt.IsZero() || slices.Contains(rang, l.Extension) {
		return rang
	}
	return append(rang, l.Extension)
}

// recordings gives the names of what holds a talk: the recordings of its rows that ran while it lasted. Where its rows name none (FreePBX
// names a recording on those rows only that follow the start of it), those of the client's channel do.
func (c *assembly) recordings(s *speech) []string {
	var names []string
	add := func(recs []recorded, during bool) {
		recs = slices.Clone(recs)
		slices.SortStableFunc(recs, func(a, b recorded) int { return a.from.Compare(b.from) })
		for _, r := range recs {
			holds := slices.ContainsFunc(s.talk, func(t span) bool { return r.touches(t, time.Second) })
			if (holds || !during) && !slices.Contains(names, r.name) {
				names = append(names, r.name)
			}
		}
	}
	add(s.recs, true)
	if len(names) == 0 {
		add(s.recs, false)
	}
	if len(names) == 0 && !c.miko {
		var recs []recorded
		for _, h := range c.hops {
			if name := h.recording(); name != "" && (c.clients[h.a.channel] || c.clients[h.b.channel]) {
				recs = append(recs, recorded{name, h.span()})
			}
		}
		add(recs, false)
	}
	return names
}

// unanswered says how a call ended in which nobody talked with the client.
func (c *assembly) unanswered() Status {
	if c.call.Direction == Inbound {
		for _, h := range c.hops {
			if h.leavesMessage() {
				return Voicemail
			}
		}
		return Missed
	}
	var last *hop
	for _, h := range c.hops {
		if c.clients[h.b.channel] || c.call.Direction == Internal && h.b.kind == extension {
			last = h
		}
	}
	if last == nil {
		return NoAnswer
	}
	status := outcome(last.row.Disposition)
	if status == NoAnswer || status == Failed {
		// Asterisk writes NO ANSWER for a caller who hung up, too, and FAILED for congestion; DIALSTATUS knows more.
		for _, s := range []string{dialStatus(c.events, c.root.a.channel), last.row.DialStatus} {
			if s != "" && !strings.HasPrefix(s, "ANSWER") {
				return outcome(s)
			}
		}
	}
	return status
}

// outcome reads a disposition or a DIALSTATUS of a call that was not answered. MikoPBX's set is open.
func outcome(disposition string) Status {
	switch strings.ToUpper(disposition) {
	case "BUSY":
		return Busy
	case "CANCEL":
		return Cancelled
	case "FAILED", "CONGESTION", "CHANUNAVAIL", "INVALIDARGS", "INVALID_NUMBER", "INVALIDNMBR":
		return Failed
	}
	return NoAnswer
}
