package cdr

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// bridges is what channel events tell of a call: who was connected with whom, and when.
type bridges struct {
	stays []stay
	known map[string]bool // channels that the events name
}

// stay is the time that one channel spent in one bridge.
type stay struct {
	channel, bridge string
	span
}

type extra struct {
	Bridge     string `json:"bridge_id"`
	Technology string `json:"bridge_technology"`
	DialStatus string `json:"dialstatus"`
}

// detail reads the JSON of an event. What is no JSON (older Asterisks write none, a short column cuts it) tells nothing.
func (e Event) detail() extra {
	var x extra
	if json.Unmarshal([]byte(e.Extra), &x) != nil {
		return extra{}
	}
	return x
}

// connections reads the events of a call.
func connections(events []Event) bridges {
	b := bridges{known: map[string]bool{}}
	byChannel := map[string][]Event{}
	var last time.Time
	for _, e := range events {
		ch := cleanChannel(e.Channel)
		if ch == "" || e.Time.IsZero() {
			continue
		}
		b.known[ch] = true
		byChannel[ch] = append(byChannel[ch], e)
		last = later(last, e.Time)
	}
	for ch, es := range byChannel {
		b.stays = append(b.stays, staysOf(ch, es, last)...)
	}
	slices.SortFunc(b.stays, func(x, y stay) int {
		return cmp.Or(x.from.Compare(y.from), x.to.Compare(y.to), cmp.Compare(x.channel, y.channel), cmp.Compare(x.bridge, y.bridge))
	})
	return b
}

// staysOf follows one channel from bridge to bridge. Clocks of whole seconds leave the order of events within a second open; a channel is
// in one bridge at a time, which settles it: first it leaves the bridge it was in, then it enters another, which it may leave at once.
func staysOf(channel string, events []Event, last time.Time) []stay {
	slices.SortStableFunc(events, func(a, b Event) int { return a.Time.Compare(b.Time) })
	var stays []stay
	var bridge string
	var since time.Time
	leave := func(at time.Time) {
		if bridge != "" {
			stays = append(stays, stay{channel, bridge, span{since, at}})
		}
		bridge = ""
	}
	for len(events) > 0 {
		at := events[0].Time
		n := 1
		for n < len(events) && events[n].Time.Equal(at) {
			n++
		}
		var enters []string
		exits := map[string]int{}
		gone := false
		for _, e := range events[:n] {
			x := e.detail()
			switch e.Type {
			case "BRIDGE_ENTER":
				// A holding bridge keeps parked callers who do not hear each other; a conference says nothing of whom one talks to.
				if x.Bridge != "" && x.Technology != "holding_bridge" && !conference(e.App) {
					enters = append(enters, x.Bridge)
				}
			case "BRIDGE_EXIT":
				exits[x.Bridge]++
			case "HANGUP", "CHAN_END":
				gone = true
			}
		}
		events = events[n:]
		if bridge != "" && exits[bridge] > 0 {
			exits[bridge]--
			leave(at)
		}
		slices.SortFunc(enters, func(x, y string) int { // one that it left again at once was not the last
			return cmp.Or(-cmp.Compare(exits[x], exits[y]), cmp.Compare(x, y))
		})
		for _, id := range enters {
			if id == bridge {
				continue
			}
			leave(at)
			bridge, since = id, at
			if exits[id] > 0 {
				exits[id]--
				leave(at)
			}
		}
		if gone {
			leave(at)
		}
	}
	leave(last)
	return stays
}

// with gives, for each channel of a phone, the time that it was connected with one of the clients: in one bridge, or in two bridges that
// a Local channel joins.
func (b bridges) with(clients map[string]bool) map[string][]span {
	var moments []time.Time
	for _, s := range b.stays {
		moments = append(moments, s.from, s.to)
	}
	slices.SortFunc(moments, time.Time.Compare)
	moments = slices.CompactFunc(moments, time.Time.Equal)
	talk := map[string][]span{}
	for i := 1; i < len(moments); i++ {
		slice := span{moments[i-1], moments[i]}
		for _, ch := range b.connected(slice, clients) {
			if n := len(talk[ch]); n > 0 && talk[ch][n-1].to.Equal(slice.from) {
				talk[ch][n-1].to = slice.to
				continue
			}
			talk[ch] = append(talk[ch], slice)
		}
	}
	return talk
}

// connected lists the phones that hear a client during a slice of time in which nobody moves.
func (b bridges) connected(during span, clients map[string]bool) []string {
	links := map[string][]string{}
	link := func(x, y string) { links[x], links[y] = append(links[x], y), append(links[y], x) }
	var present []string
	for _, s := range b.stays {
		if s.from.After(during.from) {
			break // in order of time: nobody after this one is there yet
		}
		if s.to.Before(during.to) {
			continue
		}
		present = append(present, s.channel)
		link(s.channel, "bridge "+s.bridge)
		if base, ok := strings.CutSuffix(s.channel, ";1"); ok {
			link(s.channel, "local "+base)
		} else if base, ok := strings.CutSuffix(s.channel, ";2"); ok {
			link(s.channel, "local "+base)
		}
	}
	reached := map[string]bool{}
	var queue []string
	for _, ch := range present {
		if clients[ch] {
			queue = append(queue, ch)
		}
	}
	for len(queue) > 0 {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if reached[at] {
			continue
		}
		reached[at] = true
		queue = append(queue, links[at]...)
	}
	var phones []string
	for _, ch := range present {
		if reached[ch] && !clients[ch] && !strings.HasPrefix(ch, "Local/") {
			phones = append(phones, ch)
		}
	}
	return phones
}

// dialStatus gives what DIALSTATUS was when a channel hung up, "" if the events do not say.
func dialStatus(events []Event, channel string) string {
	for _, e := range events {
		if e.Type == "HANGUP" && cleanChannel(e.Channel) == channel {
			if s := e.detail().DialStatus; s != "" {
				return s
			}
		}
	}
	return ""
}

// firstExten gives the extension that a channel was made with: on a line, the number that was called.
func firstExten(events []Event, channel string) string {
	for _, e := range events {
		if e.Type == "CHAN_START" && cleanChannel(e.Channel) == channel && e.Exten != "" && e.Exten != "s" {
			return e.Exten
		}
	}
	return ""
}

func conference(application string) bool {
	switch strings.ToLower(application) {
	case "confbridge", "meetme", "page":
		return true
	}
	return false
}
