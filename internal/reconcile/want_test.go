package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

func policy(change func(*reconcile.Policy)) reconcile.Policy {
	employees := []portal.Employee{
		{ID: 1, Name: "Админ", Active: true},
		{ID: 17, Name: "Иван Петров", Inner: "201", Mobile: "+79030000017", Active: true},
		{ID: 18, Name: "Мария Сидорова", Inner: "202", Active: true},
		{ID: 19, Name: "Пётр Иванов", Inner: "203"}, // dismissed
	}
	p := reconcile.Policy{
		Site:      "office",
		Directory: portal.NewDirectory(employees, map[string]int{"10001": 18}, func(s string) string { return s }),
		Fallback:  1, Create: reconcile.CreateAll, CreateMaxAge: 24 * time.Hour,
		Disabled: map[string]bool{"209": true},
	}
	if change != nil {
		change(&p)
	}
	return p
}

// inbound gives an inbound call; the part is answered by 201 unless changed.
func inbound(change func(*cdr.Call)) cdr.Call {
	c := cdr.Call{
		LinkedID: linkedID, Direction: cdr.Inbound, Phone: "+79161234567", RawPhone: "89161234567", DID: "4951112233", Line: "+74951112233",
		Start: start, End: start.Add(time.Minute), Status: cdr.Answered, Hash: "h",
		Parts: []cdr.Part{{N: 1, Extension: "201", Rang: []string{"202", "201"}, Start: start, Talk: 35, Status: cdr.Answered, Recordings: []string{"in-1.wav"}}},
	}
	if change != nil {
		change(&c)
	}
	return c
}

func missed(rang ...string) func(*cdr.Call) {
	return func(c *cdr.Call) {
		c.Status = cdr.Missed
		c.Parts = []cdr.Part{{N: 1, Rang: rang, Start: start, Status: cdr.Missed}}
	}
}

func outbound(status cdr.Status) func(*cdr.Call) {
	return func(c *cdr.Call) {
		c.Direction, c.Status = cdr.Outbound, status
		c.Parts = []cdr.Part{{N: 1, Extension: "201", Start: start, Status: status}}
	}
}

func TestWantOfAnAnsweredCall(t *testing.T) {
	t.Parallel()
	got, ignored := policy(nil).Want(inbound(nil), start.Add(time.Hour))
	if ignored != "" {
		t.Fatalf("ignored: %s", ignored)
	}
	want := []reconcile.Want{{
		Key: key,
		Call: portal.Call{
			ExternalID: linkedID, Type: portal.Incoming, UserID: 17, Phone: "+79161234567", Line: "+74951112233", Start: start,
			Duration: 35, Status: portal.StatusOK, CreateCRM: true,
		},
		Extension: "201",
		Record:    &reconcile.Record{Names: []string{"in-1.wav"}, Start: start, End: start.Add(time.Minute), Talk: 35},
		Hash:      "h",
	}}
	if d := cmp.Diff(got, want); d != "" {
		t.Errorf("got -, want +\n%s", d)
	}
}

// TestStatusAndType is the table of product.md §1.
func TestStatusAndType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*cdr.Call)
		typ    portal.CallType
		status portal.StatusCode
	}{
		{"inbound answered", nil, portal.Incoming, portal.StatusOK},
		{"inbound missed", missed("201"), portal.Incoming, portal.StatusMissed},
		{"voicemail is missed", func(c *cdr.Call) { missed("201")(c); c.Parts[0].Status = cdr.Voicemail }, portal.Incoming, portal.StatusMissed},
		{"outbound answered", outbound(cdr.Answered), portal.Outgoing, portal.StatusOK},
		{"outbound busy", outbound(cdr.Busy), portal.Outgoing, portal.StatusBusy},
		{"outbound no answer", outbound(cdr.NoAnswer), portal.Outgoing, portal.StatusNoAnswer},
		{"outbound failed", outbound(cdr.Failed), portal.Outgoing, portal.StatusFailed},
		{"outbound cancelled", outbound(cdr.Cancelled), portal.Outgoing, portal.StatusCancelled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := policy(nil).Want(inbound(tt.change), start)
			if len(got) != 1 || got[0].Call.Type != tt.typ || got[0].Call.Status != tt.status {
				t.Errorf("got %+v, want type %d and status %s", got, tt.typ, tt.status)
			}
		})
	}
}

func TestTransferMakesAPartOfTypeThree(t *testing.T) {
	t.Parallel()
	got, _ := policy(nil).Want(inbound(func(c *cdr.Call) {
		c.Parts = append(c.Parts, cdr.Part{N: 2, Extension: "202", Start: start.Add(40 * time.Second), Talk: 12, Status: cdr.Answered})
	}), start)
	if len(got) != 2 {
		t.Fatalf("got %d parts, want 2", len(got))
	}
	second := got[1].Call
	if second.ExternalID != linkedID+"/2" || second.Type != portal.IncomingRedirected || second.UserID != 18 || second.CreateCRM || second.Duration != 12 {
		t.Errorf("got %+v", second)
	}
}

// TestWhoIsResponsible holds the order: who talked; who is named for missed calls; who rang first; the fallback.
func TestWhoIsResponsible(t *testing.T) {
	t.Parallel()
	talked := func(extension string) func(*cdr.Call) {
		return func(c *cdr.Call) { c.Parts[0].Extension = extension }
	}
	mobile := func(phone, via string) func(*cdr.Call) {
		return func(c *cdr.Call) {
			c.Parts[0].Extension, c.Parts[0].Phone, c.Parts[0].Via, c.Parts[0].Rang = "", phone, via, []string{"202"}
		}
	}
	tests := []struct {
		name     string
		policy   func(*reconcile.Policy)
		call     func(*cdr.Call)
		user     int
		unmapped string // words
		blocked  bool
	}{
		{name: "who talked", user: 17},
		{name: "who talked, by the map", call: talked("10001"), user: 18},
		{name: "who talked is nobody", call: talked("299"), user: 1, unmapped: "299 belongs to no employee"},
		{name: "who talked is dismissed", call: talked("203"), user: 1, unmapped: "Пётр Иванов (user 19), who is dismissed"},
		{
			name: "who talked is nobody, and there is no fallback", call: talked("299"), user: 0, unmapped: "the call waits", blocked: true,
			policy: func(p *reconcile.Policy) { p.Fallback = 0 },
		},
		{name: "missed: who rang first", call: missed("202", "201"), user: 18},
		{name: "missed: who rang first and is somebody", call: missed("299", "201"), user: 17},
		{name: "missed: nobody rang", call: missed(), user: 1},
		{name: "missed: nobody who rang is somebody", call: missed("299", "298"), user: 1, unmapped: "299"},
		{name: "missed: named user", call: missed("202"), user: 40, policy: func(p *reconcile.Policy) { p.MissedUser = 40 }},
		{name: "missed: named extension", call: missed("202"), user: 17, policy: func(p *reconcile.Policy) { p.MissedExtension = "201" }},
		{name: "outbound: the caller, whatever is named for missed", call: outbound(cdr.Busy), user: 17, policy: func(p *reconcile.Policy) { p.MissedUser = 40 }},
		{name: "mobile of an employee", call: mobile("+79030000017", "202"), user: 17},
		{name: "unknown mobile belongs to who forwarded", call: mobile("+79035550000", "202"), user: 18},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ignored := policy(tt.policy).Want(inbound(tt.call), start)
			if ignored != "" || len(got) != 1 {
				t.Fatalf("got %d parts, ignored %q", len(got), ignored)
			}
			if got[0].Call.UserID != tt.user {
				t.Errorf("user: got %d, want %d", got[0].Call.UserID, tt.user)
			}
			if (got[0].Unmapped == "") != (tt.unmapped == "") || !strings.Contains(got[0].Unmapped, tt.unmapped) {
				t.Errorf("unmapped: got %q, want %q", got[0].Unmapped, tt.unmapped)
			}
			if (got[0].Blocked != "") != tt.blocked {
				t.Errorf("blocked: got %q", got[0].Blocked)
			}
		})
	}
}

func TestIgnored(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy func(*reconcile.Policy)
		call   func(*cdr.Call)
		want   string
	}{
		{name: "an ordinary call is sent"},
		{name: "internal", call: func(c *cdr.Call) { c.Direction = cdr.Internal }, want: "internal call"},
		{name: "number", policy: func(p *reconcile.Policy) { p.IgnorePhones = []string{"+7916*"} }, want: "number in ignore.phones"},
		{name: "number as the PBX wrote it", policy: func(p *reconcile.Policy) { p.IgnorePhones = []string{"8916123456*"} }, want: "number in ignore.phones"},
		{name: "another number", policy: func(p *reconcile.Policy) { p.IgnorePhones = []string{"+7917*"} }},
		{name: "DID", policy: func(p *reconcile.Policy) { p.IgnoreDIDs = []string{"495111*"} }, want: "DID in ignore.dids"},
		{name: "line", policy: func(p *reconcile.Policy) { p.LineOff = func(c cdr.Call) bool { return c.Line == "+74951112233" } }, want: "line is disabled"},
		{name: "only a disabled employee", call: missed("209"), want: "employee is disabled"},
		{name: "a disabled employee among others", call: missed("209", "201")},
		{name: "nobody rang", call: missed()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wants, got := policy(tt.policy).Want(inbound(tt.call), start)
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if (len(wants) == 0) != (got != "") {
				t.Errorf("got %d parts of a call ignored for %q", len(wants), got)
			}
		})
	}
}

func TestCRMCreate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		policy func(*reconcile.Policy)
		call   func(*cdr.Call)
		age    time.Duration
		want   bool
	}{
		{name: "all", want: true},
		{name: "a call as old as allowed", age: 24 * time.Hour, want: true},
		{name: "an old call", age: 25 * time.Hour},
		{name: "an old call by the operator's wish", age: 25 * time.Hour, policy: func(p *reconcile.Policy) { p.CreateWhateverAge = true }, want: true},
		{name: "none", policy: func(p *reconcile.Policy) { p.Create = reconcile.CreateNone; p.CreateWhateverAge = true }},
		{name: "outgoing only", policy: func(p *reconcile.Policy) { p.Create = reconcile.CreateOutgoing }},
		{name: "outgoing only, outbound", policy: func(p *reconcile.Policy) { p.Create = reconcile.CreateOutgoing }, call: outbound(cdr.Busy), want: true},
		{name: "incoming only", policy: func(p *reconcile.Policy) { p.Create = reconcile.CreateIncoming }, want: true},
		{name: "incoming only, outbound", policy: func(p *reconcile.Policy) { p.Create = reconcile.CreateIncoming }, call: outbound(cdr.Busy)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := policy(tt.policy).Want(inbound(tt.call), start.Add(tt.age))
			if got[0].Call.CreateCRM != tt.want {
				t.Errorf("got %t, want %t", got[0].Call.CreateCRM, tt.want)
			}
		})
	}
}

func TestNoNumber(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ raw, want string }{
		{"", "hid the number"},
		{strings.Repeat("7", 60), "is no phone number"},
	} {
		got, _ := policy(nil).Want(inbound(func(c *cdr.Call) { c.Phone, c.RawPhone = "", tt.raw }), start)
		if !strings.Contains(got[0].Blocked, tt.want) || got[0].BlockKind != reconcile.KindError {
			t.Errorf("%q: got %q as %s, want %q", tt.raw, got[0].Blocked, got[0].BlockKind, tt.want)
		}
		if len(got[0].Blocked) > 160 {
			t.Errorf("%q: the whole of a text from outside is in the report: %q", tt.raw, got[0].Blocked)
		}
	}
}

// TestWhoIsRegistered: a young queue call is registered for who was rung first and finished by who talked.
func TestWhoIsRegistered(t *testing.T) {
	t.Parallel()
	part := func(change func(*cdr.Part)) func(*cdr.Call) { return func(c *cdr.Call) { change(&c.Parts[0]) } }
	for _, test := range []struct {
		name                 string
		policy               func(*reconcile.Policy)
		change               func(*cdr.Call)
		age                  time.Duration
		registered, finished int
	}{
		{"202 rang first, 201 answered", nil, nil, time.Minute, 18, 17},
		{"201 rang first and answered", nil, part(func(p *cdr.Part) { p.Rang = []string{"201", "202"} }), time.Minute, 0, 17},
		{"older than the portal remembers", nil, nil, 30 * time.Minute, 0, 17},
		{"nobody rang", nil, part(func(p *cdr.Part) { p.Rang = nil }), time.Minute, 0, 17},
		{"first rung is dismissed", nil, part(func(p *cdr.Part) { p.Rang = []string{"203", "202", "201"} }), time.Minute, 18, 17},
		{"first rung is unknown", nil, part(func(p *cdr.Part) { p.Rang = []string{"777", "201"} }), time.Minute, 0, 17},
		{
			"first rung is disabled", func(p *reconcile.Policy) { p.Disabled = map[string]bool{"202": true} },
			part(func(p *cdr.Part) { p.Rang = []string{"202", "201"} }), time.Minute, 0, 17,
		},
		{"missed", nil, missed("202", "201"), time.Minute, 0, 18},
		{"missed, the first is disabled", func(p *reconcile.Policy) { p.Disabled = map[string]bool{"202": true} }, missed("202", "201"), time.Minute, 0, 17},
		{"missed, somebody is responsible", func(p *reconcile.Policy) { p.MissedUser = 1 }, missed("202", "201"), time.Minute, 18, 1},
		{"missed, an extension is responsible", func(p *reconcile.Policy) { p.MissedExtension = "201" }, missed("202"), time.Minute, 18, 17},
		{"who talked belongs to nobody", nil, part(func(p *cdr.Part) { p.Extension = "777" }), time.Minute, 18, 1},
		{
			"nobody to finish it", func(p *reconcile.Policy) { p.Fallback = 0 },
			part(func(p *cdr.Part) { p.Extension = "777" }), time.Minute, 0, 0,
		},
		{"outbound", nil, outbound(cdr.Answered), time.Minute, 0, 17},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ignored := policy(test.policy).Want(inbound(test.change), start.Add(test.age))
			if ignored != "" || len(got) != 1 {
				t.Fatalf("got %d parts, ignored: %q", len(got), ignored)
			}
			if c := got[0].Call; c.RegisterUserID != test.registered || c.UserID != test.finished {
				t.Errorf("registered for %d, finished by %d; want %d, %d", c.RegisterUserID, c.UserID, test.registered, test.finished)
			}
		})
	}
}

// TestForwardedToAMobile: a call that was forwarded to a mobile belongs to its owner, with his own enabled.
func TestForwardedToAMobile(t *testing.T) {
	t.Parallel()
	forwarded := func(c *cdr.Call) {
		c.Parts[0].Extension, c.Parts[0].Phone, c.Parts[0].Via, c.Parts[0].Rang = "", "+79030000017", "202", nil
	}
	got, ignored := policy(nil).Want(inbound(forwarded), start)
	if ignored != "" || len(got) != 1 || got[0].Call.UserID != 17 || got[0].Extension != "201" {
		t.Errorf("got %+v, ignored %q; want user 17, extension 201", got, ignored)
	}
	off := policy(func(p *reconcile.Policy) { p.Disabled = map[string]bool{"201": true} })
	if _, ignored := off.Want(inbound(forwarded), start); ignored != "employee is disabled" {
		t.Errorf("the owner of the mobile is disabled: ignored %q", ignored)
	}
	stranger := func(c *cdr.Call) { forwarded(c); c.Parts[0].Phone = "+79990000000" }
	if got, _ := policy(nil).Want(inbound(stranger), start); got[0].Call.UserID != 18 {
		t.Errorf("a mobile of nobody: got user %d, want who forwarded the call, 18", got[0].Call.UserID)
	}
}

// TestStrangers: extensions that no employee who works here has are named once for each call, also when somebody else answered.
func TestStrangers(t *testing.T) {
	t.Parallel()
	call := inbound(func(c *cdr.Call) {
		c.Parts[0].Rang = []string{"777", "203", "201", "10001", "777"}
		c.Parts = append(c.Parts, cdr.Part{N: 2, Extension: "888", Start: start, Talk: 3, Status: cdr.Answered}, cdr.Part{N: 3, Phone: "+79030000017", Status: cdr.Answered})
	})
	if d := cmp.Diff(policy(nil).Strangers(call), []string{"777", "203", "888"}); d != "" {
		t.Errorf("got -, want +\n%s", d)
	}
	if got := policy(nil).Strangers(inbound(nil)); got != nil {
		t.Errorf("everybody is known: got %q", got)
	}
}
