package emulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for _, c := range []struct {
		name   string
		params m
		want   string
	}{
		{"all", m{}, "1 17 18 19"},
		{"active", m{"FILTER": m{"ACTIVE": true}}, "1 17 18"},
		{"active as Y", m{"FILTER": m{"ACTIVE": "Y"}}, "1 17 18"},
		{"dismissed", m{"FILTER": m{"ACTIVE": false}}, "19"},
		{"with an inner number", m{"FILTER": m{"!UF_PHONE_INNER": "", "ACTIVE": true, "USER_TYPE": "employee"}}, "17 18"},
		{"by inner number", m{"filter": m{"UF_PHONE_INNER": "202"}}, "18"},
		{"by ids", m{"FILTER": m{"@ID": []int{17, 19}}}, "17 19"},
		{"by department", m{"FILTER": m{"UF_DEPARTMENT": 1}}, "1 17 18 19"},
		{"no extranet", m{"FILTER": m{"USER_TYPE": "extranet"}}, ""},
		{"by part of a name", m{"FILTER": m{"%LAST_NAME": "доро"}}, "18"},
		{"by a pattern", m{"FILTER": m{"=%LAST_NAME": "П%в"}}, "17"},
		{"sorted", m{"sort": "ID", "order": "DESC"}, "19 18 17 1"},
		{"by a field beside the parameters", m{"ID": 18}, "18"},
	} {
		var ids []string
		for _, u := range s.must("user.get", c.params).([]any) {
			ids = append(ids, u.(m)["ID"].(string))
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	got := s.must("user.get", m{"FILTER": m{"ID": []int{1, 17}}, "select": []string{"ID", "ACTIVE", "NAME", "LAST_NAME", "UF_PHONE_INNER"}})
	want := []any{
		m{"ID": "1", "ACTIVE": true, "NAME": "Администратор", "LAST_NAME": "", "UF_PHONE_INNER": nil},
		m{"ID": "17", "ACTIVE": true, "NAME": "Иван", "LAST_NAME": "Петров", "UF_PHONE_INNER": "201"},
	}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Error(d)
	}
	if p := s.must("profile", nil).(m); p["ADMIN"] != true || p["TIME_ZONE"] != "Europe/Moscow" {
		t.Errorf("profile: got %v", p)
	}
	if u := s.must("user.current", nil).(m); u["ID"] != "1" {
		t.Errorf("user.current: got %v", u)
	}
}

func TestUsersComeInPages(t *testing.T) {
	t.Parallel()
	many := emulator.Seed{}
	for i := range 119 {
		many.Employees = append(many.Employees, emulator.Employee{ID: i + 2, Inner: fmt.Sprint(i + 100), Active: true})
	}
	s := setup(t, emulator.Options{Seed: many})
	_, out := s.call("user.get", m{"start": 50})
	if got := fmt.Sprint(len(out["result"].([]any)), " ", out["total"], " ", out["next"]); got != "50 120 100" {
		t.Errorf("second page: got %s, want 50 120 100", got)
	}
	_, out = s.call("user.get", m{"start": 100})
	if got := fmt.Sprint(len(out["result"].([]any)), " ", out["next"]); got != "20 <nil>" {
		t.Errorf("last page: got %s, want 20 <nil>", got)
	}
}

func TestReadSeed(t *testing.T) {
	t.Parallel()
	got, err := emulator.ReadSeed(strings.NewReader(`{
		"employees": [{"id": 17, "name": "Иван", "last_name": "Петров", "inner": "201", "mobile": "+79030000017"}, {"id": 18, "active": false}],
		"contacts":  [{"phone": "+79161234567", "name": "Мария", "assigned": 17, "deal": true}],
		"leads":     [{"phone": "+79160000001", "title": "Заявка", "assigned": 17}],
		"excluded":  ["+79160000009"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := emulator.Seed{
		Employees: []emulator.Employee{
			{ID: 17, Name: "Иван", LastName: "Петров", Inner: "201", Mobile: "+79030000017", Active: true},
			{ID: 18, Active: false},
		},
		Contacts: []emulator.SeedItem{{Phone: "+79161234567", Name: "Мария", Assigned: 17, Deal: true}},
		Leads:    []emulator.SeedItem{{Phone: "+79160000001", Title: "Заявка", Assigned: 17}},
		Excluded: []string{"+79160000009"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for text, word := range map[string]string{
		`{"employes": []}`:                              "employes",
		`{"employees": [{"id": 1, "iner": "2"}]}`:       "iner",
		`{"employees": [{"id": 2, "inner": "12345"}]}`:  "1 to 4 digits",
		`{"employees": [{"id": 2}, {"id": 2}]}`:         "twice",
		`{"employees": [{"name": "x"}]}`:                "no id",
		`{"contacts": [{"name": "x"}]}`:                 "no phone",
		`{"leads": [{"phone": "+7916", "deal": true}]}`: "cannot have a deal",
		`{} {}`: "text after",
		`{"employees": [{"id":2,"inner":"5"},{"id":3,"inner":"5"}]}`: "same inner number",
	} {
		if _, err := emulator.ReadSeed(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want an error about %q", text, err, word)
		}
	}
}

func TestServiceMethods(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for name, exists := range map[string]bool{"telephony.externalcall.register": true, "telephony.externalCall.register": false, "nonsense": false} {
		got := s.must("method.get", m{"name": name})
		if d := cmp.Diff(any(m{"isExisting": exists, "isAvailable": exists}), got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if got := s.must("scope", nil); !cmp.Equal(got, []any{"crm", "disk", "telephony", "user"}) {
		t.Errorf("scope: got %v", got)
	}
	if got := len(s.must("methods", m{"scope": "user"}).([]any)); got != 2 {
		t.Errorf("methods of user: got %d, want 2", got)
	}
	if got := s.must("feature.get", m{"CODE": "rest_offline_extended"}); !cmp.Equal(got, any(m{"value": "Y"})) {
		t.Errorf("feature.get: got %v", got)
	}
}
