package portal

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Names of events, as the portal writes them.
const (
	EventClickToCall = "ONEXTERNALCALLSTART"     // an employee pressed a phone number
	EventCallback    = "ONEXTERNALCALLBACKSTART" // a visitor of a site left a phone number and wants to be called
	EventInstall     = "ONAPPINSTALL"            // the local app was installed: comes with its first tokens
	EventUninstall   = "ONAPPUNINSTALL"          // the local app was removed
	EventQueue       = "ONOFFLINEEVENT"          // there is something in the queue of offline events
)

// maxFields is how many leaves the data of an event may have; real ones have a dozen.
const maxFields = 200

// Event is something that happened in the portal, as it told us. Everything in it comes from outside and is to be checked before use.
type Event struct {
	Name string            // upper case
	At   time.Time         // when it happened, by the portal's clock; zero: not told
	Data map[string]string // leaves of data by path: CALL_ID, FIELDS.ID
}

// Key says which happening this is: two events with the same key, minutes apart, are one that was delivered twice.
func (e Event) Key() string {
	fields := []string{"CALL_ID"}
	switch e.Name {
	case EventClickToCall:
	case EventCallback:
		fields = []string{"PHONE_NUMBER", "LINE_NUMBER", "CRM_ENTITY_TYPE", "CRM_ENTITY_ID"}
	default:
		fields = fields[:0]
		for name := range e.Data {
			fields = append(fields, name)
		}
		slices.Sort(fields)
	}
	var b strings.Builder
	b.WriteString(e.Name)
	for _, name := range fields {
		fmt.Fprintf(&b, " %s=%q", name, e.Data[name])
	}
	return b.String()
}

// ClickToCall is an employee's wish to call a number. The portal has registered the call already: CallID is to be finished, and no other
// call is to be registered for it.
type ClickToCall struct {
	CallID    CallID
	UserID    int
	Phone     string // digits, with a plus in front when the portal wrote one
	Extension string // what the portal thinks is the number of the employee; may be ""
	Line      string // our number to call from; "" for the default one
	Entity    Entity // what the employee was looking at; zero when he dialled by hand
	ListID    int    // the list of calls that he works through; 0 for none
	Mobile    bool   // from the mobile application
	At        time.Time
}

// CallbackRequest is a visitor's wish to be called. The portal has registered nothing.
type CallbackRequest struct {
	Phone  string // digits, with a plus in front when the portal wrote one
	Line   string // our number that the form belongs to; may be ""
	Text   string // what the employee is to hear
	Voice  string // voice to read Text with
	Entity Entity // what the form created or found
	At     time.Time
}

// ClickToCall reads an event of that name.
func (e Event) ClickToCall() (ClickToCall, error) {
	c := ClickToCall{At: e.At, CallID: CallID(e.Data["CALL_ID"]), Mobile: e.Data["IS_MOBILE"] == "1"}
	var err error
	if !word(string(c.CallID), 128, "._-") || c.CallID == "" {
		return ClickToCall{}, fmt.Errorf("click-to-call: %q is no id of a call", clip(string(c.CallID)))
	}
	fail := func(err error) (ClickToCall, error) {
		return ClickToCall{}, fmt.Errorf("click-to-call %s: %w", c.CallID, err)
	}
	if c.Phone, err = e.phone(); err != nil {
		return fail(err)
	}
	if c.UserID, err = number(e.Data["USER_ID"]); err != nil || c.UserID == 0 {
		return fail(fmt.Errorf("%q is no id of an employee", clip(e.Data["USER_ID"])))
	}
	if c.Extension = e.Data["EXTENSION"]; !word(c.Extension, 32, "") {
		return fail(fmt.Errorf("%q is no extension", clip(c.Extension)))
	}
	if c.Line, err = e.line(); err != nil {
		return fail(err)
	}
	if c.Entity, err = e.entity(); err != nil {
		return fail(err)
	}
	if c.ListID, err = number(e.Data["CALL_LIST_ID"]); err != nil {
		return fail(fmt.Errorf("%q is no id of a list of calls", clip(e.Data["CALL_LIST_ID"])))
	}
	return c, nil
}

// CallbackRequest reads an event of that name.
func (e Event) CallbackRequest() (CallbackRequest, error) {
	c := CallbackRequest{At: e.At, Text: printable(e.Data["TEXT"], 1000), Voice: printable(e.Data["VOICE"], 64)}
	var err error
	fail := func(err error) (CallbackRequest, error) {
		return CallbackRequest{}, fmt.Errorf("callback request: %w", err)
	}
	if c.Phone, err = e.phone(); err != nil {
		return fail(err)
	}
	if c.Line, err = e.line(); err != nil {
		return fail(err)
	}
	if c.Entity, err = e.entity(); err != nil {
		return fail(err)
	}
	return c, nil
}

// phone gives PHONE_NUMBER, which anybody may have typed into a form or a card of the CRM, and which ends up in a dial string. Only what
// people write between the digits of a phone number is taken out; feature codes and all else are refused.
func (e Event) phone() (string, error) {
	raw := e.Data["PHONE_NUMBER"]
	var b strings.Builder
	for i, r := range strings.TrimSpace(raw) {
		switch {
		case r >= '0' && r <= '9', r == '+' && i == 0:
			b.WriteRune(r)
		case strings.ContainsRune(" -().\u00a0", r):
		default:
			return "", fmt.Errorf("%q is no phone number", clip(raw))
		}
	}
	phone := b.String()
	if digits := len(strings.TrimPrefix(phone, "+")); digits < 2 || digits > 20 {
		return "", fmt.Errorf("%q is no phone number", clip(raw))
	}
	return phone, nil
}

func (e Event) line() (string, error) {
	line := e.Data["LINE_NUMBER"]
	if !word(line, 64, "+._:-") {
		return "", fmt.Errorf("%q is no number of a line", clip(line))
	}
	return line, nil
}

// entity gives the CRM object of an event. The portal writes 0 or nothing for none.
func (e Event) entity() (Entity, error) {
	kind, id := EntityType(strings.ToUpper(e.Data["CRM_ENTITY_TYPE"])), e.Data["CRM_ENTITY_ID"]
	n, err := number(id)
	switch {
	case err != nil:
		return Entity{}, fmt.Errorf("%q is no id of a CRM object", clip(id))
	case n == 0 || kind == "":
		return Entity{}, nil
	case !word(string(kind), 32, "_"):
		return Entity{}, fmt.Errorf("%q is no type of a CRM object", clip(string(kind)))
	}
	return Entity{Type: kind, ID: n}, nil
}

func number(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err
}

// word reports whether a text has only ASCII letters, digits and the other characters, and at most so many.
func word(s string, most int, others string) bool {
	return len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune(others, r)
	})
}

// printable gives the first characters of a text, without those that steer a terminal or a protocol.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}

// clip shortens what came from outside for an error.
func clip(s string) string {
	const most = 40
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}

// Event gives what an event of the queue tells.
func (o OfflineEvent) Event() (Event, error) {
	e := Event{Name: strings.ToUpper(o.Name), At: o.At, Data: make(map[string]string)}
	if len(o.Data) == 0 {
		return e, nil
	}
	var data any
	d := json.NewDecoder(strings.NewReader(string(o.Data)))
	d.UseNumber()
	if err := d.Decode(&data); err != nil {
		return Event{}, fmt.Errorf("event %d of the queue, %s: its data is no JSON", o.ID, clip(e.Name))
	}
	if !flatten(e.Data, "", data) {
		return Event{}, fmt.Errorf("event %d of the queue, %s: its data has more than %d fields", o.ID, clip(e.Name), maxFields)
	}
	return e, nil
}

// flatten puts the leaves of a decoded JSON value into fields, by path. It gives false when there are too many.
func flatten(fields map[string]string, path string, v any) bool {
	below := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		for name, item := range v {
			if !flatten(fields, below(name), item) {
				return false
			}
		}
	case []any:
		for i, item := range v {
			if !flatten(fields, below(strconv.Itoa(i)), item) {
				return false
			}
		}
	case nil:
	case bool:
		fields[path] = "0"
		if v {
			fields[path] = "1"
		}
	default:
		fields[path] = fmt.Sprint(v)
	}
	return len(fields) <= maxFields
}
