package emulator

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// Rows that the page shows of each kind.
const (
	pageCalls = 50
	pageItems = 12
	pageCards = 5
	pageStaff = 100 // and whose telephone rings
)

type pageData struct {
	Now        string
	Mode       string
	Classic    bool
	Counts     []pageCount
	Live       []pageCall
	Calls      []pageCall
	Staff      int
	MoreCalls  int
	Employees  []pageEmployee
	Contacts   []pageItem
	Deals      []pageItem
	Leads      []pageItem
	Cards      []pageCall // of the live calls that somebody sees
	Activities []pageActivity
}

type pageCount struct {
	Name, Class string
	N           int
}

type pageCall struct {
	ID                int64
	Arrow, Class, Way string
	Client, Phone     string
	Employee          string
	Line              string
	Day, Time         string
	Duration          string
	Status            string
	FileID            int64
	FileName          string
	Shown             string
	Bound             []string // the client's lead, deal…
}

type pageActivity struct {
	ID                   int64
	Subject, Responsible string
	Day, Time            string
	Bindings             []string
	Missed, File         bool
}

type pageEmployee struct {
	ID          int
	Name, Inner string
	Ringing     bool
	Active      bool
	Calls       int
}

type pageItem struct {
	ID            int64
	Title, Detail string
}

// page is parsed for each request: it is small, and a portal is shown to one person at a time.
func (p *Portal) servePage(w http.ResponseWriter, _ *http.Request) {
	p.show(w, pageText, p.pageData())
}

func (p *Portal) show(w http.ResponseWriter, text string, data any) {
	t, err := template.New("page").Parse(text)
	if err != nil {
		p.log.WithError(err).Error("page cannot be parsed")
		http.Error(w, "page cannot be parsed", http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		p.log.WithError(err).Error("page cannot be shown")
		http.Error(w, "page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes())
}

func (p *Portal) pageData() pageData {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := pageData{Now: p.today().Format("02.01.2006 15:04:05"), Mode: "простой режим CRM, без лидов", Classic: p.mode == Classic}
	if d.Classic {
		d.Mode = "классический режим CRM, с лидами"
	}
	perUser, ringing := map[int]int{}, map[int]bool{}
	missed, recorded := 0, 0
	for _, c := range p.stats.rows {
		perUser[c.UserID]++
		if c.Missed {
			missed++
		}
		if c.RecordFileID != 0 {
			recorded++
		}
	}
	open := func(kind itemKind) (n int) {
		for _, e := range p.crm.items[kind] {
			if e.open() {
				n++
			}
		}
		return n
	}
	d.Counts = []pageCount{
		{"звонки", "", len(p.stats.rows)},
		{"пропущено", "bad", missed},
		{"записи", "", recorded},
		{"контакты", "", len(p.crm.items[contact])},
		{"открытые сделки", "", open(deal)},
		{"запросы REST", "quiet", p.count.HTTP},
	}
	if d.Classic {
		d.Counts = slices.Insert(d.Counts, 5, pageCount{"открытые лиды", "", open(lead)})
	}
	for i := len(p.stats.rows) - 1; i >= 0 && len(d.Calls) < pageCalls; i-- {
		d.Calls = append(d.Calls, p.pageCall(p.stats.rows[i]))
	}
	d.MoreCalls = len(p.stats.rows) - len(d.Calls)
	for _, l := range p.live.byID {
		c := p.pageCall(&Call{UserID: l.UserID, Phone: l.Phone, Line: l.Line, Type: l.Type, Start: l.Start, Status: statusOK})
		names := make([]string, len(l.Shown))
		for i, u := range l.Shown {
			names[i] = p.users.name(u)
		}
		c.Shown = strings.Join(names, ", ")
		for _, e := range l.client.all {
			c.Bound = append(c.Bound, p.itemWords(e.kind.name(), e.id))
		}
		d.Live = append(d.Live, c)
		for _, u := range l.Shown {
			ringing[u] = true
		}
	}
	slices.SortFunc(d.Live, func(a, b pageCall) int { return strings.Compare(a.Time+a.Phone, b.Time+b.Phone) })
	for _, c := range d.Live {
		if c.Shown != "" && len(d.Cards) < pageCards {
			d.Cards = append(d.Cards, c)
		}
	}
	d.Staff = len(p.users.list)
	for i, e := range p.users.list {
		if i >= pageStaff && !ringing[e.ID] {
			continue
		}
		d.Employees = append(d.Employees, pageEmployee{
			ID: e.ID, Name: p.users.name(e.ID), Inner: e.Inner, Ringing: ringing[e.ID], Active: e.Active, Calls: perUser[e.ID],
		})
	}
	for i := len(p.crm.activities) - 1; i >= 0 && len(d.Activities) < pageItems; i-- {
		d.Activities = append(d.Activities, p.pageActivity(p.crm.activities[i]))
	}
	d.Contacts, d.Deals, d.Leads = p.pageItems(contact), p.pageItems(deal), p.pageItems(lead)
	if !d.Classic {
		d.Leads = nil // converted at once, and not shown by the portal either
	}
	return d
}

func (p *Portal) pageItems(kind itemKind) []pageItem {
	var out []pageItem
	all := p.crm.items[kind]
	for i := len(all) - 1; i >= 0 && len(out) < pageItems; i-- {
		e := all[i]
		it := pageItem{ID: e.id, Title: e.title(), Detail: e.firstPhone()}
		if it.Title == nameless {
			it.Title, it.Detail = it.Detail, it.Title
		}
		if kind == deal {
			if c := p.crm.get(contact, e.number("CONTACT_ID")); c != nil && c.title() != nameless {
				it.Detail = c.title()
			}
		}
		it.Detail = strings.Join(slices.DeleteFunc([]string{it.Detail, p.users.name(e.assigned())}, func(s string) bool { return s == "" }), " · ")
		out = append(out, it)
	}
	return out
}

func (p *Portal) pageCall(c *Call) pageCall {
	out := pageCall{
		ID:    c.ID,
		Phone: c.Phone, Employee: p.users.name(c.UserID), Line: c.Line, Day: c.Start.Format("02.01.2006"), Time: c.Start.Format("15:04:05"),
		Status: statusWords(c.Status, c.Type), FileID: c.RecordFileID, Arrow: "↙", Class: "in", Way: "входящий",
	}
	if strings.HasPrefix(out.Line, "REST_APP:") {
		out.Line = ""
	}
	switch c.Type {
	case outgoing:
		out.Arrow, out.Class, out.Way = "↗", "out", "исходящий"
	case redirected:
		out.Arrow, out.Way = "↪", "входящий, переведён"
	case callback:
		out.Arrow, out.Way = "↺", "обратный звонок"
	case info:
		out.Arrow, out.Class, out.Way = "↗", "out", "информационный"
	}
	if c.Status != statusOK {
		out.Class = "bad"
	}
	if c.Duration > 0 {
		out.Duration = duration(c.Duration)
	}
	if e := p.crm.find(c.Phone).primary(); e != nil && e.kind != lead && e.title() != nameless {
		out.Client = e.title()
	}
	if r := p.records[c.RecordFileID]; r != nil {
		out.FileName = r.Name
	}
	return out
}

func (p *Portal) pageActivity(a *Activity) pageActivity {
	out := pageActivity{
		ID: a.ID, Subject: a.Subject, Responsible: p.users.name(a.Responsible), Day: a.Start.Format("02.01.2006"), Time: a.Start.Format("15:04:05"),
		Missed: a.MissedCall, File: a.FileID != 0,
	}
	for _, b := range a.Bindings {
		out.Bindings = append(out.Bindings, p.itemWords(b.Type, b.ID))
	}
	return out
}

// itemWords is a CRM object in one line.
func (p *Portal) itemWords(kind string, id int64) string {
	k := kindNamed(kind)
	words := map[itemKind]string{lead: "Лид", deal: "Сделка", contact: "Контакт", company: "Компания"}[k]
	if e := p.crm.get(k, id); e != nil && e.title() != "" {
		return fmt.Sprintf("%s № %d: %s", words, id, e.title())
	}
	return fmt.Sprintf("%s № %d", words, id)
}

// serveState tells the page whether anything has changed since it looked last.
func (p *Portal) serveState(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	state := fmt.Sprint(p.changes, p.serial, p.stats.last, p.lastFile, p.count.HTTP, p.app.installed)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, state)
}

//go:embed call.html
var callText string

type callData struct {
	pageCall
	Facts    [][2]string
	Activity *pageActivity
}

// serveCall shows all that is known about one finished call.
func (p *Portal) serveCall(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	d, ok := p.callData(id)
	if !ok {
		http.NotFound(w, r)
		return
	}
	p.show(w, callText, d)
}

func (p *Portal) callData(id int64) (callData, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.stats.from(id)
	if i == len(p.stats.rows) || p.stats.rows[i].ID != id {
		return callData{}, false
	}
	c := p.stats.rows[i]
	d := callData{pageCall: p.pageCall(c)}
	for _, f := range [][2]string{
		{"CALL_ID", c.CallID},
		{"EXTERNAL_CALL_ID", c.ExternalID},
		{"Начало", c.Start.Format("02.01.2006 15:04:05 -07:00")},
		{"Разговор", d.Duration},
		{"Код", c.Status},
		{"Причина", c.Reason},
		{"Линия", c.Line},
		{"Приложение", c.AppName},
		{"Комментарий", c.Comment},
		{"Файл записи", d.FileName},
	} {
		if f[1] != "" {
			d.Facts = append(d.Facts, f)
		}
	}
	if found := p.crm.byOrigin["VI_"+c.CallID]; len(found) > 0 {
		a := p.pageActivity(found[0])
		d.Activity = &a
	}
	return d, true
}

func duration(seconds int) string {
	d := time.Duration(seconds) * time.Second
	if d >= time.Hour {
		return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), seconds%60)
}

func statusWords(code string, kind int) string {
	switch code {
	case statusOK:
		return "состоялся"
	case statusMissed:
		if kind == outgoing {
			return "не состоялся"
		}
		return "пропущен"
	case "603":
		return "отклонён"
	case "603-S":
		return "отменён"
	case "403":
		return "запрещён"
	case "404":
		return "неверный номер"
	case "486":
		return "занято"
	case "484", "503":
		return "направление недоступно"
	case "480":
		return "нет ответа"
	case "402":
		return "недостаточно средств"
	case "423":
		return "заблокирован"
	}
	return "код " + code
}
