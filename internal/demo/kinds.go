package demo

import "time"

// kind is one way in which a call can go.
type kind struct {
	name  string
	often int // how often, against the others
	play  func(*call)
}

// kinds gives all kinds, those that a short day must have first.
func kinds() []kind {
	return []kind{
		{"inbound, answered", 16, (*call).answered},
		{"inbound, missed", 4, (*call).missed},
		{"outbound, answered", 12, outbound("ANSWERED", "200")},
		{"queue, answered", 8, (*call).queueAnswered},
		{"blind transfer", 2, (*call).blindTransfer},
		{"attended transfer", 2, (*call).attendedTransfer},
		{"internal", 4, (*call).internal},
		{"outbound, busy", 2, outbound("BUSY", "486")},
		{"outbound, no answer", 3, outbound("NOANSWER", "480")},
		{"queue, abandoned", 2, (*call).queueAbandoned},
		{"IVR, abandoned", 1, (*call).menuAbandoned},
		{"voicemail", 1, (*call).voicemail},
		{"pickup", 1, (*call).pickup},
		{"forwarded to a mobile", 1, (*call).forwarded},
		{"desk phone and softphone", 2, (*call).twoContacts},
		{"outbound, cancelled", 1, outbound("CANCEL", "603-S")},
		{"outbound, failed", 1, outbound("CONGESTION", "503")},
	}
}

// Types of a call in the portal.
const (
	typeOutbound   = 1
	typeInbound    = 2
	typeRedirected = 3
)

// team chooses which number the client dialled, and gives who works there and their queue.
func (c *call) team() ([]employee, string) {
	if c.random.IntN(10) < 3 {
		c.did = supportLine
		return support(), helpQueue
	}
	return sales(), salesQueue
}

// own chooses whose phone rings when the client dials an extension or a number of one's own: the client's manager, if there is one.
func (c *call) own() (who, colleague employee) {
	team, _ := c.team()
	i := c.random.IntN(len(team))
	if cl := c.clients[c.client]; cl.name != "" && c.did == salesLine {
		i = cl.manager
	}
	return team[i], team[(i+1+c.random.IntN(len(team)-1))%len(team)]
}

func (c *call) answered() {
	who, _ := c.own()
	ring := c.seconds(2, 9)
	r := c.add(leg{from: c.outside(), to: c.phone(who), answered: ring, ended: ring + c.seconds(5, 24), status: "ANSWERED", file: "auto"})
	c.part(typeInbound, "200", who.id, 0).talked(r)
}

func (c *call) missed() {
	who, _ := c.own()
	c.add(leg{from: c.outside(), to: c.phone(who), ended: c.seconds(6, 25), status: "CANCEL"})
	c.part(typeInbound, "304", who.id, 0)
}

// twoContacts rings a desk phone and a softphone on one account: MikoPBX writes a row for each.
func (c *call) twoContacts() {
	who, _ := c.own()
	ring := c.seconds(2, 9)
	r := c.add(leg{from: c.outside(), to: c.phone(who), answered: ring, ended: ring + c.seconds(5, 24), status: "ANSWERED", file: "auto"})
	soft := c.phone(who)
	c.add(leg{from: c.outside(), to: soft, ended: ring, status: "ANSWERED", unique: r.uniqueID + "_" + soft.channel})
	c.part(typeInbound, "200", who.id, 0).talked(r)
}

func (c *call) queueAnswered() {
	team, queue := c.team()
	winner := c.random.IntN(len(team))
	ring := c.seconds(3, 12)
	c.add(leg{from: c.outside(), to: app("Queue:"+queue, queue), answered: ring, ended: ring, unique: c.uniqueID(c.root), app: true})
	for i, member := range team {
		l := leg{from: c.outside(), to: c.phone(member), rang: 200 * time.Millisecond, ended: ring + 100*time.Millisecond}
		if i == winner {
			l.answered, l.ended, l.status, l.file = ring, ring+c.seconds(5, 24), "ANSWERED", "auto"
		}
		if r := c.add(l); i == winner {
			c.part(typeInbound, "200", member.id, 0).talked(r)
		}
	}
}

func (c *call) queueAbandoned() {
	team, queue := c.team()
	wait := 20*time.Second + c.seconds(4, 12)
	c.add(leg{from: c.outside(), to: app("Queue:"+queue, queue), ended: wait, unique: c.uniqueID(c.root), app: true})
	for _, round := range []struct{ from, to time.Duration }{{200 * time.Millisecond, 15 * time.Second}, {20 * time.Second, wait}} {
		for _, member := range team {
			c.add(leg{from: c.outside(), to: c.phone(member), rang: round.from, ended: round.to})
		}
	}
	c.part(typeInbound, "304", team[0].id, 0)
}

func (c *call) menuAbandoned() {
	c.add(leg{from: c.outside(), to: app("App:"+menu, menu), ended: c.seconds(4, 14), unique: c.uniqueID(c.root), app: true, keys: "1,4"})
	c.part(typeInbound, "304", admin, 0)
}

func (c *call) voicemail() {
	who, _ := c.own()
	ring := c.seconds(12, 20)
	c.add(leg{from: c.outside(), to: c.phone(who), ended: ring, status: "NOANSWER"})
	at := ring + 500*time.Millisecond
	c.add(leg{from: c.outside(), to: app("VOICEMAIL", "voicemail"), rang: at, answered: at, ended: at + c.seconds(5, 15), file: "auto"})
	c.part(typeInbound, "304", who.id, 0)
}

// pickup is answered by a colleague whose phone did not ring.
func (c *call) pickup() {
	who, colleague := c.own()
	ring := c.seconds(3, 9)
	c.add(leg{from: c.outside(), to: c.phone(who), ended: ring, status: "NOANSWER"})
	c.seq++
	unique := c.uniqueID(c.seq)
	r := c.add(leg{
		from: c.outside(), to: c.phone(colleague), rang: ring, answered: ring, ended: ring + c.seconds(5, 24), unique: unique, file: "pickup_" + unique,
	})
	c.part(typeInbound, "200", colleague.id, 0).talked(r)
}

// forwarded rings at the desk in vain and is answered on the employee's mobile, dialled through the provider.
func (c *call) forwarded() {
	who, _ := c.own()
	ring := c.seconds(5, 10)
	c.add(leg{from: c.outside(), to: c.phone(who), ended: ring, status: "NOANSWER"})
	mobile := party{channel: c.newChannel(Trunk), number: who.mobile, account: Trunk}
	rang := ring + 1200*time.Millisecond
	answered := rang + c.seconds(2, 6)
	r := c.add(leg{from: c.outside(), to: mobile, rang: rang, answered: answered, ended: answered + c.seconds(5, 20), status: "ANSWERED", file: "auto"})
	c.part(typeInbound, "200", who.id, 0).talked(r)
}

func (c *call) blindTransfer() {
	who, colleague := c.own()
	answered := c.seconds(2, 8)
	passed := answered + c.seconds(5, 15)
	r := c.add(leg{from: c.outside(), to: c.phone(who), answered: answered, ended: passed, status: "ANSWERED", file: "auto"})
	c.part(typeInbound, "200", who.id, 0).talked(r)
	again := passed + c.seconds(2, 6)
	r = c.add(leg{
		from: c.outside(), to: c.phone(colleague), rang: passed - 200*time.Millisecond, answered: again, ended: again + c.seconds(5, 20),
		status: "ANSWERED", file: "auto",
	})
	c.part(typeRedirected, "200", colleague.id, again).talked(r)
}

// attendedTransfer puts the client on hold, asks a colleague and passes the call on. The first row goes on while they speak; its file
// does not.
func (c *call) attendedTransfer() {
	who, colleague := c.own()
	desk, other := c.phone(who), c.phone(colleague)
	answered := c.seconds(2, 8)
	hold := answered + c.seconds(5, 12)
	asked := hold + c.seconds(1, 3)
	agreed := asked + c.seconds(3, 6)
	passed := agreed + time.Second
	r := c.add(leg{
		from: c.outside(), to: desk, answered: answered, ended: passed, status: "ANSWERED", file: "auto", length: hold - answered,
	})
	p := c.part(typeInbound, "200", who.id, 0)
	p.talked(r)
	p.Held = c.between(hold, passed)
	p.Talk -= p.Held
	ask, asks := desk, other
	ask.account = ""
	c.add(leg{
		from: ask, to: asks, rang: hold, answered: asked, ended: agreed, file: "transfer_" + who.extension + "_" + colleague.extension + "_" + c.linkedID,
		inner: true,
	})
	client := c.outside()
	client.account, other.account = "", ""
	joined := passed - 100*time.Millisecond
	r = c.add(leg{
		from: client, to: other, rang: passed - 200*time.Millisecond, answered: joined, ended: joined + c.seconds(5, 20), file: "auto",
	})
	c.part(typeRedirected, "200", colleague.id, joined).talked(r)
}

// internal is a call between colleagues.
func (c *call) internal() {
	who, colleague := c.own()
	c.did = ""
	answered := c.seconds(1, 6)
	c.add(leg{
		from: c.phone(who), to: c.phone(colleague), answered: answered, ended: answered + c.seconds(5, 20), status: "ANSWERED", file: "auto",
		unique: c.uniqueID(c.root),
	})
}

// outbound gives the kind of a call to a client that ends with a DIALSTATUS, and the status it has in the portal.
func outbound(dialStatus, status string) func(*call) {
	return func(c *call) {
		who, _ := c.own()
		c.did = ""
		from := c.phone(who)
		c.trunk = c.newChannel(Trunk)
		to := c.outside()
		to.number = "8" + to.number[1:] // as people dial
		l := leg{from: from, to: to, status: dialStatus, unique: c.uniqueID(c.root)}
		switch dialStatus {
		case "ANSWERED":
			l.answered = c.seconds(3, 12)
			l.ended, l.file = l.answered+c.seconds(5, 24), "auto"
		case "NOANSWER":
			l.ended = c.seconds(15, 30)
		default:
			l.ended = c.seconds(1, 5)
		}
		r := c.add(l)
		c.part(typeOutbound, status, who.id, 0).talked(r)
	}
}
