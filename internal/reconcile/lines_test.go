package reconcile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

func TestDiffLines(t *testing.T) {
	t.Parallel()
	line := func(number, name string, create bool) portal.Line {
		return portal.Line{Number: number, Name: name, AutoCreate: create}
	}
	for _, test := range []struct {
		name       string
		want, have []portal.Line
		changes    []reconcile.LineChange
	}{
		{"nothing wanted, nothing deleted", nil, []portal.Line{line("1", "theirs", true)}, nil},
		{"missing", []portal.Line{line("1", "Main", true)}, nil, []reconcile.LineChange{{line("1", "Main", true), "not in Bitrix24"}}},
		{"agrees", []portal.Line{line("1", "Main", true)}, []portal.Line{line("1", "Main", true)}, nil},
		{
			"made by a call, without a name",
			[]portal.Line{line("1", "Main", true)},
			[]portal.Line{line("1", "", true)},
			[]reconcile.LineChange{{line("1", "Main", true), `called "" in Bitrix24`}},
		},
		{"no name wanted", []portal.Line{line("1", "", true)}, []portal.Line{line("1", "Theirs", true)}, nil},
		{
			"no name wanted, another setting",
			[]portal.Line{line("1", "", false)},
			[]portal.Line{line("1", "Theirs", true)},
			[]reconcile.LineChange{{line("1", "Theirs", false), "crm.create differs from its setting in Bitrix24"}},
		},
		{
			"wanted twice",
			[]portal.Line{line("1", "Main", true), line("1", "Main", true)},
			nil,
			[]reconcile.LineChange{{line("1", "Main", true), "not in Bitrix24"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(reconcile.DiffLines(test.want, test.have), test.changes); d != "" {
				t.Errorf("got -, want +\n%s", d)
			}
		})
	}
}
