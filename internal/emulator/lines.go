package emulator

import (
	"fmt"
	"slices"

	"sverka/internal/emulator/php"
)

const lineLength = 50 // characters of a line's number

// lineKey says which line is meant: each application has lines of its own, and so has the webhook, whose app is "".
type lineKey struct{ app, number string }

type line struct {
	id     int64
	app    string
	number string
	name   string
	create string // CRM_AUTO_CREATE: Y or N
}

type lines struct {
	byNumber map[lineKey]*line
	list     []*line
	last     int64
}

func (l *lines) add(app, number, name, create string) *line {
	l.last++
	n := &line{id: l.last, app: app, number: number, name: name, create: create}
	l.byNumber[lineKey{app, number}] = n
	l.list = append(l.list, n)
	return n
}

// ensure makes an unknown line, as registering a call on it does.
func (l *lines) ensure(app, number string) {
	if l.byNumber[lineKey{app, number}] == nil {
		l.add(app, number, "", "Y")
	}
}

func autoCreate(q *query) string {
	if q.text("CRM_AUTO_CREATE") == "N" {
		return "N"
	}
	return "Y"
}

func lineAdd(p *Portal, q *query) (answer, error) {
	number := q.text("NUMBER")
	switch {
	case number == "":
		return answer{}, refuse("NUMBER should not be empty")
	case len([]rune(number)) > lineLength:
		return answer{}, refuse("DB error")
	case p.lines.byNumber[lineKey{q.by.number(), number}] != nil:
		return answer{}, refuse("Line already exists")
	}
	return answer{result: php.Map("ID", p.lines.add(q.by.number(), number, q.text("NAME"), autoCreate(q)).id)}, nil
}

func lineUpdate(p *Portal, q *query) (answer, error) {
	number := q.text("NUMBER")
	_, named := q.args.Param("NAME")
	_, created := q.args.Param("CRM_AUTO_CREATE")
	if number == "" {
		return answer{}, refuse("NUMBER should not be empty")
	}
	if !named && !created {
		return answer{}, refuse("There are no fields to update")
	}
	l := p.lines.byNumber[lineKey{q.by.number(), number}]
	if l == nil {
		return answer{}, refuse(fmt.Sprintf("Could not find line with number %s", number))
	}
	if named {
		l.name = q.text("NAME")
	}
	if created {
		l.create = autoCreate(q)
	}
	return answer{result: php.Map("ID", itoa(l.id))}, nil
}

func lineGet(p *Portal, q *query) (answer, error) {
	out := &php.Array{}
	for _, l := range p.lines.list {
		if l.app == q.by.number() {
			out.Append(php.Map("NUMBER", l.number, "NAME", l.name, "CRM_AUTO_CREATE", l.create))
		}
	}
	return answer{result: out}, nil
}

func lineDelete(p *Portal, q *query) (answer, error) {
	number := q.text("NUMBER")
	if number == "" {
		return answer{}, refuse("NUMBER should not be empty")
	}
	gone := p.lines.byNumber[lineKey{q.by.number(), number}]
	if gone == nil {
		return answer{}, refuse(fmt.Sprintf("Could not find line with number %s", number))
	}
	delete(p.lines.byNumber, lineKey{q.by.number(), number})
	p.lines.list = slices.DeleteFunc(p.lines.list, func(l *line) bool { return l == gone })
	return answer{result: &php.Array{}}, nil
}
