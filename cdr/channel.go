package cdr

import (
	"regexp"
	"strings"
)

// kind says what is at one end of a row.
type kind int

const (
	nobody    kind = iota + 1
	app            // an IVR, a queue, a voicemail box, a conference, a parking slot
	local          // one half of a Local channel: neither a phone nor a line, only a link to another row
	extension      // a phone of ours
	trunk          // a line to the outside world, or a phone at the far end of it
)

// party is one end of a row.
type party struct {
	kind    kind
	channel string // without the marks that Asterisk puts on channels in transit
	number  string // extension: its number
	peer    string // trunk: its name
	base    string // local: the name that both halves share
	exten   string // local: what was dialled
}

// is reports whether p is on that channel.
func (p party) is(channel string) bool { return p.channel != "" && p.channel == channel }

// otherHalf reports whether q is the other end of the Local channel p.
func (p party) otherHalf(q party) bool {
	return p.kind == local && q.kind == local && p.base == q.base && p.channel != q.channel
}

var (
	inTransit   = []string{"AsyncGoto/", "Surrogate/", "Parked/", "Transfered/", "Bridge/"}
	appPrefixes = []string{"App:", "Queue:", "MeetMe:", "Park:", "VOICEMAIL"}
	// FreePBX names the legs of a follow-me after what it dials: FMPR-201 for the phone, FMGL-89161234567# for an outside number.
	followMe = regexp.MustCompile(`^FM(?:PR|GL)-(\+?\d+)#?$`)
)

func cleanChannel(name string) string {
	name = strings.TrimSpace(name)
	for _, p := range inTransit {
		name = strings.TrimPrefix(name, p)
	}
	if i := strings.IndexByte(name, '<'); i >= 0 { // <ZOMBIE>, <MASQ>
		name = name[:i]
	}
	return name
}

// peerOf gives the account in TECH/account-0000001f. Accounts may hold dashes, so the last one counts.
func peerOf(channel string) string {
	_, name, ok := strings.Cut(channel, "/")
	if !ok {
		name = channel
	}
	if i := strings.LastIndexByte(name, '-'); i > 0 {
		name = name[:i]
	}
	return name
}

func isApp(channel string) bool {
	for _, p := range appPrefixes {
		if len(channel) >= len(p) && strings.EqualFold(channel[:len(p)], p) {
			return true
		}
	}
	return false
}

// source says who is at the calling end of a row.
func (c *assembly) source(r *Row) party {
	p := c.party(r.Channel, r.FromAccount)
	if p.kind == extension && r.FromAccount == "" && r.DID != "" && r.Src != "" && !c.internal(r.Src) {
		return party{kind: trunk, channel: p.channel, peer: p.number} // a line whose account looks like an extension: it alone has a did
	}
	if p.kind != trunk || r.FromAccount != "" || r.DID != "" || fromTrunk(r.Context) {
		return p
	}
	// The name of the device is no number (SIP/alice): its caller id may be. Not so on a line: 900 and 112 call in too.
	for _, n := range []string{r.CallerNum, r.Src} {
		if n != "" && c.internal(n) {
			return party{kind: extension, channel: p.channel, number: n}
		}
	}
	return p
}

// destination says who is at the called end of a row.
func (c *assembly) destination(r *Row, from party) party {
	if r.App {
		return party{kind: app, channel: cleanChannel(r.DstChannel)}
	}
	p := c.party(r.DstChannel, r.ToAccount)
	if p.kind != trunk || r.ToAccount != "" || !c.internal(r.Dst) || r.Dst == r.DID || dialledThrough(r.LastData, p.peer) != "" {
		return p
	}
	// SIP/alice called as 201. On a row that came from a line dst may be our own short DID, unless did says what that was.
	if from.kind == trunk && r.DID == "" {
		return p
	}
	return party{kind: extension, channel: p.channel, number: r.Dst}
}

func (c *assembly) party(channel, account string) party {
	name := cleanChannel(channel)
	peer := peerOf(name)
	switch {
	case isApp(name):
		return party{kind: app, channel: name}
	case strings.HasPrefix(name, "Local/"):
		p := party{kind: local, channel: name, base: name}
		if n := len(name); n > 2 && name[n-2] == ';' {
			p.base = name[:n-2]
		}
		p.exten, _, _ = strings.Cut(strings.TrimPrefix(name, "Local/"), "@")
		return p
	case account != "" && c.internal(account):
		return party{kind: extension, channel: name, number: account}
	case account != "":
		return party{kind: trunk, channel: name, peer: account}
	case name == "":
		return party{kind: nobody}
	case c.internal(peer):
		return party{kind: extension, channel: name, number: peer}
	}
	return party{kind: trunk, channel: name, peer: peer}
}

// fromTrunk knows the contexts that FreePBX gives to calls from outside.
func fromTrunk(context string) bool {
	for _, p := range []string{"from-trunk", "from-pstn", "from-did", "ext-did", "from-dahdi", "from-digital", "from-analog"} {
		if strings.HasPrefix(context, p) {
			return true
		}
	}
	return false
}

// dialledThrough gives the number that the data of Dial() sends through a line: IAX2/trunk/79035550000,30 or PJSIP/79035550000@trunk.
// "" when it dials a device.
func dialledThrough(data, peer string) string {
	if peer == "" {
		return ""
	}
	data, _, _ = strings.Cut(data, ",")
	for dial := range strings.SplitSeq(data, "&") {
		_, to, _ := strings.Cut(dial, "/")
		if number, ok := strings.CutPrefix(to, peer+"/"); ok && !strings.Contains(number, ":") {
			return number
		}
		if number, ok := strings.CutSuffix(to, "@"+peer); ok && !strings.Contains(number, "/") {
			return number
		}
	}
	return ""
}

// rings reports whether the data of Dial() names the device of a channel. It tells a phone that was called from one that came into the
// call by a pickup or a transfer.
func rings(data, channel string) bool {
	data, _, _ = strings.Cut(data, ",")
	tech, _, _ := strings.Cut(channel, "/")
	device := tech + "/" + peerOf(channel)
	for dial := range strings.SplitSeq(data, "&") {
		if dial == device || strings.HasPrefix(dial, device+"/") || strings.HasPrefix(dial, device+"@") {
			return true
		}
	}
	return false
}
