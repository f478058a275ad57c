package cdr

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PortalIDPrefix begins every CALL_ID that Bitrix24 gives to a call. A dialplan that starts a click-to-call leaves the CALL_ID in
// userfield, accountcode or peeraccount; a part with it is finished under that id and never registered again.
const PortalIDPrefix = "externalCall."

var portalIDForm = regexp.MustCompile(regexp.QuoteMeta(PortalIDPrefix) + `[\w.-]+`)

// assembly is the work on one call.
type assembly struct {
	rules   Rules
	miko    bool
	hops    []*hop
	root    *hop
	clients map[string]bool // channels of the outside party
	bridges bridges
	events  []Event
	call    Call
}

// Assemble makes one call of all rows of one linkedid, and of its channel events where there are any. The order of rows and events does
// not matter. Rows of two linkedids that a SIP transfer joined (see Grouper) make one call, under the earlier linkedid.
//
// The rules are those of product.md §1 and reference/cdr-ami.md §5–6: the channel that began the call says which way it went; a person who
// talked makes it answered, an IVR, a queue, a voicemail box or a parking slot never does; talk is the time that a phone and the client were
// connected. Events tell that exactly. Without them it is the answered time of the rows, less what the rows show to be waiting or
// consultation, and an upper bound where a phone rang on a channel that an IVR or a blind transfer had answered before.
//
// A conference without a called person is Internal: nothing tells who talked with whom.
func Assemble(rows []Row, events []Event, rules Rules) Call {
	c := &assembly{rules: rules, miko: isMiko(rows), events: slices.Clone(events)}
	c.read(rows)
	c.call.Hash = hash(rows)
	c.call.PortalID = portalID(rows)
	c.call.LinkedID = firstLinkedID(rows)
	if len(c.hops) == 0 {
		c.problem("no usable row")
		c.call.Direction, c.call.Status = Internal, Missed
		return c.call
	}
	slices.SortFunc(c.events, func(a, b Event) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Extra, b.Extra),
			cmp.Compare(a.App, b.App), cmp.Compare(a.Exten, b.Exten))
	})
	c.bridges = connections(c.events)
	c.root = c.findRoot()
	c.direct()
	c.call.Start = settle(c.root.start, c.root.row.UniqueID, c.root.row.LinkedID)
	c.call.End = c.call.Start
	for _, h := range c.hops {
		c.call.End = later(c.call.End, h.end)
	}
	c.call.LastRow = c.call.End

	raw := c.legsFromRows()
	tighten(raw)
	legs := c.exact(merge(raw))
	c.consults(legs)
	c.forwarders(legs)
	c.name()
	c.parts(legs)
	for _, l := range legs {
		c.call.Legs = append(c.call.Legs, c.public(l))
	}
	slices.Sort(c.call.Problems)
	return c.call
}

func (c *assembly) problem(p string) {
	if !slices.Contains(c.call.Problems, p) {
		c.call.Problems = append(c.call.Problems, p)
	}
}

func (c *assembly) internal(number string) bool {
	return number != "" && c.rules.Internal != nil && c.rules.Internal(number)
}

func (c *assembly) e164(raw string) string {
	if raw == "" || c.rules.Phone == nil {
		return ""
	}
	return c.rules.Phone(raw)
}

// findRoot finds the row that the call began with: the first of the channel that gave the linkedid its name. A SIP transfer can join a call
// between colleagues and an older or younger call of a client; the client's is the call then.
func (c *assembly) findRoot() *hop {
	var first, line *hop
	for _, h := range c.hops {
		if h.row.UniqueID != h.row.LinkedID && !c.miko {
			continue
		}
		if first == nil {
			first = h
		}
		if line == nil && h.a.kind == trunk && h.row.UniqueID == h.row.LinkedID {
			line = h
		}
	}
	if first != nil && line != nil && first.a.kind == extension && first.row.LinkedID != line.row.LinkedID {
		return line
	}
	if first != nil {
		return first
	}
	for _, h := range c.hops {
		if h.a.kind != local && h.a.kind != nobody && !strings.HasPrefix(h.row.LastApp, "AppDial") {
			return h
		}
	}
	return c.hops[0]
}

// direct says which way the call went, and which channels are the client's.
func (c *assembly) direct() {
	root := c.root
	c.clients = map[string]bool{}
	switch {
	case root.a.kind == trunk, root.a.kind == nobody && c.fromOutside(root.row):
		c.call.Direction = Inbound
		if root.a.channel != "" {
			c.clients[root.a.channel] = true
		}
		if c.onlyConference() {
			c.call.Direction = Internal
		}
		return
	}
	var to *hop
	for _, h := range c.hops {
		if h.b.kind == trunk && (to == nil || !to.a.is(root.a.channel) && h.a.is(root.a.channel)) {
			to = h
		}
	}
	switch {
	case to != nil:
		c.call.Direction = Outbound
		for _, h := range c.hops {
			if h.b.kind == trunk && h.b.channel != "" && h.row.Dst == to.row.Dst {
				c.clients[h.b.channel] = true // one line after another was tried
			}
		}
	case c.call.PortalID != "":
		c.call.Direction = Outbound // the portal waits for the end of a call whose client was never dialled
	default:
		c.call.Direction = Internal
		if root.a.channel != "" {
			c.clients[root.a.channel] = true
		}
	}
}

// fromOutside judges a row without channels by its numbers: MikoPBX writes one for a call that reached nobody.
func (c *assembly) fromOutside(r *Row) bool {
	return r.DID != "" || !c.internal(r.Src)
}

// onlyConference reports whether a conference is all that a caller reached.
func (c *assembly) onlyConference() bool {
	met := false
	for _, h := range c.hops {
		if h.answered && (h.b.kind == extension || h.b.kind == trunk) {
			return false
		}
		met = met || h.conference()
	}
	return met
}

// settle gives the exact moment of a wall time. The PBX's clock has no zone, and an hour of autumn comes twice; the epoch inside the ids
// tells which one it was. It is used only when it names the same wall time, within 2 s: on a later row of a channel it would not.
func settle(start time.Time, ids ...string) time.Time {
	_, offset := start.Zone()
	for _, id := range ids {
		at, ok := Epoch(id)
		if !ok {
			continue
		}
		at = at.In(start.Location())
		_, then := at.Zone()
		wall := start.Sub(at) + time.Duration(offset-then)*time.Second
		if wall.Abs() <= 2*time.Second {
			return at.Add(wall)
		}
	}
	return start
}

// name finds the outside number, our number and the line.
func (c *assembly) name() {
	r := c.root.row
	var lines []string
	switch c.call.Direction {
	case Inbound:
		c.call.RawPhone, c.call.Phone = c.firstPhone(r.CallerNum, r.Src, callerID(r.CallerID))
		c.call.DID = r.DID
		for _, h := range c.hops {
			if c.call.DID == "" {
				c.call.DID = h.row.DID
			}
		}
		if c.call.DID == "" {
			c.call.DID = firstExten(c.events, c.root.a.channel)
		}
		if c.call.DID == "" {
			c.call.DID = r.Dst
		}
		lines = []string{c.call.DID, c.root.a.peer}
	case Outbound:
		var candidates []string
		for _, h := range c.hops {
			if c.clients[h.b.channel] {
				sent := dialledThrough(h.row.LastData, h.b.peer)
				if c.internal(h.row.Dst) {
					candidates = append(candidates, sent, h.row.Dst)
				} else {
					candidates = append(candidates, h.row.Dst, sent)
				}
				lines = append(lines, h.b.peer, callerID(h.row.CallerID))
			}
		}
		if len(c.clients) == 0 {
			for _, n := range []string{r.Dst, r.CallerNum, r.Src, callerID(r.CallerID)} {
				if !c.internal(n) {
					candidates = append(candidates, n)
				}
			}
		}
		c.call.RawPhone, c.call.Phone = c.firstPhone(candidates...)
	}
	for _, l := range lines {
		if c.call.Line == "" && l != "" && c.rules.Line != nil {
			c.call.Line = c.rules.Line(l)
		}
	}
}

// firstPhone gives the first of the texts that is a number, else the first that is any text.
func (c *assembly) firstPhone(texts ...string) (raw, number string) {
	for _, t := range texts {
		if number = c.e164(t); number != "" {
			return t, number
		}
		if raw == "" {
			raw = t
		}
	}
	return raw, ""
}

// callerID gives the number in "Name" <number>.
func callerID(clid string) string {
	i, j := strings.LastIndexByte(clid, '<'), strings.LastIndexByte(clid, '>')
	if i < 0 || j < i {
		return clid
	}
	return clid[i+1 : j]
}

// caller gives the extension that began an outbound call.
func (c *assembly) caller(legs []*leg) string {
	if c.root.a.kind == extension {
		return c.root.a.number
	}
	if c.root.a.kind == local {
		if to := c.dialled(c.root.a.exten); to.kind == extension {
			return to.number
		}
	}
	for _, l := range legs {
		if l.Extension != "" {
			return l.Extension
		}
	}
	for _, h := range c.hops {
		if h.b.kind == extension {
			return h.b.number // click-to-call: the phone that rang and was not picked up
		}
	}
	return ""
}

func (c *assembly) public(l *leg) Leg {
	out := l.Leg
	out.EndedAt = l.end
	if l.answered() {
		out.AnsweredAt, out.EndedAt = l.talk[0].from, later(l.end, l.talk[len(l.talk)-1].to)
		out.Talk = c.bounded(l.bill, total(l.talk))
	}
	return out
}

// bounded gives talk in seconds: as the PBX counted it where it did (bill ≥ 0), never more than the call was long.
func (c *assembly) bounded(bill int, talk time.Duration) int {
	if bill < 0 {
		bill = seconds(talk)
	}
	return min(bill, int(c.call.End.Sub(c.call.Start)/time.Second))
}

func firstLinkedID(rows []Row) string {
	first := ""
	for _, r := range rows {
		if compareLinkedIDs(r.LinkedID, first) < 0 {
			first = r.LinkedID
		}
	}
	return first
}

// compareLinkedIDs puts the older call first; ids without an epoch come last.
func compareLinkedIDs(a, b string) int {
	aSec, aSeq, aOK := epochOf(a)
	bSec, bSeq, bOK := epochOf(b)
	switch {
	case aOK != bOK:
		return cond(aOK, -1, 1)
	case (a == "") != (b == ""):
		return cond(b == "", -1, 1)
	}
	return cmp.Or(cmp.Compare(aSec, bSec), cmp.Compare(aSeq, bSeq), cmp.Compare(a, b))
}

// portalID finds a CALL_ID in the fields that a dialplan can write. A column too short for it cuts it: the longest is whole.
func portalID(rows []Row) string {
	id := ""
	for _, r := range rows {
		for _, f := range []string{r.UserField, r.AccountCode, r.PeerAccount, r.UniqueID, r.LinkedID} {
			if found := portalIDForm.FindString(f); len(found) > len(id) || len(found) == len(id) && found < id {
				id = found
			}
		}
	}
	return id
}

// hash is one for one set of rows, in whatever order they come.
func hash(rows []Row) string {
	lines := make([]string, 0, len(rows))
	for i := range rows {
		lines = append(lines, fingerprint(&rows[i]))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(lines), "\n")))
	return hex.EncodeToString(sum[:16])
}
