package portal

import "strings"

// Directory tells which employee an extension or a phone belongs to.
type Directory struct {
	byID    map[int]Employee
	byInner map[string]Employee
	byPhone map[string]Employee
	mapped  map[string]int
}

// NewDirectory makes a directory of employees. mapped gives the user of an extension before the portal's own inner numbers do: the portal
// stores none of more than four digits. phone gives the E.164 form of a number as employees write theirs; "" for none.
func NewDirectory(employees []Employee, mapped map[string]int, phone func(string) string) *Directory {
	d := &Directory{
		byID:    make(map[int]Employee, len(employees)),
		byInner: make(map[string]Employee, len(employees)),
		byPhone: make(map[string]Employee, len(employees)),
		mapped:  mapped,
	}
	for _, e := range employees {
		d.byID[e.ID] = e
		if inner := strings.TrimSpace(e.Inner); inner != "" {
			put(d.byInner, inner, e)
		}
		for _, number := range []string{e.Mobile, e.Work} {
			if n := phone(number); n != "" {
				put(d.byPhone, n, e)
			}
		}
	}
	return d
}

// put keeps the employee who still works here when two have the same number, and else the one who came first.
func put(m map[string]Employee, number string, e Employee) {
	if had, ok := m[number]; ok && (had.Active || !e.Active) {
		return
	}
	m[number] = e
}

// Extension gives the employee of an extension. ok is false when there is none; the employee may be dismissed.
func (d *Directory) Extension(extension string) (Employee, bool) {
	if id, ok := d.mapped[extension]; ok {
		if e, known := d.byID[id]; known {
			return e, true
		}
		// The portal may hide some users from the list; the admin who wrote the map knows better.
		return Employee{ID: id, Inner: extension, Active: true}, true
	}
	e, ok := d.byInner[extension]
	return e, ok
}

// Phone gives the employee whose mobile or work phone this is.
func (d *Directory) Phone(number string) (Employee, bool) {
	e, ok := d.byPhone[number]
	return e, ok
}

// User gives the employee with this id.
func (d *Directory) User(id int) (Employee, bool) {
	e, ok := d.byID[id]
	return e, ok
}

// Len tells how many employees there are.
func (d *Directory) Len() int { return len(d.byID) }
