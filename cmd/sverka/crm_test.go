package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/cdr"
	"sverka/internal/deliver"
	"sverka/internal/emulator"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/phone"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/reconcile"
	"sverka/internal/secret"
	"sverka/jobs"
)

// office is a site whose calls a test makes up: the configuration, the employees, the deliverer and the portal are real.
type office struct {
	t      *testing.T
	config *Config
	site   *site
	portal *emulator.Portal
	now    time.Time
}

// Users of the office's portal. Extension 201 is ivan's, 202 anna's, 203 a dismissed one's; the manager has none and owns every client that
// was there before.
const (
	admin   = 1
	ivan    = 17
	anna    = 18
	manager = 20
	onDuty  = 21
)

const annasMobile = "+79030000018"

func newOffice(t *testing.T, o emulator.Options) *office {
	t.Helper()
	o.Limits.Off, o.Dir = true, t.TempDir()
	o.Seed.Employees = append([]emulator.Employee{
		{ID: ivan, Name: "Иван", Inner: "201", Active: true},
		{ID: anna, Name: "Анна", Inner: "202", Mobile: "8 (903) 000-00-18", Active: true},
		{ID: 19, Name: "Пётр", Inner: "203"},
		{ID: manager, Name: "Ольга", Active: true},
		{ID: onDuty, Name: "Дежурный", Inner: "221", Active: true},
	}, o.Seed.Employees...)
	p, err := emulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	server := httptest.NewServer(p.Handler())
	t.Cleanup(server.Close)
	log := logrus.New()
	log.SetOutput(io.Discard)
	s := &site{log: logrus.NewEntry(log)}
	if s.config, err = defaultConfig(); err != nil {
		t.Fatal(err)
	}
	if s.phones, err = phone.New(s.config.Country); err != nil {
		t.Fatal(err)
	}
	s.portal, err = bitrix24.New(bitrix24.Config{Webhook: secret.Text(server.URL + "/rest/1/demo/"), Burst: 10_000, PerSecond: 10_000, Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	if s.ledger, err = sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "ledger.db"), time.Now); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.ledger.Close() })
	return &office{t: t, config: s.config, site: s, portal: p, now: time.Now().Truncate(time.Second)}
}

// policy is what the configuration says now.
func (o *office) policy() reconcile.Policy {
	o.t.Helper()
	employees, err := jobs.Directory(context.Background(), o.config.Site, o.site.portal, o.site.ledger, o.site.log)
	if err != nil {
		o.t.Fatal(err)
	}
	p, err := o.site.policy(employees)
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

// deliver brings the parts into the portal.
func (o *office) deliver(wants []reconcile.Want) {
	o.t.Helper()
	d := deliver.New(o.site.portal, o.site.ledger, deliver.Options{Fallback: o.config.Employees.Fallback}, time.Now, o.site.log)
	err := d.Deliver(context.Background(), wants, func(r deliver.Result) {
		if r.Err != nil {
			o.t.Errorf("deliver %s: %v", r.Want.Key.LinkedID, r.Err)
		}
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

// crm tells for each phone what the portal's CRM has, as "contact 20, deal 17, call 17": each with who is responsible.
func (o *office) crm() map[string]string {
	has := make(map[string][]string)
	phoneOf := make(map[int64]string) // of contacts
	add := func(phone, what string, user int) { has[phone] = append(has[phone], fmt.Sprintf("%s %d", what, user)) }
	for _, l := range o.portal.Leads() {
		if l.Status != "CONVERTED" { // what simple mode made a contact and a deal of
			add(l.Phone, "lead", l.Assigned)
		}
	}
	for _, c := range o.portal.Contacts() {
		phoneOf[c.ID] = c.Phone
		add(c.Phone, "contact", c.Assigned)
	}
	for _, d := range o.portal.Deals() {
		add(phoneOf[d.ContactID], "deal", d.Assigned)
	}
	for _, a := range o.portal.Activities() {
		add(a.Phone, "call", a.Responsible)
	}
	out := make(map[string]string, len(has))
	for phone, list := range has {
		out[phone] = strings.Join(list, ", ")
	}
	return out
}

// happening is a kind of call, and who is responsible for it in the end.
type happening struct {
	name    string
	inbound bool
	parts   func(start time.Time) []cdr.Part
	first   int   // responsible for what the first part creates; 0: as crm.missed_responsible says, else anna, who was rung first
	later   []int // of the parts after a transfer
}

func happenings() []happening {
	part := func(n int, status cdr.Status, extension string, rang ...string) func(time.Time) cdr.Part {
		return func(start time.Time) cdr.Part {
			p := cdr.Part{N: n, Extension: extension, Rang: rang, Start: start.Add(time.Duration(n) * time.Minute), Status: status}
			if n == 1 {
				p.Start = start
			}
			if status == cdr.Answered {
				p.Talk = 30 * n
			}
			return p
		}
	}
	list := func(parts ...func(time.Time) cdr.Part) func(time.Time) []cdr.Part {
		return func(start time.Time) (out []cdr.Part) {
			for _, p := range parts {
				out = append(out, p(start))
			}
			return out
		}
	}
	mobile := func(start time.Time) []cdr.Part {
		p := part(1, cdr.Answered, "", "201")(start)
		p.Phone, p.Via = annasMobile, "201"
		return []cdr.Part{p}
	}
	return []happening{
		{"answered", true, list(part(1, cdr.Answered, "201", "201")), ivan, nil},
		{"missed", true, list(part(1, cdr.Missed, "", "202")), 0, nil},
		{"missed, first rung is dismissed", true, list(part(1, cdr.Missed, "", "203", "202", "201")), 0, nil},
		{"voicemail", true, list(part(1, cdr.Voicemail, "", "202")), 0, nil},
		{"queue, the second answers", true, list(part(1, cdr.Answered, "201", "202", "201")), ivan, nil},
		{"queue, nobody answers", true, list(part(1, cdr.Missed, "", "202", "201")), 0, nil},
		{"transfer", true, list(part(1, cdr.Answered, "201", "201"), part(2, cdr.Answered, "202")), ivan, []int{anna}},
		{"queue and transfer to who was rung first", true, list(part(1, cdr.Answered, "201", "202", "201"), part(2, cdr.Answered, "202")), ivan, []int{anna}},
		{"forwarded to a mobile", true, mobile, anna, nil},
		{"answered by nobody's extension", true, list(part(1, cdr.Answered, "777", "777")), admin, nil},
		{"outbound answered", false, list(part(1, cdr.Answered, "201")), ivan, nil},
		{"outbound busy", false, list(part(1, cdr.Busy, "201")), ivan, nil},
		{"outbound transfer", false, list(part(1, cdr.Answered, "201"), part(2, cdr.Answered, "202")), ivan, []int{anna}},
	}
}

// customer is who calls or is called, by what the CRM has of him before.
type customer struct {
	name      string
	before    string // as office.crm tells
	excluded  bool
	unknown   bool // CRM_CREATE makes a client of him
	repeating bool // CRM_CREATE makes a new sale of his call, if he calls himself
}

func customers() []customer {
	return []customer{
		{name: "unknown", unknown: true},
		{name: "contact without a deal", before: "contact 20", repeating: true},
		{name: "contact with an open deal", before: "contact 20, deal 20"},
		{name: "open lead", before: "lead 20"},
		{name: "excluded number", excluded: true},
		{name: "excluded contact", before: "contact 20", excluded: true},
	}
}

// age is how long ago a call was, and whether its age allows to create something.
type age struct {
	name    string
	ago     time.Duration
	creates bool
	force   bool // backfill --create-crm
}

func ages() []age {
	return []age{
		{name: "just now", ago: 2 * time.Minute, creates: true},
		{name: "some hours ago", ago: 5 * time.Hour, creates: true},
		{name: "old", ago: 25 * time.Hour},
		{name: "old, --create-crm", ago: 26 * time.Hour, creates: true, force: true},
	}
}

// mayCreate is crm.create.
func mayCreate(create string, inbound bool) bool {
	return create == "all" || create == "incoming" && inbound || create == "outgoing" && !inbound
}

// outcome is the table that the documentation promises: what the CRM has afterwards, and who is responsible.
func outcome(mode string, c customer, h happening, create bool, missed int) string {
	first := h.first
	if first == 0 {
		first = missed
	}
	after := []string{}
	if c.before != "" {
		after = append(after, c.before) // never changed, never given to another
	}
	if c.excluded {
		return strings.Join(after, "")
	}
	known := c.before != ""
	switch {
	case !create:
	case c.unknown && mode == emulator.Simple:
		after, known = append(after, fmt.Sprintf("contact %d, deal %d", first, first)), true
	case c.unknown:
		after, known = append(after, fmt.Sprintf("lead %d", first)), true
	case c.repeating && h.inbound && mode == emulator.Simple:
		after = append(after, fmt.Sprintf("deal %d", first))
	case c.repeating && h.inbound:
		after = slices.Insert(after, 0, fmt.Sprintf("lead %d", first))
	}
	if known {
		for _, user := range append([]int{first}, h.later...) {
			after = append(after, fmt.Sprintf("call %d", user))
		}
	}
	return strings.Join(after, ", ")
}

// TestCRMPolicy holds mode × client × call × crm.create × crm.missed_responsible × age against the table.
func TestCRMPolicy(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{emulator.Simple, emulator.Classic} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			testCRMPolicy(t, mode)
		})
	}
}

func testCRMPolicy(t *testing.T, mode string) {
	type planned struct {
		name, want string
		call       cdr.Call
		create     string
		missed     string
		force      bool
	}
	seed := emulator.Seed{}
	plans := make(map[string]planned) // by phone
	var phones []string
	now := time.Now().Truncate(time.Second)
	duty := map[string]int{"": anna, "221": onDuty, "user:21": onDuty}
	for _, create := range []string{"all", "incoming", "outgoing", "none"} {
		for _, missed := range []string{"", "221", "user:21"} {
			for _, c := range customers() {
				for _, h := range happenings() {
					for _, a := range ages() {
						n := len(phones)
						number := fmt.Sprintf("+7916%07d", n)
						start := now.Add(-a.ago).Add(time.Duration(n) * time.Millisecond).Truncate(time.Second)
						call := cdr.Call{
							LinkedID: fmt.Sprintf("%d.%d", start.Unix(), n), Direction: cdr.Outbound, Phone: number, RawPhone: number,
							Line: "+74951112233", Start: start, Parts: h.parts(start),
						}
						if h.inbound {
							call.Direction = cdr.Inbound
						}
						phones = append(phones, number)
						plans[number] = planned{
							name: strings.Join([]string{mode, "create " + create, "missed " + missed, c.name, h.name, a.name}, " / "),
							call: call, create: create, missed: missed, force: a.force,
							want: outcome(mode, c, h, a.creates && mayCreate(create, h.inbound), duty[missed]),
						}
						if c.excluded {
							seed.Excluded = append(seed.Excluded, number)
						}
						switch {
						case strings.HasPrefix(c.before, "lead"):
							seed.Leads = append(seed.Leads, emulator.SeedItem{Phone: number, Title: "Заявка", Assigned: manager})
						case c.before != "":
							seed.Contacts = append(seed.Contacts, emulator.SeedItem{Phone: number, Name: "Мария", Assigned: manager, Deal: strings.Contains(c.before, "deal")})
						}
					}
				}
			}
		}
	}
	o := newOffice(t, emulator.Options{Mode: mode, Seed: seed})
	policies := make(map[string]reconcile.Policy)
	var wants []reconcile.Want
	for _, number := range phones {
		p := plans[number]
		key := p.create + "," + p.missed
		policy, ok := policies[key]
		if !ok {
			o.config.CRM.Create, o.config.CRM.MissedResponsible = p.create, p.missed
			policy = o.policy()
			policies[key] = policy
		}
		policy.CreateWhateverAge = p.force
		parts, ignored := policy.Want(p.call, now)
		if ignored != "" {
			t.Fatalf("%s: ignored: %s", p.name, ignored)
		}
		wants = append(wants, parts...)
	}
	o.deliver(wants)
	crm := o.crm()
	bad := 0
	for _, number := range phones {
		if got, want := crm[number], plans[number].want; got != want {
			if bad++; bad <= 20 {
				t.Errorf("%s: got %q, want %q", plans[number].name, got, want)
			}
		}
	}
	if bad > 20 {
		t.Errorf("… %d of %d are wrong", bad, len(phones))
	}
	if got := len(o.portal.Live()); got != 0 {
		t.Errorf("%d calls are registered and not finished", got)
	}
	for _, c := range o.portal.Calls() {
		if c.Line != "+74951112233" || c.InChat {
			t.Fatalf("call %s: line %s, in the chat: %t; want the line of the call and no chat", c.ExternalID, c.Line, c.InChat)
		}
	}
}

// TestQueueCallIsRegisteredForTheFirst: while the call happens it is of who was rung first; what it created goes to who answered.
func TestQueueCallIsRegisteredForTheFirst(t *testing.T) {
	t.Parallel()
	o := newOffice(t, emulator.Options{Mode: emulator.Classic})
	start := o.now.Add(-time.Minute)
	var queue happening
	for _, h := range happenings() {
		if h.name == "queue, the second answers" {
			queue = h
		}
	}
	wants, _ := o.policy().Want(cdr.Call{
		LinkedID: fmt.Sprintf("%d.1", start.Unix()), Direction: cdr.Inbound, Phone: "+79160000001", Start: start, Parts: queue.parts(start),
	}, o.now)
	o.deliver(wants)
	lead, err := o.portal.Do(context.Background(), "crm.lead.get", map[string]any{"id": 1})
	if err != nil {
		t.Fatal(err)
	}
	fields := lead.(map[string]any)
	if got := fmt.Sprintf("created by %v, assigned to %v", fields["CREATED_BY_ID"], fields["ASSIGNED_BY_ID"]); got != "created by 18, assigned to 17" {
		t.Errorf("lead: got %s; want it created by 18, who was rung first, and assigned to 17, who answered", got)
	}
}

// TestClientsCallAgain: the second call of a new client makes nothing more, and changes nobody's responsible.
func TestClientsCallAgain(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{
		emulator.Simple:  "contact 18, deal 18, call 18, call 17, call 17",
		emulator.Classic: "lead 18, call 18, call 17, call 17",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, emulator.Options{Mode: mode})
			var wants []reconcile.Want
			for i, call := range []cdr.Call{
				{Direction: cdr.Inbound, Parts: []cdr.Part{{N: 1, Rang: []string{"202"}, Status: cdr.Missed}}},
				{Direction: cdr.Inbound, Parts: []cdr.Part{{N: 1, Extension: "201", Rang: []string{"202", "201"}, Talk: 5, Status: cdr.Answered}}},
				{Direction: cdr.Outbound, Parts: []cdr.Part{{N: 1, Extension: "201", Talk: 7, Status: cdr.Answered}}},
			} {
				call.Start, call.Phone = o.now.Add(time.Duration(i-20)*time.Minute), "+79160000001"
				call.LinkedID, call.Parts[0].Start = fmt.Sprintf("%d.%d", call.Start.Unix(), i), call.Start
				parts, _ := o.policy().Want(call, o.now)
				wants = append(parts, wants...) // the newest first: the deliverer turns them
			}
			o.deliver(wants)
			if got := o.crm()["+79160000001"]; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestLinesOfCalls: a DID as the PBX writes it becomes the line of the configuration, and a disabled line's calls are left out.
func TestLinesOfCalls(t *testing.T) {
	t.Parallel()
	o := newOffice(t, emulator.Options{})
	o.config.Lines = []LineConfig{
		{Number: "+74951234567", Name: "Продажи", DID: []string{"s", "1234567"}, Enabled: true},
		{Number: "84950000002", Name: "Склад", Enabled: true},
		{Number: "+74950000003", Name: "Старая", DID: []string{"3"}},
	}
	o.config.CRM.Create = "incoming"
	if err := jobs.Lines(context.Background(), o.site.portal, o.config.lines(), o.site.log); err != nil {
		t.Fatal(err)
	}
	rules := o.site.rules()
	policy := o.policy()
	lineOf := make(map[string]string) // linkedid → line
	var wants []reconcile.Want
	for i, test := range []struct{ did, line, ignored string }{
		{"s", "+74951234567", ""},
		{"1234567", "+74951234567", ""},
		{"74951234567", "+74951234567", ""},
		{"4951234567", "+74951234567", ""},
		{"84950000002", "84950000002", ""},
		{"+74950000002", "84950000002", ""},
		{"3", "", "line is disabled"},
		{"+74950000003", "", "line is disabled"},
		{"74950000009", "+74950000009", ""}, // not configured, a real number
		{"from-trunk", "REST_APP:", ""},     // no number at all: no line is told
	} {
		start := o.now.Add(time.Duration(i-60) * time.Minute)
		call := cdr.Call{
			LinkedID: fmt.Sprintf("%d.%d", start.Unix(), i), Direction: cdr.Inbound, Phone: fmt.Sprintf("+7916000000%d", i), DID: test.did,
			Line: rules.Line(test.did), Start: start, Parts: []cdr.Part{{N: 1, Extension: "201", Start: start, Talk: 3, Status: cdr.Answered}},
		}
		parts, ignored := policy.Want(call, o.now)
		if ignored != test.ignored {
			t.Errorf("DID %s: ignored %q, want %q", test.did, ignored, test.ignored)
		}
		lineOf[call.LinkedID] = test.line
		wants = append(wants, parts...)
	}
	o.deliver(wants)
	calls := o.portal.Calls()
	if len(calls) != 8 {
		t.Errorf("%d calls in the portal, want 8", len(calls))
	}
	for _, c := range calls {
		if want := lineOf[c.ExternalID]; c.Line != want {
			t.Errorf("call %s: line %q, want %q", c.ExternalID, c.Line, want)
		}
	}
	var got bytes.Buffer
	lines, err := o.site.portal.Lines(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		fmt.Fprintf(&got, "%s %q %t\n", line.Number, line.Name, line.AutoCreate)
	}
	const want = "+74951234567 \"Продажи\" false\n84950000002 \"Склад\" false\n+74950000009 \"\" true\n"
	if got.String() != want {
		t.Errorf("lines of the portal:\n%swant:\n%s", got.String(), want)
	}
}
