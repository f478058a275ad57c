package pbxtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Options say what a PBX holds.
type Options struct {
	Calls      int
	Recorded   int // how many of the answered calls have an audio file on disk; more than about half of the calls is cut down to those that can
	Seed       uint64
	Zone       *time.Location // of the PBX's clock; nil: UTC
	From, To   time.Time      // when the calls begin: [From, To), in whole seconds
	Extensions []string       // three different ones take part in a call
	CEL        bool           // the PBX keeps channel events, too
	Dir        string         // of the recordings: recordings.dir
}

// PBX is a generated PBX. Its methods may not be called at the same time.
type PBX struct {
	opts      Options
	rng       *rand.Rand
	templates []*template
	clients   []*client
	calls     []*call
	sequence  int64 // next of the CDR engine
	channel   int64 // next channel counter
	local     int64 // next number of a pair of Local channels
	device    int64 // devices that had a channel
	tones     int   // recordings made
}

// Call is one call of the PBX and what it must become in Bitrix24.
type Call struct {
	LinkedID  string
	Template  string // which capture: 01, 02a, 03a…; reference cdr-ami.md §3
	Direction Direction
	Start     time.Time // in the PBX's zone, whole seconds
	End       time.Time
	Phone     string  // the outside party, E.164; "" for an internal call
	RawPhone  string  // the same as the rows have it
	DID       string  // our number that was called; "" for a call that did not come in
	Sent      bool    // false: an internal call
	Parts     []Part  // none unless Sent
	File      string  // the audio on disk, relative to Options.Dir; "" for none
	Name      string  // the same as the rows have it
	Tone      float64 // Hz; the audio is this tone and no other call's: tells whose recording it is
	Seconds   int     // length of the audio
}

// Part is one call of the portal. All figures are those that the PBX lets one know: with CEL the bridges, else the best bound of the rows.
type Part struct {
	LinkedID   string
	N          int
	ExternalID string
	Type       int       // TYPE: 1 outgoing, 2 incoming, 3 incoming and passed on
	Status     string    // STATUS_CODE
	Extension  string    // whose it is: who talked, the caller, or the first whose phone rang; "" when none did: the fallback's
	Mobile     string    // the phone of the talk, E.164, when the call was forwarded from Extension; it is that employee's own
	Phone      string    // PHONE_NUMBER, E.164
	Start      time.Time // ± 1 s for a part after a transfer
	Talk       int       // CALL_DURATION, seconds; ± 1 when the part is answered, exactly 0 when not
	Recorded   bool      // carries the audio of the call
}

// call is a Call with what its rows are made of.
type call struct {
	Call
	template *template
	delta    time.Duration // from the capture's times to the call's
	sequence int64
	values   map[string]string
	named    bool // the rows name a recording
}

// client is somebody outside. His calls never overlap.
type client struct {
	phone, name string // E.164
	busy        []period
}

type period struct{ from, to time.Time }

func (c *client) free(p period) bool {
	return !slices.ContainsFunc(c.busy, func(b period) bool { return p.from.Before(b.to) && b.from.Before(p.to) })
}

// Generate makes a PBX. The same options make the same PBX. It panics when the options leave no room for a call: fewer than three
// extensions, or a To that is not after From.
func Generate(o Options) *PBX {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.From = o.From.Truncate(time.Second); len(o.Extensions) < len(labExtensions) || o.To.Sub(o.From) < time.Second {
		panic(fmt.Sprintf("pbxtest: %d extensions and %s are too few for a call", len(o.Extensions), o.To.Sub(o.From)))
	}
	p := &PBX{
		opts: o, rng: rand.New(rand.NewPCG(o.Seed, 0x5ca1ab1e)), templates: readTemplates(),
		sequence: 100, channel: 40, local: 1,
	}
	for range max(1, o.Calls/5) {
		p.newClient()
	}
	starts := make([]time.Time, o.Calls)
	for i := range starts {
		starts[i] = p.moment()
	}
	slices.SortFunc(starts, time.Time.Compare)
	kinds := p.mix(o.Calls)
	for i, start := range starts {
		p.add(kinds[i], start)
	}
	p.record(o.Recorded)
	return p
}

// moment chooses a second of the period.
func (p *PBX) moment() time.Time {
	span := int64(p.opts.To.Sub(p.opts.From) / time.Second)
	return p.opts.From.Add(time.Duration(p.rng.Int64N(span)) * time.Second)
}

// mix chooses the kinds of n calls: each once, then by weight, in random order.
func (p *PBX) mix(n int) []*template {
	var urn []*template
	for _, t := range p.templates {
		for range t.weight {
			urn = append(urn, t)
		}
	}
	kinds := make([]*template, n)
	for i := range kinds {
		if i < len(p.templates) {
			kinds[i] = p.templates[i]
		} else {
			kinds[i] = urn[p.rng.IntN(len(urn))]
		}
	}
	p.rng.Shuffle(n, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	return kinds
}

// record chooses n of the calls whose conversation has a file. The others were not recorded, and their rows say so.
func (p *PBX) record(n int) {
	var able []*call
	for _, c := range p.calls {
		if c.template.recordable() {
			able = append(able, c)
		}
	}
	p.rng.Shuffle(len(able), func(i, j int) { able[i], able[j] = able[j], able[i] })
	for i, c := range able {
		if i < n {
			p.keep(c)
		} else {
			c.named = false
		}
	}
}

// newClient makes somebody with a number that no employee and nobody else has.
func (p *PBX) newClient() *client {
	codes := [...]string{"905", "909", "910", "915", "916", "917", "925", "926", "961", "977", "985", "999"}
	names := [...]string{"Ivan", "Мария", "Пётр Сергеевич", "ООО Ромашка", "Anna", "Ольга", ""}
	for {
		c := &client{
			phone: "+7" + codes[p.rng.IntN(len(codes))] + fmt.Sprintf("%07d", p.rng.IntN(10_000_000)),
			name:  names[p.rng.IntN(len(names))],
		}
		if !slices.ContainsFunc(p.clients, func(other *client) bool { return other.phone == c.phone }) {
			p.clients = append(p.clients, c)
			return c
		}
	}
}

// client chooses somebody who has no other call at that time.
func (p *PBX) client(when period) *client {
	first := p.rng.IntN(len(p.clients))
	for i := range p.clients {
		if c := p.clients[(first+i)%len(p.clients)]; c.free(when) {
			return c
		}
	}
	return p.newClient()
}

// Add makes one more call of a kind (a Call's Template), without writing it anywhere; Insert does. It has no recording.
// It panics on a kind that is not there.
func (p *PBX) Add(kind string, start time.Time) Call {
	c := p.add(p.template(kind), start.Truncate(time.Second))
	c.named = false
	return c.copy()
}

func (p *PBX) template(kind string) *template {
	i := slices.IndexFunc(p.templates, func(t *template) bool { return t.name == kind })
	if i < 0 {
		panic("pbxtest: no captured call " + kind)
	}
	return p.templates[i]
}

// add makes a call of a template.
func (p *PBX) add(t *template, start time.Time) *call {
	c := p.make(t, start, nil)
	p.calls = append(p.calls, c)
	return c
}

// make makes a call that is not yet one of the PBX's; forced sets values that the call would have at random.
func (p *PBX) make(t *template, start time.Time, forced map[string]string) *call {
	c := &call{
		template: t, delta: start.Sub(t.start), sequence: p.sequence, named: true,
		Call: Call{
			Template: t.name, Direction: t.direction, Start: start.In(p.opts.Zone), End: start.Add(t.length).In(p.opts.Zone),
			Sent: len(t.parts) > 0,
		},
	}
	p.fill(c, forced)
	p.sequence += t.sequences
	p.channel += t.channels
	p.local++

	for i, part := range t.parts {
		own := Part{
			LinkedID: c.LinkedID, N: i + 1, ExternalID: c.LinkedID, Type: part.callType, Status: part.status,
			Extension: c.values[part.extension], Phone: c.Phone, Start: c.Start.Add(time.Duration(p.known(part.start)) * time.Second),
			Talk: p.known(part.talk),
		}
		if i > 0 {
			own.ExternalID += "/" + strconv.Itoa(i+1)
		}
		if part.mobile {
			own.Mobile = p.mobile(own.Extension)
		}
		c.Parts = append(c.Parts, own)
	}
	return c
}

func (p *PBX) known(s seconds) int {
	if p.opts.CEL {
		return s.events
	}
	return s.rows
}

// fill chooses the values of a call's variables, and what the call gets from them.
func (p *PBX) fill(c *call, forced map[string]string) {
	who := p.client(period{c.Start.Add(-2 * time.Second), c.End.Add(2 * time.Second)})
	c.values = make(map[string]string, len(c.template.variables)+len(labExtensions))
	for i, chosen := range p.rng.Perm(len(p.opts.Extensions))[:len(labExtensions)] {
		c.values[labExtensions[i]] = p.opts.Extensions[chosen]
	}
	dids := [...]string{"74951112233", "4951234567", "88005550101"}
	did := dids[p.rng.IntN(len(dids))]
	dialled := p.written(who.phone)
	maps.Copy(c.values, forced)
	if c.Direction != Internal {
		c.Phone, c.RawPhone = who.phone, dialled
		who.busy = append(who.busy, period{c.Start, c.End})
	}
	if raw, ok := forced[labClient]; ok {
		c.Phone, c.RawPhone = "", raw
	}
	if c.Direction == Inbound {
		c.DID = did
	}
	for _, v := range c.template.variables {
		_, set := forced[v.key]
		switch {
		case set:
		case v.key == labTrunk:
			c.values[v.key] = dids[0]
		case labDIDs[v.key]:
			c.values[v.key] = did
		case v.key == labOutside && c.Direction == Inbound:
			c.values[v.key] = "8" + strings.TrimPrefix(p.mobile(c.values[labExtensions[0]]), "+7")
		case v.key == labClient, v.key == labOutside:
			c.values[v.key] = dialled
		case v.kind == number: // an extension: done
		default:
			c.values[v.key] = p.value(c, v, who)
		}
	}
	c.LinkedID = c.template.rows[0].texts[cdrColumn("linkedid")].with(c.values)
}

// value makes the value of a variable that is no number.
func (p *PBX) value(c *call, v variable, who *client) string {
	switch v.kind {
	case bridgeID:
		return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", p.rng.Uint32(), p.rng.IntN(1<<16), p.rng.IntN(1<<12), 0x8000|p.rng.IntN(1<<14), p.rng.Int64N(1<<48))
	case uniqueID:
		epoch, counter := splitUniqueID(v.key)
		return fmt.Sprintf("%d.%d", time.Unix(epoch, 0).Add(c.delta).Unix(), p.channel+counter-c.template.channel)
	case fileTime:
		const form = "20060102-150405"
		at, _ := time.Parse(form, v.key) // the capture has no other
		return at.Add(c.delta).In(p.opts.Zone).Format(form)
	case clientName:
		return who.name
	case employeeName:
		return "Сотрудник " + c.values[labExtensions[0]]
	case deviceChannel:
		name, _, _ := strings.Cut(strings.TrimPrefix(v.key, "IAX2/"), "-")
		if e, ok := c.values[name]; ok {
			name = e
		}
		// Asterisk draws the suffix at random; here no two calls of a day share one, as no two at the same time ever do.
		p.device++
		return fmt.Sprintf("IAX2/%s-%d", name, p.device*7919%(1<<14))
	case localChannel:
		name, _, _ := strings.Cut(strings.TrimPrefix(v.key, "Local/"), "@")
		return fmt.Sprintf("Local/%s@from-internal-%08x", c.values[name], p.local)
	}
	return v.key
}

// written gives a number in one of the forms that trunks and people write it.
func (p *PBX) written(phone string) string {
	subscriber := strings.TrimPrefix(phone, "+7")
	forms := [...]string{"+7", "8", "7", ""}
	return forms[p.rng.IntN(len(forms))] + subscriber
}

// Calls gives the truth about all calls, oldest first.
func (p *PBX) Calls() []Call {
	all := make([]Call, 0, len(p.calls))
	for _, c := range p.calls {
		all = append(all, c.copy())
	}
	slices.SortStableFunc(all, func(a, b Call) int { return a.Start.Compare(b.Start) })
	return all
}

func (c *call) copy() Call {
	out := c.Call
	out.Parts = slices.Clone(c.Parts)
	return out
}

// Parts gives the parts of all calls that are sent, ordered by ExternalID.
func (p *PBX) Parts() []Part {
	var all []Part
	for _, c := range p.calls {
		all = append(all, c.Parts...)
	}
	slices.SortFunc(all, func(a, b Part) int { return cmp.Compare(a.ExternalID, b.ExternalID) })
	return all
}

// UserID gives the user of the portal, as SeedJSON seeds it, whose extension this is; 0 if nobody's.
func (p *PBX) UserID(extension string) int {
	i := slices.Index(p.opts.Extensions, extension)
	if i < 0 {
		return 0
	}
	return firstUser + i
}

// firstUser is the id of the employee with the first extension. 1 is the administrator of every portal.
const firstUser = 11

// mobile gives the mobile of the employee with this extension, E.164.
func (p *PBX) mobile(extension string) string {
	return fmt.Sprintf("+7903%07d", 5550000+slices.Index(p.opts.Extensions, extension))
}

// SeedJSON gives a seed for the emulator (product.md §5): an employee for every extension, a dismissed one, and every third client as a contact.
func (p *PBX) SeedJSON() []byte {
	type employee struct {
		ID       int    `json:"id"`
		Name     string `json:"name"`
		LastName string `json:"last_name"`
		Inner    string `json:"inner"`
		Mobile   string `json:"mobile"`
		Active   bool   `json:"active"`
	}
	type contact struct {
		Phone    string `json:"phone"`
		Name     string `json:"name"`
		Assigned int    `json:"assigned"`
	}
	var seed struct {
		Employees []employee `json:"employees"`
		Contacts  []contact  `json:"contacts"`
	}
	for _, e := range p.opts.Extensions {
		seed.Employees = append(seed.Employees, employee{
			ID: p.UserID(e), Name: "Сотрудник", LastName: e, Inner: e, Mobile: p.mobile(e), Active: true,
		})
	}
	seed.Employees = append(seed.Employees, employee{
		ID: firstUser + len(p.opts.Extensions), Name: "Уволенный", LastName: Dismissed, Inner: Dismissed,
	})
	for i, c := range p.clients {
		if i%3 == 0 {
			name := cmp.Or(c.name, c.phone)
			seed.Contacts = append(seed.Contacts, contact{Phone: c.phone, Name: name, Assigned: firstUser + i%len(p.opts.Extensions)})
		}
	}
	b, err := json.MarshalIndent(seed, "", "  ")
	if err != nil { // texts and numbers cannot fail
		panic(err)
	}
	return b
}
