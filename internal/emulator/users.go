package emulator

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"sverka/internal/emulator/php"
)

const adminID = 1

type users struct {
	list []*Employee // by ID
}

func newUsers(seed []Employee) users {
	u := users{}
	if !slices.ContainsFunc(seed, func(e Employee) bool { return e.ID == adminID }) {
		u.list = append(u.list, &Employee{ID: adminID, Name: "Администратор", Active: true})
	}
	for _, e := range seed {
		u.list = append(u.list, &e)
	}
	slices.SortFunc(u.list, func(a, b *Employee) int { return cmp.Compare(a.ID, b.ID) })
	return u
}

// get finds an active user.
func (u users) active(id int) *Employee {
	i, ok := slices.BinarySearchFunc(u.list, id, func(e *Employee, id int) int { return cmp.Compare(e.ID, id) })
	if !ok || !u.list[i].Active {
		return nil
	}
	return u.list[i]
}

func (u users) byInner(inner string) *Employee {
	for _, e := range u.list {
		if e.Active && e.Inner != "" && e.Inner == inner {
			return e
		}
	}
	return nil
}

// byPhone finds the active user whose own telephone a number is.
func (u users) byPhone(number string) *Employee {
	n := normalPhone(number)
	for _, e := range u.list {
		if e.Active && n != "" && (normalPhone(e.Mobile) == n || normalPhone(e.Work) == n) {
			return e
		}
	}
	return nil
}

func (u users) name(id int) string {
	i, ok := slices.BinarySearchFunc(u.list, id, func(e *Employee, id int) int { return cmp.Compare(e.ID, id) })
	if !ok {
		return ""
	}
	return strings.TrimSpace(u.list[i].Name + " " + u.list[i].LastName)
}

// Dismiss dismisses an employee: the user stays and is not active any more.
func (p *Portal) Dismiss(userID int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.users.list {
		if e.ID == userID {
			e.Active = false
		}
	}
}

// Employees gives the users of the portal by ID.
func (p *Portal) Employees() []Employee {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Employee, len(p.users.list))
	for i, e := range p.users.list {
		out[i] = *e
	}
	return out
}

// employee finds the user whom a telephony method names, by USER_ID or else by USER_PHONE_INNER.
func (p *Portal) employee(args *php.Array) (*Employee, error) {
	id, _ := args.Param("USER_ID")
	inner, _ := args.Param("USER_PHONE_INNER")
	var e *Employee
	switch {
	case php.Int(id) != 0:
		e = p.users.active(int(php.Int(id)))
	case php.Text(inner) != "":
		e = p.users.byInner(php.Text(inner))
	}
	if e == nil {
		return nil, refuse("User is not found or is not active")
	}
	return e, nil
}

func namesUser(args *php.Array) bool {
	id, _ := args.Param("USER_ID")
	inner, _ := args.Param("USER_PHONE_INNER")
	return php.Int(id) != 0 || php.Text(inner) != ""
}

// userFields are the fields of user.get, in its order.
var userFields = []struct {
	name string
	kind fieldKind
}{
	{"ID", integer},
	{"XML_ID", text},
	{"ACTIVE", flag},
	{"NAME", text},
	{"LAST_NAME", text},
	{"SECOND_NAME", text},
	{"EMAIL", text},
	{"LAST_LOGIN", date},
	{"DATE_REGISTER", date},
	{"TIME_ZONE", text},
	{"IS_ONLINE", text},
	{"PERSONAL_GENDER", text},
	{"PERSONAL_PHONE", text},
	{"PERSONAL_MOBILE", text},
	{"WORK_PHONE", text},
	{"WORK_POSITION", text},
	{"UF_DEPARTMENT", integer},
	{"UF_PHONE_INNER", text},
	{"USER_TYPE", text},
}

func userFilterFields() map[string]fieldKind {
	m := map[string]fieldKind{"NAME_SEARCH": text}
	for _, f := range userFields {
		m[f.name] = f.kind
	}
	return m
}

func (p *Portal) userField(e *Employee, field string) any {
	switch field {
	case "ID":
		return fmt.Sprint(e.ID)
	case "ACTIVE":
		return e.Active
	case "NAME":
		return e.Name
	case "LAST_NAME":
		return e.LastName
	case "EMAIL":
		return fmt.Sprintf("user%d@example.ru", e.ID)
	case "LAST_LOGIN", "DATE_REGISTER":
		return "2024-01-15T03:00:00+03:00"
	case "IS_ONLINE":
		return "N"
	case "PERSONAL_MOBILE":
		return e.Mobile
	case "WORK_PHONE":
		return e.Work
	case "UF_DEPARTMENT":
		return php.List(int64(1))
	case "UF_PHONE_INNER":
		if e.Inner == "" {
			return nil
		}
		return e.Inner
	case "USER_TYPE":
		return "employee"
	case "NAME_SEARCH":
		return e.Name + " " + e.LastName
	}
	return ""
}

func (p *Portal) userRow(e *Employee, selected map[string]bool) *php.Array {
	row := &php.Array{}
	for _, f := range userFields {
		if selected == nil || selected[f.name] {
			row.Set(f.name, p.userField(e, f.name))
		}
	}
	return row
}

func userGet(p *Portal, q *query) (answer, error) {
	filter, ok := q.args.Param("FILTER")
	if !ok {
		filter = q.args // fields given beside the parameters filter too
	}
	conds, dropped := parseFilter(filter, listOperators, userFilterFields(), p.zone)
	if ok {
		p.noteDropped("user.get", dropped)
	}
	var found []*Employee
	for _, e := range p.users.list {
		if !slices.ContainsFunc(conds, func(c condition) bool {
			v := p.userField(e, c.field)
			if c.field == "UF_DEPARTMENT" {
				v = []string{"1"}
			}
			return !c.match(v)
		}) {
			found = append(found, e)
		}
	}
	sortBy := strings.ToUpper(q.text("sort"))
	if kind, ok := userFilterFields()[sortBy]; ok {
		c := condition{kind: kind}
		slices.SortStableFunc(found, func(a, b *Employee) int {
			o := order(c.norm(p.userField(a, sortBy)), c.norm(p.userField(b, sortBy)))
			if strings.EqualFold(q.text("order"), "DESC") {
				return -o
			}
			return o
		})
	}
	var selected map[string]bool
	if s, ok := q.array("select"); ok && s.Len() > 0 {
		selected = map[string]bool{"ID": true}
		for _, f := range s.All() {
			switch f {
			case "*", "UF_*":
				for _, u := range userFields {
					if strings.HasPrefix(u.name, "UF_") == (f == "UF_*") {
						selected[u.name] = true
					}
				}
			default:
				selected[php.Text(f)] = true
			}
		}
	}
	rows, total, next := page(found, q.start())
	out := &php.Array{}
	for _, e := range rows {
		out.Append(p.userRow(e, selected))
	}
	return answer{result: out, counted: true, total: total, next: next}, nil
}

func userCurrent(p *Portal, q *query) (answer, error) {
	e := p.users.active(q.by.user)
	if e == nil {
		return answer{result: struct{}{}}, nil
	}
	return answer{result: p.userRow(e, nil)}, nil
}

func profile(p *Portal, q *query) (answer, error) {
	e := p.users.active(q.by.user)
	if e == nil {
		return answer{result: struct{}{}}, nil
	}
	return answer{result: php.Map(
		"ID", itoa(int64(e.ID)), "ADMIN", q.by.admin(), "NAME", e.Name, "LAST_NAME", e.LastName, "PERSONAL_GENDER", "", "TIME_ZONE", p.zone.String(),
	)}, nil
}
