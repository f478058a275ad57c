package emulator

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// itemKind is an entityTypeId of the CRM.
type itemKind int

const (
	lead    itemKind = 1
	deal    itemKind = 2
	contact itemKind = 3
	company itemKind = 4
)

func (k itemKind) name() string {
	return [...]string{"", "LEAD", "DEAL", "CONTACT", "COMPANY"}[k]
}

func kindNamed(name string) itemKind {
	for _, k := range []itemKind{lead, deal, contact, company} {
		if k.name() == strings.ToUpper(name) {
			return k
		}
	}
	return 0
}

// item is a lead, deal, contact or company.
type item struct {
	kind    itemKind
	id      int64
	fields  map[string]string // as the classic methods name them
	multi   map[string][]value
	created time.Time
	changed time.Time
}

// value is one value of a field that has several: PHONE, EMAIL, WEB, IM.
type value struct {
	id   int64
	text string
	kind string // WORK, MOBILE, HOME…
}

func (e *item) open() bool {
	if e.kind == lead {
		return e.fields["STATUS_ID"] != "CONVERTED" && e.fields["STATUS_ID"] != "JUNK"
	}
	stage := e.fields["STAGE_ID"]
	return !strings.HasSuffix(stage, "WON") && !strings.HasSuffix(stage, "LOSE") && !strings.HasSuffix(stage, "APOLOGY")
}

// title is how the item is called on screen.
func (e *item) title() string {
	if e.kind == contact {
		return strings.TrimSpace(e.fields["NAME"] + " " + e.fields["LAST_NAME"])
	}
	return e.fields["TITLE"]
}

func (e *item) phones() []string {
	var out []string
	for _, v := range e.multi["PHONE"] {
		out = append(out, v.text)
	}
	return out
}

func (e *item) assigned() int { n, _ := strconv.Atoi(e.fields["ASSIGNED_BY_ID"]); return n }

type itemKey struct {
	kind itemKind
	id   int64
}

type crm struct {
	items      map[itemKind][]*item // by ID
	last       map[itemKind]int64
	byPhone    map[string][]*item  // duplicate index: normal phone
	related    map[itemKey][]*item // leads and deals of a contact or company
	excluded   map[string]bool     // normal phones
	activities []*Activity         // by ID
	byOrigin   map[string][]*Activity
	lastValue  int64
	happen     func(kind, what string, id int64) // told of what comes, changes and goes
}

func newCRM() crm {
	return crm{
		items: map[itemKind][]*item{}, last: map[itemKind]int64{}, byPhone: map[string][]*item{}, related: map[itemKey][]*item{},
		excluded: map[string]bool{}, byOrigin: map[string][]*Activity{}, happen: func(string, string, int64) {},
	}
}

var phoneTail = regexp.MustCompile(`[;#,].*$`)

// normalPhone is a number as the CRM's duplicate index holds it: digits, a Russian 8 as 7, without a prefix of international dialling, and
// never with a country code that was not there.
func normalPhone(s string) string {
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, phoneTail.ReplaceAllString(s, ""))
	if len(digits) < 10 {
		return digits
	}
	if digits[0] == '8' && !strings.ContainsRune("012", rune(digits[1])) {
		return "7" + digits[1:]
	}
	for _, prefix := range []string{"00", "011", "0"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			return rest
		}
	}
	return digits
}

func (c *crm) get(kind itemKind, id int64) *item {
	i, ok := slices.BinarySearchFunc(c.items[kind], id, func(e *item, id int64) int { return cmp.Compare(e.id, id) })
	if !ok {
		return nil
	}
	return c.items[kind][i]
}

func (c *crm) add(kind itemKind, fields map[string]string, now time.Time, phones ...string) *item {
	c.last[kind]++
	e := &item{kind: kind, id: c.last[kind], fields: maps.Clone(fields), multi: map[string][]value{}, created: now, changed: now}
	defaults := map[string]string{"ASSIGNED_BY_ID": itoa(adminID), "OPENED": "Y", "CREATED_BY_ID": itoa(adminID)}
	switch kind {
	case lead:
		defaults["STATUS_ID"] = "NEW"
	case deal:
		defaults["STAGE_ID"], defaults["CATEGORY_ID"], defaults["TYPE_ID"] = "NEW", "0", "SALE"
	case contact:
		defaults["EXPORT"] = "Y"
	}
	for k, v := range defaults {
		if e.fields[k] == "" {
			e.fields[k] = v
		}
	}
	for _, n := range phones {
		if n != "" {
			e.multi["PHONE"] = append(e.multi["PHONE"], c.value(n, "WORK"))
		}
	}
	c.items[kind] = append(c.items[kind], e)
	c.index(e)
	c.happen(kind.name(), "ADD", e.id)
	return e
}

func (c *crm) value(text, kind string) value {
	c.lastValue++
	return value{id: c.lastValue, text: text, kind: kind}
}

func (c *crm) remove(e *item) {
	c.unindex(e)
	c.happen(e.kind.name(), "DELETE", e.id)
	c.items[e.kind] = slices.DeleteFunc(c.items[e.kind], func(o *item) bool { return o == e })
}

// places are where an item is indexed.
func (e *item) places() (phones []string, of []itemKey) {
	for _, n := range e.phones() {
		if n = normalPhone(n); n != "" && !slices.Contains(phones, n) {
			phones = append(phones, n)
		}
	}
	if e.kind == lead || e.kind == deal {
		for field, kind := range map[string]itemKind{"CONTACT_ID": contact, "COMPANY_ID": company} {
			if id, _ := strconv.ParseInt(e.fields[field], 10, 64); id != 0 {
				of = append(of, itemKey{kind, id})
			}
		}
	}
	return phones, of
}

func (c *crm) index(e *item) {
	if e.kind == lead {
		e.fields["IS_RETURN_CUSTOMER"] = "N"
		if n := e.fields["CONTACT_ID"] + e.fields["COMPANY_ID"]; strings.Trim(n, "0") != "" {
			e.fields["IS_RETURN_CUSTOMER"] = "Y"
		}
	}
	phones, of := e.places()
	for _, n := range phones {
		c.byPhone[n] = append(c.byPhone[n], e)
	}
	for _, k := range of {
		c.related[k] = append(c.related[k], e)
	}
}

func (c *crm) unindex(e *item) {
	phones, of := e.places()
	for _, n := range phones {
		c.byPhone[n] = slices.DeleteFunc(c.byPhone[n], func(o *item) bool { return o == e })
	}
	for _, k := range of {
		c.related[k] = slices.DeleteFunc(c.related[k], func(o *item) bool { return o == e })
	}
}

// client is what the CRM knows about a phone: contact, lead, company in this order, then open deals.
type client struct{ all []*item }

func (c client) empty() bool { return len(c.all) == 0 }

func (c client) primary() *item {
	if c.empty() {
		return nil
	}
	return c.all[0]
}

// busy reports whether there is an open lead or deal.
func (c client) busy() bool {
	return slices.ContainsFunc(c.all, func(e *item) bool { return (e.kind == lead || e.kind == deal) && e.open() })
}

const matches = 50 // of a kind that a search by phone considers

// find looks a phone up in the duplicate index. Leads that are converted or junk are not found.
func (c *crm) find(phone string) client {
	n := normalPhone(phone)
	if n == "" {
		return client{}
	}
	var out client
	for _, kind := range []itemKind{contact, lead, company} {
		found := 0
		for _, e := range c.byPhone[n] {
			if e.kind == kind && (kind != lead || e.open()) && found < matches {
				out.all = append(out.all, e)
				found++
			}
		}
	}
	c.addRelated(&out)
	return out
}

// addRelated adds the open leads and deals of those that are there.
func (c *crm) addRelated(of *client) {
	for _, e := range of.all {
		for _, r := range c.related[itemKey{e.kind, e.id}] {
			if r.open() && !slices.Contains(of.all, r) {
				of.all = append(of.all, r)
			}
		}
	}
}

// sources are the STATUS_IDs of SOURCE with their names.
var sources = [][2]string{
	{"CALL", "Звонок"},
	{"EMAIL", "Электронная почта"},
	{"WEB", "Веб-сайт"},
	{"ADVERTISING", "Реклама"},
	{"PARTNER", "Существующий клиент"},
	{"RECOMMENDATION", "По рекомендации"},
	{"TRADE_SHOW", "Выставка"},
	{"WEBFORM", "CRM-форма"},
	{"CALLBACK", "Обратный звонок"},
	{"RC_GENERATOR", "Генератор продаж"},
	{"STORE", "Интернет-магазин"},
	{"OTHER", "Другое"},
}

// source is a valid CRM_SOURCE; an invalid one becomes CALL.
func (c *crm) source(name string) string {
	for _, s := range sources {
		if s[0] == name {
			return name
		}
	}
	return "CALL"
}

// bindClient finds who the client of a new call is, and creates what CRM_CREATE asks for.
func (p *Portal) bindClient(c *liveCall, entityType string, entityID int64) {
	excluded := p.crm.excluded[normalPhone(c.Phone)]
	if !excluded {
		c.client = p.crm.find(c.Phone)
	}
	if kind := kindNamed(entityType); kind != 0 && kind != deal {
		if e := p.crm.get(kind, entityID); e != nil {
			c.client.all = append([]*item{e}, slices.DeleteFunc(c.client.all, func(o *item) bool { return o == e })...)
			p.crm.addRelated(&c.client)
		}
	}
	internal := p.users.byInner(c.Phone) != nil
	if !c.create || excluded || internal {
		return
	}
	clientCalled := c.Type == incoming || c.Type == redirected
	switch {
	case c.client.empty() && p.users.byPhone(c.Phone) != nil:
		c.note = "Lead creation is disabled for local users"
	case c.client.empty():
		p.createClient(c)
	case clientCalled && !c.client.busy() && c.client.primary().kind != lead:
		p.createRepeat(c)
	}
}

func callTitle(c *liveCall) string {
	if c.Type == outgoing {
		return c.Phone + " - Исходящий звонок"
	}
	return c.Phone + " - Входящий звонок"
}

// createClient makes a lead of an unknown caller, which simple mode converts into a contact and a deal at once.
func (p *Portal) createClient(c *liveCall) {
	e := p.crm.add(lead, map[string]string{
		"TITLE": callTitle(c), "ASSIGNED_BY_ID": itoa(int64(c.UserID)), "CREATED_BY_ID": itoa(int64(c.UserID)), "SOURCE_ID": c.source,
	}, p.today(), c.Phone)
	if p.mode == Classic {
		c.leadID = e.id
		c.created = []*item{e}
	} else {
		c.created = p.convert(e)
	}
	c.client.all = slices.Clone(c.created)
}

// nameless is what a contact is called that a call has made.
const nameless = "Без имени"

// convert turns a lead into a contact and a deal.
func (p *Portal) convert(e *item) []*item {
	shared := map[string]string{
		"ASSIGNED_BY_ID": e.fields["ASSIGNED_BY_ID"], "CREATED_BY_ID": e.fields["CREATED_BY_ID"], "SOURCE_ID": e.fields["SOURCE_ID"], "LEAD_ID": itoa(e.id),
	}
	var made []*item
	contactID, _ := strconv.ParseInt(e.fields["CONTACT_ID"], 10, 64)
	who := p.crm.get(contact, contactID)
	if who == nil {
		fields := maps.Clone(shared)
		fields["NAME"], fields["LAST_NAME"] = e.fields["NAME"], e.fields["LAST_NAME"]
		if fields["NAME"] == "" {
			fields["NAME"] = nameless
		}
		who = p.crm.add(contact, fields, p.today(), e.phones()...)
		made = append(made, who)
	}
	fields := maps.Clone(shared)
	fields["TITLE"], fields["CONTACT_ID"] = e.fields["TITLE"], itoa(who.id)
	made = append(made, p.crm.add(deal, fields, p.today()))
	e.fields["STATUS_ID"] = "CONVERTED"
	p.crm.happen(e.kind.name(), "UPDATE", e.id)
	return made
}

// createRepeat makes a new lead or deal for a client who is known and has none open.
func (p *Portal) createRepeat(c *liveCall) {
	known := c.client.primary()
	fields := map[string]string{
		"TITLE": callTitle(c), "ASSIGNED_BY_ID": itoa(int64(c.UserID)), "CREATED_BY_ID": itoa(int64(c.UserID)), "SOURCE_ID": c.source,
		known.kind.name() + "_ID": itoa(known.id),
	}
	kind, phone := deal, ""
	if p.mode == Classic {
		kind, phone = lead, c.Phone
	}
	e := p.crm.add(kind, fields, p.today(), phone)
	if kind == lead {
		c.leadID = e.id
	}
	c.created = []*item{e}
	c.client.all = append(c.client.all, e)
}

// Activity is a call in the timeline of the CRM.
type Activity struct {
	ID           int64
	OriginID     string // VI_ and the CALL_ID
	OwnerType    string // CONTACT, LEAD or COMPANY
	OwnerID      int64
	Bindings     []Binding
	ProviderType string // CALL or CALLBACK
	Incoming     bool
	Phone        string
	Subject      string
	Responsible  int
	Start        time.Time
	End          time.Time
	Completed    bool
	MissedCall   bool // counts for the responsible until somebody deals with it
	FileID       int64
	Created      time.Time // when it was really made; the portal shows Start
}

// Binding names a CRM object that an activity belongs to.
type Binding struct {
	Type string // LEAD, DEAL, CONTACT, COMPANY
	ID   int64
}

func (c *crm) addActivity(call *Call, of client, now time.Time) *Activity {
	a := &Activity{
		ID: int64(len(c.activities)) + 1, OriginID: "VI_" + call.CallID, OwnerType: of.primary().kind.name(), OwnerID: of.primary().id,
		ProviderType: "CALL", Incoming: call.Type != outgoing && call.Type != info, Phone: call.Phone, Responsible: call.UserID,
		Start: call.Start, End: call.Start.Add(time.Duration(call.Duration) * time.Second), Created: now,
	}
	if call.Type == callback {
		a.ProviderType = "CALLBACK"
	}
	a.MissedCall = call.Status == statusMissed && (call.Type == incoming || call.Type == callback)
	a.Completed = !a.MissedCall
	a.Subject = "Входящий от " + call.Phone
	if !a.Incoming {
		a.Subject = "Исходящий на " + call.Phone
	}
	for _, e := range of.all {
		a.Bindings = append(a.Bindings, Binding{e.kind.name(), e.id})
	}
	c.activities = append(c.activities, a)
	c.happen("ACTIVITY", "ADD", a.ID)
	c.byOrigin[a.OriginID] = append(c.byOrigin[a.OriginID], a)
	return a
}

// Lead is a lead of the CRM.
type Lead struct {
	ID        int64
	Title     string
	Name      string
	Phone     string // the first one
	Assigned  int
	Status    string // NEW, CONVERTED…
	Source    string
	ContactID int64
	Created   time.Time
}

// Contact is a contact of the CRM.
type Contact struct {
	ID       int64
	Name     string
	Phone    string // the first one
	Assigned int
	LeadID   int64
	Created  time.Time
}

// Deal is a deal of the CRM.
type Deal struct {
	ID        int64
	Title     string
	Assigned  int
	Stage     string
	ContactID int64
	CompanyID int64
	LeadID    int64
	Created   time.Time
}

func (e *item) number(field string) int64 {
	n, _ := strconv.ParseInt(e.fields[field], 10, 64)
	return n
}

func (e *item) firstPhone() string {
	if v := e.multi["PHONE"]; len(v) > 0 {
		return v[0].text
	}
	return ""
}

// Leads gives the leads by ID. In simple mode they are all converted.
func (p *Portal) Leads() []Lead {
	return list(p, lead, func(e *item) Lead {
		return Lead{e.id, e.title(), e.fields["NAME"], e.firstPhone(), e.assigned(), e.fields["STATUS_ID"], e.fields["SOURCE_ID"], e.number("CONTACT_ID"), e.created}
	})
}

// Contacts gives the contacts by ID.
func (p *Portal) Contacts() []Contact {
	return list(p, contact, func(e *item) Contact {
		return Contact{e.id, e.title(), e.firstPhone(), e.assigned(), e.number("LEAD_ID"), e.created}
	})
}

// Deals gives the deals by ID.
func (p *Portal) Deals() []Deal {
	return list(p, deal, func(e *item) Deal {
		return Deal{e.id, e.title(), e.assigned(), e.fields["STAGE_ID"], e.number("CONTACT_ID"), e.number("COMPANY_ID"), e.number("LEAD_ID"), e.created}
	})
}

func list[T any](p *Portal, kind itemKind, show func(*item) T) []T {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]T, len(p.crm.items[kind]))
	for i, e := range p.crm.items[kind] {
		out[i] = show(e)
	}
	return out
}

// Activities gives the calls in the timeline by ID.
func (p *Portal) Activities() []Activity {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Activity, len(p.crm.activities))
	for i, a := range p.crm.activities {
		out[i] = *a
		out[i].Bindings = slices.Clone(a.Bindings)
	}
	return out
}
