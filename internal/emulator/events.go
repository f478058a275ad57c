package emulator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sverka/internal/emulator/event"
	"sverka/internal/emulator/oauth"
	"sverka/internal/emulator/php"
)

// eventScopes are the events that can be bound, with their scopes.
func eventScopes() map[string]string {
	m := map[string]string{
		"ONEXTERNALCALLSTART": "telephony", "ONEXTERNALCALLBACKSTART": "telephony", "ONVOXIMPLANTCALLINIT": "telephony",
		"ONVOXIMPLANTCALLSTART": "telephony", "ONVOXIMPLANTCALLEND": "telephony",
		"ONAPPINSTALL": "", "ONAPPUNINSTALL": "", "ONOFFLINEEVENT": "",
	}
	for _, k := range []string{"LEAD", "DEAL", "CONTACT", "COMPANY", "ACTIVITY"} {
		for _, what := range []string{"ADD", "UPDATE", "DELETE"} {
			m["ONCRM"+k+what] = "crm"
		}
	}
	return m
}

// cause is who works in the portal just now.
type cause struct {
	user      int    // 0: nobody
	connector string // source that does not want to hear of its own doings
}

func (q *query) cause() cause { return cause{q.by.user, q.text("auth_connector")} }

// happening is an event that has yet to be told.
type happening struct {
	name   string
	data   *php.Array
	object string // what it is about, for the offline queue; "": nothing that changes
	cause
}

// happen notes an event while a method works. It is told when the method is done. The lock is held.
func (p *Portal) happen(name string, data *php.Array) {
	p.happened = append(p.happened, happening{name: name, data: data, cause: p.acting})
}

// happenCRM notes that an object of the CRM came, changed or went.
func (p *Portal) happenCRM(kind, what string, id int64) {
	p.happened = append(p.happened, happening{"ONCRM" + kind + what, php.Map("FIELDS", php.Map("ID", itoa(id))), itoa(id), p.acting})
}

// delivery is one request to a handler.
type delivery struct {
	handler string
	body    string
}

const (
	deliveryTimeout  = 10 * time.Second
	deliveriesAtOnce = 8
)

// tell sends what has happened, once each and without waiting; what is bound offline goes into the queue.
func (p *Portal) tell() {
	for _, d := range p.deliveries() {
		p.sending.Go(func() {
			p.slots <- struct{}{}
			defer func() { <-p.slots }()
			if err := p.send(p.life, d); err != nil {
				p.log.WithError(err).Warn("event was not delivered, and will not be sent again")
			}
		})
	}
}

// tellNow sends what has happened and waits for the handlers' answers.
func (p *Portal) tellNow(ctx context.Context) error {
	var errs []error
	for _, d := range p.deliveries() {
		errs = append(errs, p.send(ctx, d))
	}
	return errors.Join(errs...)
}

func (p *Portal) deliveries() []delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	happened := p.happened
	p.happened = nil
	if len(happened) == 0 || !p.app.installed {
		return nil
	}
	var out []delivery
	queued := false
	for _, h := range happened {
		for _, b := range p.events.Of(h.name) {
			if !b.Offline {
				out = append(out, p.delivery(b, h.name, h.data, h.user))
				continue
			}
			if b.Connector != "" && b.Connector == h.connector {
				continue
			}
			p.events.Push(event.Record{Time: p.today(), Event: h.name, Data: h.data, User: h.user, Object: h.object, Connector: b.Connector})
			queued = true
		}
	}
	if queued {
		for _, b := range p.events.Of("ONOFFLINEEVENT") {
			if p.events.Ping(b, p.now()) {
				out = append(out, p.delivery(b, b.Event, &php.Array{}, happened[0].user))
			}
		}
	}
	return out
}

// delivery writes one event as the portal posts it. The lock is held.
func (p *Portal) delivery(b event.Binding, name string, data *php.Array, user int) delivery {
	if b.AuthType != 0 {
		user = b.AuthType
	}
	form := url.Values{"event": {name}, "event_handler_id": {itoa(b.ID)}, "ts": {itoa(p.now().Unix())}}
	addForm(form, "data", data)
	addForm(form, "auth", p.eventAuth(user, name))
	return delivery{b.Handler, form.Encode()}
}

// eventAuth is the auth block of an event. Nobody's event carries no tokens, and so does the farewell.
func (p *Portal) eventAuth(user int, name string) *php.Array {
	auth := php.Map()
	if user != 0 && name != "ONAPPUNINSTALL" {
		g := p.app.tokens.Issue(user)
		auth.Set("access_token", g.Access)
		auth.Set("expires", g.Expires.Unix())
		auth.Set("expires_in", int64(oauth.AccessLife.Seconds()))
		auth.Set("user_id", int64(user))
		switch name {
		case "ONAPPINSTALL", "ONOFFLINEEVENT", "ONEXTERNALCALLSTART", "ONEXTERNALCALLBACKSTART":
			auth.Set("refresh_token", g.Refresh)
		}
	}
	for _, pair := range [][2]string{
		{"scope", strings.Join(p.app.Scope, ",")},
		{"domain", host(p.address)},
		{"server_endpoint", p.address + "/rest/"},
		{"status", "L"},
		{"client_endpoint", p.address + "/rest/"},
		{"member_id", p.app.member},
		{"application_token", p.app.token},
	} {
		auth.Set(pair[0], pair[1])
	}
	return auth
}

// addForm writes a value under a name with brackets, as PHP reads it back.
func addForm(form url.Values, name string, v any) {
	a, ok := v.(*php.Array)
	if !ok {
		form.Set(name, php.Text(v))
		return
	}
	for k, v := range a.All() {
		addForm(form, name+"["+k+"]", v)
	}
}

// send posts an event once.
func (p *Portal) send(ctx context.Context, d delivery) error {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.handler, strings.NewReader(d.body))
	if err != nil {
		return fmt.Errorf("post event: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "Bitrix24 Webhook Engine")
	p.mu.Lock()
	p.count.Events++
	p.mu.Unlock()
	res, err := p.fetch.Do(req)
	if err != nil {
		return fmt.Errorf("post event: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("post event to %s: HTTP %d", d.handler, res.StatusCode)
	}
	return nil
}

var errNoAddress = errors.New("the portal does not know its own address yet: call SetAddress first")

// Install does what saving a local application with this installation path does: it posts ONAPPINSTALL with the first tokens there, and the
// application is installed. An application that was revoked comes back with an application_token of its own.
func (p *Portal) Install(ctx context.Context, url string) error {
	p.mu.Lock()
	if p.address == "" {
		p.mu.Unlock()
		return fmt.Errorf("install the application: %w", errNoAddress)
	}
	if !p.app.installed {
		p.app = p.newApplication(p.app.App)
	}
	d := p.delivery(event.Binding{Handler: url}, "ONAPPINSTALL",
		php.Map("VERSION", "1", "ACTIVE", "Y", "INSTALLED", "Y", "LANGUAGE_ID", "ru"), adminID)
	p.mu.Unlock()
	if err := p.send(ctx, d); err != nil {
		return fmt.Errorf("install the application: %w", err)
	}
	return nil
}

// RevokeApp deletes the application: its tokens, bindings and lines go, and whoever has bound ONAPPUNINSTALL is told.
func (p *Portal) RevokeApp() {
	p.mu.Lock()
	p.acting = cause{}
	p.happen("ONAPPUNINSTALL", php.Map("LANGUAGE_ID", "ru", "CLEAN", "1"))
	p.mu.Unlock()
	p.tell()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app.installed = false
	p.app.tokens.Revoke()
	p.events.Clear()
	p.lines.list = slices.DeleteFunc(p.lines.list, func(l *line) bool {
		if l.app == appNumber {
			delete(p.lines.byNumber, lineKey{l.app, l.number})
		}
		return l.app == appNumber
	})
}

// heard says why nobody would hear an event. The lock is held.
func (p *Portal) heard(name string) error {
	switch {
	case p.address == "":
		return errNoAddress
	case !p.app.installed:
		return errors.New("the application is not installed")
	case len(p.events.Of(name)) == 0:
		return fmt.Errorf("the application has not bound %s", name)
	}
	return nil
}

// ClickToCall is an employee who clicks a number in the portal. The portal registers the call itself, opens its card and sends
// ONEXTERNALCALLSTART; the application calls and finishes. The CALL_ID is given also when the handler could not be reached.
func (p *Portal) ClickToCall(ctx context.Context, userID int, phone string) (string, error) {
	id, err := p.registerClick(userID, phone)
	if err == nil {
		err = p.tellNow(ctx)
	}
	if err != nil {
		err = fmt.Errorf("call %s from the portal: %w", phone, err)
	}
	return id, err
}

func (p *Portal) registerClick(userID int, phone string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.heard("ONEXTERNALCALLSTART"); err != nil {
		return "", err
	}
	number := stripPhone(phone)
	if number == "" || p.users.active(userID) == nil {
		return "", fmt.Errorf("employee %d and number %q: one of them is not there", userID, phone)
	}
	p.acting = cause{user: userID}
	c := &liveCall{LiveCall: LiveCall{
		CallID: p.newCallID(), UserID: userID, Phone: number, Type: outgoing, Start: p.today(), Registered: p.today(), AppID: appNumber,
		Shown: []int{userID}, serial: p.serial,
	}, create: true, source: "CALL"}
	// The line's own setting decides whether an unknown number becomes a client; without a line it does.
	if i := slices.IndexFunc(p.lines.list, func(l *line) bool { return l.app == appNumber }); i >= 0 {
		c.Line, c.create = p.lines.list[i].number, p.lines.list[i].create == "Y"
	}
	p.bindClient(c, "", 0)
	p.live.add(c)
	entity, entityID := entityText(c.client.primary())
	p.happenRegistered(c)
	p.happen("ONEXTERNALCALLSTART", php.Map(
		"PHONE_NUMBER", number, "PHONE_NUMBER_INTERNATIONAL", "+"+normalPhone(number), "EXTENSION", "", "USER_ID", itoa(int64(userID)),
		"CALL_LIST_ID", "0", "LINE_NUMBER", c.Line, "IS_MOBILE", "0", "CALL_ID", c.CallID, "CRM_ENTITY_TYPE", entity, "CRM_ENTITY_ID", entityID,
	))
	return c.CallID, nil
}

func entityText(e *item) (kind, id string) {
	if e == nil {
		return "", "0"
	}
	return e.kind.name(), itoa(e.id)
}

// happenRegistered notes the events of a call that has been registered.
func (p *Portal) happenRegistered(c *liveCall) {
	p.happen("ONVOXIMPLANTCALLINIT", php.Map(
		"CALL_ID", c.CallID, "CALL_TYPE", itoa(int64(c.Type)), "CALLER_ID", c.Phone, "REST_APP_ID", c.AppID,
	))
	p.happen("ONVOXIMPLANTCALLSTART", php.Map("CALL_ID", c.CallID, "USER_ID", itoa(int64(c.UserID))))
}

func (p *Portal) happenFinished(c *Call) {
	p.happen("ONVOXIMPLANTCALLEND", php.Map(
		"CALL_ID", c.CallID, "CALL_TYPE", itoa(int64(c.Type)), "PHONE_NUMBER", c.Phone, "PORTAL_NUMBER", c.Line, "PORTAL_USER_ID",
		itoa(int64(c.UserID)), "CALL_DURATION", itoa(int64(c.Duration)), "CALL_START_DATE", c.Start.Format(iso), "COST", decimal(c.Cost),
		"COST_CURRENCY", c.Currency, "CALL_FAILED_CODE", c.Status, "CALL_FAILED_REASON", c.Reason, "CRM_ACTIVITY_ID", itoa(c.ActivityID),
	))
}

// RequestCallback is a visitor of a site who leaves his number to be called back. Nobody of the portal caused it, so the event carries no tokens.
func (p *Portal) RequestCallback(ctx context.Context, phone, line string) error {
	p.mu.Lock()
	err := p.heard("ONEXTERNALCALLBACKSTART")
	if err == nil {
		p.acting = cause{}
		entity, id := entityText(p.crm.find(phone).primary())
		p.happen("ONEXTERNALCALLBACKSTART", php.Map(
			"PHONE_NUMBER", stripPhone(phone), "TEXT", "Клиент просит перезвонить", "VOICE", "", "CRM_ENTITY_TYPE", entity, "CRM_ENTITY_ID", id,
			"LINE_NUMBER", line,
		))
	}
	p.mu.Unlock()
	if err == nil {
		err = p.tellNow(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask for a callback to %s: %w", phone, err)
	}
	return nil
}

func denied(text string) error {
	return &Error{Status: http.StatusForbidden, Code: "ACCESS_DENIED", Text: text}
}

func missing(name string) error {
	return &Error{Status: http.StatusBadRequest, Code: "ERROR_ARGUMENT", Text: "Argument '" + name + "' is null or empty"}
}

// bound reads the parameters that event.bind and event.unbind share.
func bound(q *query, doing string) (event.Binding, error) {
	b := event.Binding{
		Event: strings.ToUpper(q.text("event")), Handler: q.text("handler"), AuthType: int(php.Int(q.arg("auth_type"))),
		Offline: strings.EqualFold(q.text("event_type"), "offline"), Connector: q.text("auth_connector"),
	}
	if _, ok := eventScopes()[b.Event]; !ok {
		return b, &Error{Status: http.StatusBadRequest, Code: "ERROR_EVENT_NOT_FOUND", Text: "Event not found"}
	}
	switch {
	case b.Offline && !q.by.admin():
		return b, denied("Access denied! Offline events " + doing + " requires administrator access rights")
	case b.AuthType != 0 && b.AuthType != q.by.user && !q.by.admin():
		return b, denied("Access denied! Event " + doing + " with AUTH_TYPE requires administrator access rights")
	case b.Offline:
		b.Handler = ""
	case b.Handler == "":
		return b, missing("HANDLER")
	}
	return b, nil
}

func eventBind(p *Portal, q *query) (answer, error) {
	b, err := bound(q, "binding")
	if err != nil {
		return answer{}, err
	}
	if !b.Offline {
		if u, err := url.Parse(b.Handler); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return answer{}, &Error{Status: http.StatusBadRequest, Code: "ERROR_WRONG_HANDLER_URL", Text: "Wrong handler URL"}
		}
		b.Connector = ""
	}
	if !q.by.may(eventScopes()[b.Event]) {
		return answer{}, &Error{Status: http.StatusForbidden, Code: "insufficient_scope", Text: "The request requires higher privileges than provided by the access token"}
	}
	options, _ := q.array("options")
	b.MinTimeout = time.Duration(max(1, php.Int(options.Get("minTimeout")))) * time.Second
	if err := p.events.Bind(b); err != nil {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "ERROR_HANDLER_ALREADY_EXIST", Text: "Handler already exists!"}
	}
	return answer{result: true}, nil
}

func eventGet(p *Portal, _ *query) (answer, error) {
	out := &php.Array{}
	for _, b := range p.events.Bindings() {
		offline := 0
		if b.Offline {
			offline = 1
		}
		out.Append(php.Map("event", b.Event, "handler", b.Handler, "auth_type", itoa(int64(b.AuthType)), "offline", offline))
	}
	return answer{result: out}, nil
}

func eventUnbind(p *Portal, q *query) (answer, error) {
	b, err := bound(q, "unbinding")
	if err != nil {
		return answer{}, err
	}
	n := p.events.Unbind(func(o event.Binding) bool {
		return o.Event == b.Event && o.Handler == b.Handler && o.Offline == b.Offline && (!q.has("auth_type") || o.AuthType == b.AuthType) &&
			(!q.has("auth_connector") || o.Connector == b.Connector)
	})
	return answer{result: php.Map("count", n)}, nil
}

func eventList(_ *Portal, q *query) (answer, error) {
	scopes := eventScopes()
	out := &php.Array{}
	for _, name := range sortedKeys(scopes) {
		switch s := scopes[name]; {
		case q.has("SCOPE") && s != q.text("SCOPE"), !q.has("SCOPE") && !php.Flag(q.arg("FULL")) && !q.by.may(s):
		default:
			out.Append(name)
		}
	}
	return answer{result: out}, nil
}

var offlineFields = map[string]fieldKind{"ID": integer, "TIMESTAMP_X": date, "EVENT_NAME": text, "MESSAGE_ID": text, "PROCESS_ID": text, "ERROR": integer}

func offlineField(r event.Record, name string) any {
	switch name {
	case "ID":
		return r.ID
	case "TIMESTAMP_X":
		return r.Time
	case "EVENT_NAME":
		return r.Event
	case "MESSAGE_ID":
		return r.Message
	case "PROCESS_ID":
		return r.Process
	case "ERROR":
		if r.Failed {
			return int64(1)
		}
		return int64(0)
	}
	return nil
}

func offlineRow(r event.Record) *php.Array {
	return php.Map(
		"ID", itoa(r.ID), "TIMESTAMP_X", r.Time.Format(iso), "EVENT_NAME", r.Event, "EVENT_DATA", r.Data,
		"EVENT_ADDITIONAL", php.Map("user_id", itoa(int64(r.User))), "MESSAGE_ID", r.Message,
	)
}

// sortedBy gives a comparison for the order parameter, nil without one.
func sortedBy(q *query) func(a, b event.Record) int {
	by, ok := q.array("order")
	if !ok || by.Len() == 0 {
		return nil
	}
	return func(a, b event.Record) int {
		for f, direction := range by.All() {
			c := condition{kind: offlineFields[f]}
			if o := order(c.norm(offlineField(a, f)), c.norm(offlineField(b, f))); c.kind != 0 && o != 0 {
				if strings.EqualFold(php.Text(direction), "DESC") {
					return -o
				}
				return o
			}
		}
		return 0
	}
}

func offlineFilter(p *Portal, q *query) func(event.Record) bool {
	conds, dropped := parseFilter(q.arg("filter"), listOperators, offlineFields, p.zone)
	p.noteDropped("event.offline", dropped)
	return func(r event.Record) bool {
		return !slices.ContainsFunc(conds, func(c condition) bool { return !c.match(offlineField(r, c.field)) })
	}
}

// adminOnly wraps a method that only an administrator may use.
func adminOnly(run func(*Portal, *query) (answer, error)) func(*Portal, *query) (answer, error) {
	return func(p *Portal, q *query) (answer, error) {
		if !q.by.admin() {
			return answer{}, denied("Access denied!")
		}
		return run(p, q)
	}
}

func offlineGet(p *Portal, q *query) (answer, error) {
	limit := int(php.Int(q.arg("limit")))
	if limit <= 0 {
		limit = pageSize
	}
	process, taken := p.events.Take(event.Request{
		Match: offlineFilter(p, q), Order: sortedBy(q), Limit: limit, Keep: q.has("clear") && php.Int(q.arg("clear")) == 0,
		Process: q.text("process_id"), Connector: q.text("auth_connector"), Failed: php.Int(q.arg("error")) == 1,
	}, p.now())
	rows := &php.Array{}
	for _, r := range taken {
		rows.Append(offlineRow(r))
	}
	return answer{result: php.Map("process_id", textOrNull(process), "events", rows)}, nil
}

func offlineList(p *Portal, q *query) (answer, error) {
	match, by := offlineFilter(p, q), sortedBy(q)
	found := slices.DeleteFunc(p.events.List(q.text("auth_connector")), func(r event.Record) bool { return !match(r) })
	if by != nil {
		slices.SortStableFunc(found, by)
	}
	rows, total, next := page(found, q.start())
	out := &php.Array{}
	for _, r := range rows {
		row := offlineRow(r)
		row.Set("PROCESS_ID", r.Process)
		row.Set("ERROR", offlineField(r, "ERROR"))
		out.Append(row)
	}
	return answer{result: out, counted: true, total: total, next: next}, nil
}

func texts(q *query, name string) []string {
	list, ok := q.array(name)
	if !ok && q.text(name) != "" {
		list = php.List(q.text(name))
	}
	var out []string
	for _, v := range list.All() {
		out = append(out, php.Text(v))
	}
	return out
}

func offlineClear(p *Portal, q *query) (answer, error) {
	process := q.text("process_id")
	if process == "" {
		return answer{}, missing("PROCESS_ID")
	}
	var ids []int64
	for _, id := range texts(q, "id") {
		ids = append(ids, php.Int(id))
	}
	p.events.Confirm(process, ids, texts(q, "message_id"))
	return answer{result: true}, nil
}

func offlineError(p *Portal, q *query) (answer, error) {
	process := q.text("process_id")
	if process == "" {
		return answer{}, missing("PROCESS_ID")
	}
	p.events.Fail(process, texts(q, "message_id"))
	return answer{result: true}, nil
}

// QueuedEvents tells how many offline events wait, reserved and failed ones included.
func (p *Portal) QueuedEvents(connector string) int { return len(p.events.List(connector)) }

// Bindings gives the handlers that the application has bound, as "EVENT handler", and "EVENT offline" for the queue.
func (p *Portal) Bindings() []string {
	var out []string
	for _, b := range p.events.Bindings() {
		where := b.Handler
		if b.Offline {
			where = "offline"
		}
		out = append(out, b.Event+" "+where)
	}
	return out
}
