package demo

import (
	"fmt"
	"path"
	"time"
)

// call is one call while it is written.
type call struct {
	*day
	kind     string
	linkedID string
	root     int // number of the channel that began the call, part of uniqueids
	start    time.Time
	end      time.Time
	client   int
	trunk    string // channel of the client
	did      string
	rows     []row
	parts    []Part
	sounds   []sound
}

// sound is one recording to be written.
type sound struct {
	file   string // slash path below the monitor directory
	length time.Duration
	closed time.Time
}

// begin makes the call that starts at a moment, with a client who is free.
func (d *day) begin(kind string, start time.Time) *call {
	d.seq += 2
	d.verbose++
	c := &call{
		day: d, kind: kind, start: start, end: start, client: d.pick(), root: d.seq,
		linkedID: fmt.Sprintf("mikopbx-%d.%d", start.Unix(), d.seq),
		did:      salesLine,
	}
	c.trunk = d.newChannel(Trunk)
	return c
}

func (d *day) newChannel(account string) string {
	d.channel++
	return fmt.Sprintf("PJSIP/%s-%08x", account, d.channel)
}

// number is the client's, as the provider delivers it.
func (c *call) number() string { return c.clients[c.client].number }

// seconds gives a random time of lo to hi seconds, exact to 10 ms.
func (d *day) seconds(lo, hi int) time.Duration {
	return time.Duration(lo*100+d.random.IntN((hi-lo)*100)) * 10 * time.Millisecond
}

// leg is one row in the making: who dialled whom, and when. Times are counted from the start of the call; a zero answered is none.
type leg struct {
	from, to              party
	rang, answered, ended time.Duration
	status                string // DIALSTATUS
	file                  string // of the recording, without directory; "auto" for the uniqueid, "" for none
	length                time.Duration
	unique                string // "" for a channel of its own
	app                   bool   // to is no person
	keys                  string // that the client pressed
	inner                 bool   // between employees, inside a call with a client
}

// party is one end of a leg.
type party struct {
	channel, number, name, account string
}

func (c *call) outside() party {
	return party{channel: c.trunk, number: c.number(), name: c.clients[c.client].name, account: Trunk}
}

// phone is a call on a phone of an employee, on a channel of its own.
func (c *call) phone(e employee) party {
	return party{channel: c.newChannel(e.extension), number: e.extension, name: e.fullName(), account: e.extension}
}

// app is a queue, the IVR or the voicemail.
func app(channel, number string) party { return party{channel: channel, number: number} }

// add writes the row of a leg and gives it back with its recording, if it has one.
func (c *call) add(l leg) row {
	unique := l.unique
	if unique == "" {
		c.seq++
		unique = c.uniqueID(c.seq)
	}
	r := row{
		start: c.stamp(l.rang), end: c.stamp(l.ended), uniqueID: unique, linkedID: c.linkedID, did: c.did, from: l.from, to: l.to,
		dialStatus: l.status, transfer: "0", duration: c.between(l.rang, l.ended), verbose: fmt.Sprintf("[C-%08x]", c.verbose),
	}
	if l.answered > 0 {
		r.answer = c.stamp(l.answered)
		r.billsec = c.between(l.answered, l.ended)
	}
	switch {
	case r.billsec > 0:
		r.disposition = "ANSWERED"
	case l.status != "" && l.status != "ANSWERED":
		r.disposition = l.status
	default:
		r.disposition = "NOANSWER"
	}
	if l.inner {
		r.did = ""
	}
	if l.app {
		r.app, r.keys = "1", l.keys
	}
	if l.file != "" {
		name := l.file
		if name == "auto" {
			name = unique
		}
		at := c.start.Add(l.answered)
		file := path.Join(at.Format("2006/01/02/15"), name+".wav")
		r.recording, r.recordingChannel = path.Join(pbxMonitor, file), "0"
		length := l.length
		if length == 0 {
			length = l.ended - l.answered
		}
		c.sounds = append(c.sounds, sound{file: file, length: length, closed: c.start.Add(l.ended)})
		r.file = file
	}
	if end := c.start.Add(l.ended); end.After(c.end) {
		c.end = end
	}
	c.rows = append(c.rows, r)
	return r
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// uniqueID is a channel's uniqueid with the six random letters that MikoPBX puts behind it.
func (c *call) uniqueID(n int) string {
	var tail [6]byte
	for i := range tail {
		tail[i] = letters[c.random.IntN(len(letters))]
	}
	return fmt.Sprintf("mikopbx-%d.%d_%s", c.start.Unix(), n, tail[:])
}

// stamp writes a moment of the call as MikoPBX does: wall time without a zone.
func (c *call) stamp(at time.Duration) string {
	return c.start.Add(at).Format("2006-01-02 15:04:05.000")
}

// between counts seconds as MikoPBX does: both ends cut to whole seconds.
func (c *call) between(from, to time.Duration) int {
	return int(c.start.Add(to).Unix() - c.start.Add(from).Unix())
}

// part adds one part to what must stand in the portal: the first is the call, the others begin with their conversation.
func (c *call) part(kind int, status string, user int, at time.Duration) *Part {
	line := c.did
	if line == "" {
		line = salesLine
	}
	id := c.linkedID
	if n := len(c.parts) + 1; n > 1 {
		id = fmt.Sprintf("%s/%d", id, n)
	}
	c.parts = append(c.parts, Part{
		ExternalID: id, Kind: c.kind, Type: kind, Status: status, UserID: user,
		Phone: c.clients[c.client].e164(), Line: "+" + line, Start: c.start.Add(at),
	})
	return &c.parts[len(c.parts)-1]
}

// talked fills in the conversation that a row holds.
func (p *Part) talked(r row) { p.Talk, p.Recording = r.billsec, r.file }
