package emulator

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sverka/internal/emulator/php"
)

// Types of a call.
const (
	outgoing   = 1
	incoming   = 2
	redirected = 3
	callback   = 4
	info       = 5
)

const (
	statusOK     = "200"
	statusMissed = "304"
)

// Lengths that the statistics table has room for, in characters.
const (
	externalIDLength = 64
	phoneLength      = 20
	statusLength     = 255
)

// rereg is how young a live call must be, by its start, to be found again by a second register.
const rereg = 30 * time.Minute

// LiveCall is a call that is registered and not finished.
type LiveCall struct {
	CallID     string
	ExternalID string
	UserID     int
	Phone      string
	Line       string // LINE_NUMBER; "" if none was given
	Type       int
	Start      time.Time // CALL_START_DATE, in the zone of the server
	Registered time.Time
	Shown      []int  // users who see its card
	AppID      string // "": registered through the webhook

	serial int64
}

type liveCall struct {
	LiveCall
	client  client
	note    string  // LEAD_CREATION_ERROR
	created []*item // CRM objects made for this call
	leadID  int64   // CRM_CREATED_LEAD
	create  bool
	source  string
}

type liveKey struct {
	user, kind int
	phone, app string
}

// liveCalls are the registered calls, and an index for repeated registrations.
type liveCalls struct {
	byID  map[string]*liveCall
	byKey map[liveKey][]*liveCall
}

func newLiveCalls() liveCalls {
	return liveCalls{byID: map[string]*liveCall{}, byKey: map[liveKey][]*liveCall{}}
}

func (l *liveCalls) key(c *liveCall) liveKey { return liveKey{c.UserID, c.Type, c.Phone, c.AppID} }

func (l *liveCalls) add(c *liveCall) {
	l.byID[c.CallID] = c
	l.byKey[l.key(c)] = append(l.byKey[l.key(c)], c)
}

func (l *liveCalls) remove(c *liveCall) {
	delete(l.byID, c.CallID)
	rest := slices.DeleteFunc(l.byKey[l.key(c)], func(o *liveCall) bool { return o == c })
	if len(rest) == 0 {
		delete(l.byKey, l.key(c))
		return
	}
	l.byKey[l.key(c)] = rest
}

// again finds the call that a repeated registration means. Line and external ID count only if they are given, the start of the new one
// not at all, and that of the old one decides whether it is young enough.
func (l *liveCalls) again(k liveKey, line, externalID string, now time.Time) *liveCall {
	for _, c := range l.byKey[k] {
		if c.Start.After(now.Add(-rereg)) && (line == "" || c.Line == line) && (externalID == "" || c.ExternalID == externalID) {
			return c
		}
	}
	return nil
}

func (p *Portal) newCallID() string {
	p.serial++
	sum := md5.Sum(append([]byte(strconv.FormatInt(p.serial, 10)), p.secret...))
	return "externalCall." + hex.EncodeToString(sum[:]) + "." + strconv.FormatInt(p.now().Unix(), 10)
}

// today is the time of the portal's clock in its zone, whole seconds.
func (p *Portal) today() time.Time { return p.now().In(p.zone).Truncate(time.Second) }

// stripPhone keeps of a number what the portal keeps.
func stripPhone(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("0123456789#*+,;", r) {
			return r
		}
		return -1
	}, s)
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

func callRegister(p *Portal, q *query) (answer, error) {
	if !namesUser(q.args) {
		return answer{}, refuse("USER_ID or USER_PHONE_INNER should be set")
	}
	kind := int(php.Int(q.arg("TYPE")))
	if kind < outgoing || kind > info {
		return answer{}, refuse("Unknown TYPE")
	}
	start := p.today()
	if s := q.text("CALL_START_DATE"); s != "" {
		t, err := parseTime(s, p.zone)
		if err != nil || !strings.Contains(s, "T") {
			return answer{}, refuse("CALL_START_DATE should be in the ISO-8601 format")
		}
		start = t
	}
	phone := stripPhone(q.text("PHONE_NUMBER"))
	if phone == "" {
		return answer{}, refuse("Unsupported phone number format")
	}
	user, err := p.employee(q.args)
	if err != nil {
		return answer{}, err
	}
	line := cut(q.text("LINE_NUMBER"), lineLength)
	externalID := q.text("EXTERNAL_CALL_ID")

	c := p.live.again(liveKey{user.ID, kind, phone, q.by.number()}, line, externalID, p.now())
	if c == nil {
		if line != "" {
			p.lines.ensure(q.by.number(), line)
		}
		c = &liveCall{
			LiveCall: LiveCall{
				CallID: p.newCallID(), ExternalID: externalID, UserID: user.ID, Phone: phone, Line: line, Type: kind, Start: start,
				Registered: p.today(), AppID: q.by.number(), serial: p.serial,
			},
			create: php.Int(q.arg("CRM_CREATE")) == 1 || php.Int(q.arg("CRM")) == 1,
			source: p.crm.source(q.text("CRM_SOURCE")),
		}
		p.bindClient(c, q.text("CRM_ENTITY_TYPE"), php.Int(q.arg("CRM_ENTITY_ID")))
		p.live.add(c)
		p.happenRegistered(c)
	}
	if show, given := q.args.Param("SHOW"); !given || php.Int(show) != 0 {
		c.show([]int{user.ID})
	}
	made := &php.Array{}
	for _, e := range c.created {
		made.Append(php.Map("ENTITY_TYPE", e.kind.name(), "ENTITY_ID", e.id))
	}
	out := php.Map("CALL_ID", c.CallID, "CRM_CREATED_LEAD", some(c.leadID), "CRM_CREATED_ENTITIES", made,
		"CRM_ENTITY_TYPE", nil, "CRM_ENTITY_ID", nil)
	if e := c.client.primary(); e != nil {
		out.Set("CRM_ENTITY_TYPE", e.kind.name())
		out.Set("CRM_ENTITY_ID", e.id)
	}
	if c.note != "" {
		out.Set("LEAD_CREATION_ERROR", c.note)
	}
	return answer{result: out}, nil
}

func (c *liveCall) show(users []int) {
	for _, u := range users {
		if !slices.Contains(c.Shown, u) {
			c.Shown = append(c.Shown, u)
		}
	}
}

// talked is CALL_STATUS: 1 when there was a conversation.
func talked(seconds int) int {
	if seconds > 0 {
		return 1
	}
	return 0
}

// callFinish follows the order of the portal: activity, statistics row, then the live call is deleted. A row that the table refuses leaves
// the activity and the live call behind.
func callFinish(p *Portal, q *query) (answer, error) {
	a, row, err := p.finish(q)
	if err != nil {
		return answer{}, err
	}
	if address := q.text("RECORD_URL"); address != "" {
		// Deprecated way: one attempt, and silence when it fails.
		if _, err := p.attachFromURL(q.ctx, row.CallID, address, q.text("FILENAME")); err != nil {
			p.log.WithField("call_id", row.CallID).Debug("recording of finish could not be fetched")
		}
	}
	return a, nil
}

func (p *Portal) finish(q *query) (answer, *Call, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acting = q.cause()
	id, ok := q.arg("CALL_ID").(string)
	if !ok {
		return answer{}, nil, &Error{Status: 400, Code: "INVALID_ARGUMENT", Text: "CALL_ID must be a string"}
	}
	if !namesUser(q.args) {
		return answer{}, nil, refuse("USER_ID or USER_PHONE_INNER should be set")
	}
	live := p.live.byID[id]
	if live == nil {
		return answer{}, nil, refuse("Call is not found (call should be registered prior to finishing)")
	}
	user, err := p.employee(q.args)
	if err != nil {
		return answer{}, nil, err
	}
	c := &Call{
		CallID: live.CallID, ExternalID: live.ExternalID, UserID: user.ID, Phone: live.Phone, Line: live.Line, Type: live.Type, Start: live.Start,
		Duration: int(max(0, php.Int(q.arg("DURATION")))), Status: q.text("STATUS_CODE"), Reason: q.text("FAILED_REASON"),
		Cost: php.Float(q.arg("COST")), Currency: q.text("COST_CURRENCY"), Vote: int(php.Int(q.arg("VOTE"))),
		InChat: php.Int(q.arg("ADD_TO_CHAT")) == 1, AppID: live.AppID, AppName: p.appName(live.AppID),
	}
	if c.Line == "" {
		c.Line = "REST_APP:" + c.AppID
	}
	if c.Status == "" {
		c.Status = statusMissed
		if c.Duration > 0 {
			c.Status = statusOK
		}
	}
	c.Missed = c.Status == statusMissed && (c.Type == incoming || c.Type == redirected)

	for _, e := range live.created {
		if to := itoa(int64(user.ID)); e.fields["ASSIGNED_BY_ID"] != to {
			e.fields["ASSIGNED_BY_ID"] = to
			p.crm.happen(e.kind.name(), "UPDATE", e.id)
		}
	}
	excluded := p.crm.excluded[normalPhone(live.Phone)]
	if live.client.empty() && !excluded {
		// A client who came to be between register and finish.
		live.client = p.crm.find(live.Phone)
	}
	problems := &php.Array{}
	if primary := live.client.primary(); primary != nil {
		c.EntityType, c.EntityID = primary.kind.name(), primary.id
		c.ActivityID = p.crm.addActivity(c, live.client, p.today()).ID
	} else if !excluded {
		problems.Set("ACTIVITY_CREATION", "Could not find associated crm entity for the current call")
	}
	if utf8.RuneCountInString(c.ExternalID) > externalIDLength || utf8.RuneCountInString(c.Phone) > phoneLength ||
		utf8.RuneCountInString(c.Status) > statusLength {
		return answer{}, nil, refuse("Unexpected database error")
	}
	c.ID = p.stats.last + 1
	p.stats.insert(c)
	p.live.remove(live)
	p.happenFinished(c)

	out := php.Map(
		"ID", c.ID,
		"CALL_ID", c.CallID,
		"EXTERNAL_CALL_ID", textOrNull(c.ExternalID),
		"PORTAL_USER_ID", c.UserID,
		"PHONE_NUMBER", c.Phone,
		"PORTAL_NUMBER", c.Line,
		"INCOMING", strconv.Itoa(c.Type),
		"CALL_DURATION", c.Duration,
		"CALL_START_DATE", struct{}{}, // a PHP object without public fields
		"CALL_STATUS", talked(c.Duration),
		"CALL_VOTE", some(int64(c.Vote)),
		"COST", c.Cost,
		"COST_CURRENCY", c.Currency,
		"CALL_FAILED_CODE", c.Status,
		"CALL_FAILED_REASON", c.Reason,
		"REST_APP_ID", textOrNull(c.AppID),
		"REST_APP_NAME", textOrNull(c.AppName),
		"CRM_ACTIVITY_ID", some(c.ActivityID),
		"COMMENT", nil,
		"CRM_ENTITY_TYPE", textOrNull(c.EntityType),
		"CRM_ENTITY_ID", some(c.EntityID),
	)
	if problems.Len() > 0 {
		out.Set("ERRORS", problems)
	}
	return answer{result: out}, c, nil
}

func decimal(f float64) string { return strconv.FormatFloat(f, 'f', 4, 64) }

// cardUsers are whom a show or hide means: the named ones, or who registered the call.
func cardUsers(q *query, c *liveCall) []int {
	v, ok := q.args.Param("USER_ID")
	if !ok {
		return []int{c.UserID}
	}
	list, ok := v.(*php.Array)
	if !ok {
		list = php.List(v)
	}
	var ids []int
	for _, id := range list.All() {
		ids = append(ids, int(php.Int(id)))
	}
	return ids
}

func callShow(p *Portal, q *query) (answer, error) {
	c := p.live.byID[q.text("CALL_ID")]
	if c == nil {
		return answer{result: false}, nil
	}
	c.show(cardUsers(q, c))
	return answer{result: true}, nil
}

func callHide(p *Portal, q *query) (answer, error) {
	c := p.live.byID[q.text("CALL_ID")]
	if c == nil {
		return answer{result: false}, nil
	}
	hidden := cardUsers(q, c)
	c.Shown = slices.DeleteFunc(c.Shown, func(u int) bool { return slices.Contains(hidden, u) })
	return answer{result: true}, nil
}

func callSearch(p *Portal, q *query) (answer, error) {
	phone := q.text("PHONE_NUMBER")
	if phone == "" {
		return answer{}, refuse("PHONE_NUMBER is empty")
	}
	if p.rules.NoCRM {
		return answer{}, refuse("CRM is not installed.")
	}
	out := &php.Array{}
	for _, e := range p.crm.find(phone).all {
		if e.kind == deal {
			continue
		}
		id := php.Int(e.fields["ASSIGNED_BY_ID"])
		by := php.Map("ID", id, "TIMEMAN_STATUS", "NOT_INSTALLED", "USER_PHONE_INNER", "", "WORK_PHONE", "", "PERSONAL_PHONE", "", "PERSONAL_MOBILE", "")
		for _, u := range p.users.list {
			if int64(u.ID) == id {
				by.Set("USER_PHONE_INNER", u.Inner)
				by.Set("WORK_PHONE", u.Work)
				by.Set("PERSONAL_MOBILE", u.Mobile)
			}
		}
		out.Append(php.Map("CRM_ENTITY_TYPE", e.kind.name(), "CRM_ENTITY_ID", e.id, "ASSIGNED_BY_ID", id, "NAME", e.title(), "ASSIGNED_BY", by))
	}
	return answer{result: out}, nil
}

func callTranscript(p *Portal, q *query) (answer, error) {
	id := q.text("CALL_ID")
	if id == "" {
		return answer{}, refuse("CALL_ID should be set")
	}
	messages, ok := q.array("MESSAGES")
	if !ok {
		return answer{}, refuse("MESSAGES should be an array")
	}
	for n, v := range messages.All() {
		m, _ := v.(*php.Array)
		switch side := php.Text(m.Get("SIDE")); {
		case side != "User" && side != "Client":
			return answer{}, refuse(fmt.Sprintf("MESSAGES[%s][SIDE] should be either Client or User", n))
		case m.Get("START_TIME") == nil || php.Int(m.Get("START_TIME")) < 0:
			return answer{}, refuse(fmt.Sprintf("MESSAGES[%s][START_TIME] should be greater or equal to zero", n))
		case php.Int(m.Get("STOP_TIME")) <= 0:
			return answer{}, refuse(fmt.Sprintf("MESSAGES[%s][STOP_TIME] should be greater than zero", n))
		case php.Text(m.Get("MESSAGE")) == "":
			return answer{}, refuse(fmt.Sprintf("MESSAGES[%s][MESSAGE] is empty", n))
		}
	}
	c := p.stats.find(id)
	if c == nil {
		return answer{}, refuse(fmt.Sprintf("Call %s is not found. Is it finished?", id))
	}
	p.lastWords++
	c.TranscriptID = p.lastWords
	return answer{result: php.Map("TRANSCRIPT_ID", c.TranscriptID)}, nil
}
