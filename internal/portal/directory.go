package portal

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Directory tells which employee an extension or a phone belongs to. It does not change.
type Directory struct {
	byID    map[int]Employee
	byInner map[string]Employee
	byPhone map[string]Employee
	shared  map[string]bool // phones that several employees who work here wrote down: they belong to none of them
	mapped  map[string]int
	named   map[int]string // user → his first extension in mapped
}

// NewDirectory makes a directory of employees. mapped gives the user of an extension before the portal's own inner numbers do: the portal
// stores none of more than four digits. phone gives the E.164 form of a number as employees write theirs; "" for none.
//
// When two employees have one inner number, it is of the one who still works here, and else of the one who came first. A mobile is before
// a work phone, of which offices like to have one for all: a phone that several write down tells nothing of who talked.
func NewDirectory(employees []Employee, mapped map[string]int, phone func(string) string) *Directory {
	d := &Directory{
		byID:    make(map[int]Employee, len(employees)),
		byInner: make(map[string]Employee, len(employees)),
		byPhone: make(map[string]Employee, len(employees)),
		shared:  make(map[string]bool),
		mapped:  mapped,
		named:   make(map[int]string, len(mapped)),
	}
	for _, extension := range slices.Backward(slices.SortedFunc(maps.Keys(mapped), shortest)) {
		d.named[mapped[extension]] = extension
	}
	for _, e := range employees {
		d.byID[e.ID] = e
		if inner := strings.TrimSpace(e.Inner); inner != "" {
			put(d.byInner, inner, e)
		}
	}
	d.phones(employees, func(e Employee) string { return phone(e.Mobile) })
	d.phones(employees, func(e Employee) string { return phone(e.Work) })
	return d
}

// phones writes down whose phone of one sort is whose. What is written down of a sort before stays, unless nobody who works here has it.
func (d *Directory) phones(employees []Employee, number func(Employee) string) {
	found := make(map[string]Employee)
	shared := make(map[string]bool)
	for _, e := range employees {
		n := number(e)
		if n == "" {
			continue
		}
		if had, ok := found[n]; ok && had.Active && e.Active {
			shared[n] = true
		}
		put(found, n, e)
	}
	for n, e := range found {
		if had, ok := d.byPhone[n]; d.shared[n] || ok && (had.Active || !e.Active) {
			continue
		}
		d.byPhone[n] = e
		if shared[n] {
			d.shared[n] = true
			delete(d.byPhone, n)
		}
	}
}

// shortest orders extensions by length, then by their digits.
func shortest(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) }

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

// Number gives the extension of an employee: that of the map, where it names one, else his inner number; "" if he has none.
func (d *Directory) Number(e Employee) string {
	if extension, ok := d.named[e.ID]; ok {
		return extension
	}
	return strings.TrimSpace(e.Inner)
}

// Phone gives the employee whose mobile or work phone this is. ok is false when it is nobody's, or that of several who work here.
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
