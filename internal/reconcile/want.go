package reconcile

import (
	"fmt"
	"path"
	"slices"
	"time"

	"sverka/cdr"
	"sverka/internal/ledger"
	"sverka/internal/portal"
)

// Want is one part of a call as it should stand in the portal.
type Want struct {
	Key       ledger.Key
	Call      portal.Call
	Extension string // who talked or, when nobody did, whose phone rang first; "" if nobody's
	Unmapped  string // why the call does not go to the employee it belongs to; "" if it does
	Blocked   string // why the part cannot be delivered at all, in words; "" if it can
	BlockKind Kind   // the gap a blocked part is
	Record    *Record
	Hash      string
}

// Record is the recording that an answered part should carry.
type Record struct {
	Names      []string  // as the CDR wrote them, in time order
	Start, End time.Time // of the call
	Talk       int       // seconds
}

// Create says for which calls the portal may make leads, contacts and deals (crm.create).
type Create string

// Values of crm.create.
const (
	CreateAll      Create = "all"
	CreateIncoming Create = "incoming"
	CreateOutgoing Create = "outgoing"
	CreateNone     Create = "none"
)

// Policy is what the configuration says about delivering calls.
type Policy struct {
	Site              string
	Directory         *portal.Directory
	Fallback          int             // user for extensions that belong to nobody; 0: such calls wait
	MissedExtension   string          // crm.missed_responsible as an extension
	MissedUser        int             // crm.missed_responsible as user:17
	Disabled          map[string]bool // extensions with enabled: false
	LineOff           func(call cdr.Call) bool
	IgnorePhones      []string // patterns, * is a wildcard
	IgnoreDIDs        []string
	Create            Create
	CreateMaxAge      time.Duration
	CreateWhateverAge bool // backfill --create-crm
}

// Want gives the parts of a call as they should stand in the portal, or the reason why the call is not sent.
func (p Policy) Want(call cdr.Call, now time.Time) (wants []Want, ignored string) {
	if reason := p.ignored(call); reason != "" {
		return nil, reason
	}
	for _, part := range call.Parts {
		wants = append(wants, p.want(call, part, now))
	}
	return wants, ""
}

// ignored gives the reason why a call is not sent; "" if it is.
func (p Policy) ignored(call cdr.Call) string {
	switch {
	case call.Direction == cdr.Internal:
		return "internal call"
	case matches(p.IgnorePhones, call.Phone, call.RawPhone):
		return "number in ignore.phones"
	case matches(p.IgnoreDIDs, call.DID, call.Line):
		return "DID in ignore.dids"
	case p.LineOff != nil && p.LineOff(call):
		return "line is disabled"
	}
	took := p.participants(call)
	if len(took) == 0 {
		return ""
	}
	for _, extension := range took {
		if !p.Disabled[extension] {
			return ""
		}
	}
	return "employee is disabled"
}

// participants gives the extensions that took part in a call. Who talked on his mobile took part with his own extension.
func (p Policy) participants(call cdr.Call) []string {
	var took []string
	for _, part := range call.Parts {
		owner, ok := p.Directory.Phone(part.Phone)
		switch {
		case part.Extension != "":
			took = append(took, part.Extension)
		case ok && owner.Active && p.Directory.Number(owner) != "":
			took = append(took, p.Directory.Number(owner))
		case part.Via != "":
			took = append(took, part.Via)
		}
		took = append(took, part.Rang...)
	}
	return took
}

// Strangers gives the extensions of a call that no employee who works here has, each once. They ring without a card, and what they answer
// goes to employees.fallback.
func (p Policy) Strangers(call cdr.Call) []string {
	var found []string
	look := func(extension string) {
		if extension == "" || slices.Contains(found, extension) {
			return
		}
		if e, ok := p.Directory.Extension(extension); !ok || !e.Active {
			found = append(found, extension)
		}
	}
	for _, part := range call.Parts {
		look(part.Extension)
		for _, extension := range part.Rang {
			look(extension)
		}
	}
	return found
}

// matches reports whether one of the texts fits one of the patterns. A malformed pattern fits only itself; the configuration refuses it.
func matches(patterns []string, texts ...string) bool {
	for _, pattern := range patterns {
		for _, text := range texts {
			if text == "" {
				continue
			}
			if ok, err := path.Match(pattern, text); ok && err == nil {
				return true
			}
		}
	}
	return false
}

func (p Policy) want(call cdr.Call, part cdr.Part, now time.Time) Want {
	w := Want{
		Key: ledger.Key{Site: p.Site, LinkedID: call.LinkedID, N: part.N},
		Call: portal.Call{
			ExternalID: cdr.ExternalID(call.LinkedID, part.N),
			Type:       callType(call, part),
			Phone:      call.Phone,
			Line:       call.Line,
			Start:      part.Start,
			Status:     statusCode(call, part),
			CreateCRM:  part.N == 1 && p.creates(call, now),
		},
		Hash: call.Hash,
	}
	if part.Status == cdr.Answered {
		w.Call.Duration = part.Talk
		if len(part.Recordings) > 0 {
			w.Record = &Record{Names: part.Recordings, Start: call.Start, End: call.End, Talk: part.Talk}
		}
	}
	p.assign(&w, call, part)
	w.Call.RegisterUserID = p.rungFirst(call, part, w.Call.UserID, now)
	switch {
	case call.Phone == "" && call.RawPhone == "":
		w.Blocked, w.BlockKind = "the caller hid the number, and Bitrix24 registers no call without one", KindError
	case call.Phone == "":
		w.Blocked, w.BlockKind = fmt.Sprintf("%q is no phone number, and Bitrix24 registers no call without one", clip(call.RawPhone, 40)), KindError
	case w.Call.UserID == 0:
		w.Blocked, w.BlockKind = w.Unmapped, KindUnmapped
		if w.Unmapped == "" {
			w.Blocked = "nobody's phone rang, and employees.fallback is 0"
		}
	}
	return w
}

// assign finds the employee: who talked; if nobody did, missed_responsible or the first whose phone rang; else the fallback.
func (p Policy) assign(w *Want, call cdr.Call, part cdr.Part) {
	var candidates []string
	switch {
	case part.Phone != "":
		if e, ok := p.Directory.Phone(part.Phone); ok && e.Active {
			w.Call.UserID, w.Extension = e.ID, p.Directory.Number(e)
			return
		}
		if part.Via != "" {
			candidates = []string{part.Via}
		} else {
			candidates = p.rang(part)
		}
	case part.Extension != "":
		candidates = []string{part.Extension}
	case call.Direction == cdr.Inbound && p.MissedUser != 0:
		w.Call.UserID = p.MissedUser
		w.Extension = first(p.rang(part))
		return
	case call.Direction == cdr.Inbound && p.MissedExtension != "":
		candidates = []string{p.MissedExtension}
	default:
		candidates = p.rang(part)
	}
	w.Extension = first(candidates)
	for _, extension := range candidates {
		if e, ok := p.Directory.Extension(extension); ok && e.Active {
			w.Call.UserID, w.Extension = e.ID, extension
			return
		}
	}
	w.Call.UserID = p.Fallback
	if w.Extension == "" {
		return
	}
	w.Unmapped = fmt.Sprintf("extension %s belongs to no employee of the portal", w.Extension)
	if e, ok := p.Directory.Extension(w.Extension); ok {
		w.Unmapped = fmt.Sprintf("extension %s belongs to %s (user %d), who is dismissed", w.Extension, e.Name, e.ID)
	}
	if p.Fallback != 0 {
		w.Unmapped += fmt.Sprintf("; the call goes to user %d (employees.fallback)", p.Fallback)
	} else {
		w.Unmapped += "; the call waits until employees.map or the portal names one"
	}
}

// rang gives the extensions whose phone rang, in the order of ringing. Those with enabled: false come last: a call that others took part in
// is theirs.
func (p Policy) rang(part cdr.Part) []string {
	rang := slices.Clone(part.Rang)
	slices.SortStableFunc(rang, func(a, b string) int {
		switch {
		case p.Disabled[a] == p.Disabled[b]:
			return 0
		case p.Disabled[b]:
			return -1
		}
		return 1
	})
	return rang
}

// Repeated is how young a call must be, by its start, for the portal to find it again when it is registered a second time.
const Repeated = 30 * time.Minute

// rungFirst gives the employee whose phone rang first, whom a call is registered for while it happens; 0 when that is who finishes it. The
// portal moves what it made of the call in the CRM to who finishes it, and finds a young call again when it is registered the same way. An
// older one it does not find: that is registered for who finishes it at once, or a lead would stay with the first when finish never came.
func (p Policy) rungFirst(call cdr.Call, part cdr.Part, finisher int, now time.Time) int {
	if call.Direction != cdr.Inbound || part.N != 1 || finisher == 0 || now.Sub(call.Start) >= Repeated {
		return 0
	}
	for _, extension := range p.rang(part) {
		if e, ok := p.Directory.Extension(extension); ok && e.Active {
			if e.ID == finisher {
				return 0
			}
			return e.ID
		}
	}
	return 0
}

// creates reports whether the portal may make a lead, or a contact and a deal, for this call.
func (p Policy) creates(call cdr.Call, now time.Time) bool {
	switch p.Create {
	case CreateAll:
	case CreateIncoming:
		if call.Direction != cdr.Inbound {
			return false
		}
	case CreateOutgoing:
		if call.Direction != cdr.Outbound {
			return false
		}
	default:
		return false
	}
	return p.CreateWhateverAge || now.Sub(call.Start) <= p.CreateMaxAge
}

func callType(call cdr.Call, part cdr.Part) portal.CallType {
	switch {
	case part.N > 1:
		return portal.IncomingRedirected
	case call.Direction == cdr.Outbound:
		return portal.Outgoing
	}
	return portal.Incoming
}

// statusCode is the table of product.md: only 304 makes a missed call of an inbound one.
func statusCode(call cdr.Call, part cdr.Part) portal.StatusCode {
	if part.Status == cdr.Answered {
		return portal.StatusOK
	}
	if call.Direction == cdr.Inbound {
		return portal.StatusMissed
	}
	switch part.Status {
	case cdr.Busy:
		return portal.StatusBusy
	case cdr.Failed:
		return portal.StatusFailed
	case cdr.Cancelled:
		return portal.StatusCancelled
	}
	return portal.StatusNoAnswer
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// clip cuts a text that came from outside to a length that fits a report, in runes.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n]) + "…"
}
