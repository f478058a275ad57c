package portal_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	digits := func(s string) string {
		if !strings.HasPrefix(s, "+") {
			return ""
		}
		return strings.NewReplacer(" ", "", "-", "").Replace(s)
	}
	gone := portal.Employee{ID: 5, Name: "Old", Inner: "201", Mobile: "+7 903 0000017"}
	ivan := portal.Employee{ID: 17, Name: "Ivan", Inner: " 201 ", Mobile: "+7 903 000-00-17", Active: true}
	twin := portal.Employee{ID: 18, Name: "Twin", Inner: "201", Work: "no phone", Active: true}
	anna := portal.Employee{ID: 19, Name: "Anna", Inner: "", Work: "+7 495 1", Active: true}
	left := portal.Employee{ID: 20, Name: "Left", Inner: "300"}
	gone2 := portal.Employee{ID: 21, Name: "Gone", Mobile: "+7 495 1"}
	both := []portal.Employee{
		{ID: 22, Name: "One", Work: "+7 495 2", Active: true},
		{ID: 23, Name: "Two", Work: "+7 495 2", Mobile: "+7 903 3", Active: true},
		{ID: 24, Name: "Three", Work: "+7 903 3", Active: true},
	}
	d := portal.NewDirectory(append([]portal.Employee{gone, ivan, twin, anna, left, gone2}, both...), map[string]int{"10201": 19, "300": 17, "400": 99}, digits)
	for _, test := range []struct {
		what string
		find func() (portal.Employee, bool)
		want portal.Employee
		ok   bool
	}{
		{"who works here is before who left, the first before the second", func() (portal.Employee, bool) { return d.Extension("201") }, ivan, true},
		{"a mapped long extension", func() (portal.Employee, bool) { return d.Extension("10201") }, anna, true},
		{"the map is before the portal", func() (portal.Employee, bool) { return d.Extension("300") }, ivan, true},
		{"a mapped user the portal hides", func() (portal.Employee, bool) { return d.Extension("400") }, portal.Employee{ID: 99, Inner: "400", Active: true}, true},
		{"nobody's extension", func() (portal.Employee, bool) { return d.Extension("999") }, portal.Employee{}, false},
		{"no extension", func() (portal.Employee, bool) { return d.Extension("") }, portal.Employee{}, false},
		{"a mobile", func() (portal.Employee, bool) { return d.Phone("+79030000017") }, ivan, true},
		{"a work phone", func() (portal.Employee, bool) { return d.Phone("+74951") }, anna, true},
		{"a work phone that two employees have", func() (portal.Employee, bool) { return d.Phone("+74952") }, portal.Employee{}, false},
		{"a mobile that another has as work phone", func() (portal.Employee, bool) { return d.Phone("+79033") }, both[1], true},
		{"no phone", func() (portal.Employee, bool) { return d.Phone("") }, portal.Employee{}, false},
		{"a dismissed user", func() (portal.Employee, bool) { return d.User(20) }, left, true},
		{"no user", func() (portal.Employee, bool) { return d.User(99) }, portal.Employee{}, false},
	} {
		got, ok := test.find()
		if diff := cmp.Diff(got, test.want); diff != "" || ok != test.ok {
			t.Errorf("%s: found %t, want %t (-got +want):\n%s", test.what, ok, test.ok, diff)
		}
	}
	if got := d.Len(); got != 9 {
		t.Errorf("got %d employees, want 9", got)
	}
	for _, test := range []struct {
		employee portal.Employee
		want     string
	}{{ivan, "300"}, {anna, "10201"}, {twin, "201"}, {gone, "201"}, {both[0], ""}} {
		if got := d.Number(test.employee); got != test.want {
			t.Errorf("number of %s: got %q, want %q", test.employee.Name, got, test.want)
		}
	}
}

// BenchmarkDirectory makes a directory of the largest portal there is to be.
func BenchmarkDirectory(b *testing.B) {
	employees := make([]portal.Employee, 10_000)
	for i := range employees {
		employees[i] = portal.Employee{ID: i + 1, Inner: strconv.Itoa(i), Mobile: fmt.Sprintf("+7903%07d", i), Active: true}
	}
	b.ReportAllocs()
	for b.Loop() {
		portal.NewDirectory(employees, map[string]int{"10201": 17}, func(s string) string { return s })
	}
}
