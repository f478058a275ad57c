package emulator

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

// Rows that the page shows of each kind.
const (
	pageCalls = 50
	pageItems = 12
)

type pageData struct {
	Now       string
	Mode      string
	Classic   bool
	Counts    []pageCount
	Live      []pageCall
	Calls     []pageCall
	MoreCalls int
	Employees []pageEmployee
	Contacts  []pageItem
	Deals     []pageItem
	Leads     []pageItem
}

type pageCount struct {
	Name, Class string
	N           int
}

type pageCall struct {
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
}

type pageEmployee struct {
	Name, Inner string
	Active      bool
	Calls       int
}

type pageItem struct {
	ID            int64
	Title, Detail string
}

// page is parsed for each request: it is small, and a portal is shown to one person at a time.
func (p *Portal) servePage(w http.ResponseWriter, r *http.Request) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		p.log.WithError(err).Error("page cannot be parsed")
		http.Error(w, "page cannot be parsed", http.StatusInternalServerError)
		return
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p.pageData()); err != nil {
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
	perUser := map[int]int{}
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
		d.Live = append(d.Live, c)
	}
	slices.SortFunc(d.Live, func(a, b pageCall) int { return strings.Compare(a.Time+a.Phone, b.Time+b.Phone) })
	for _, e := range p.users.list {
		d.Employees = append(d.Employees, pageEmployee{p.users.name(e.ID), e.Inner, e.Active, perUser[e.ID]})
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
