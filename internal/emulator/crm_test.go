package emulator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sverka/internal/emulator"
)

// The duplicate index knows no country codes and turns a Russian 8 into 7.
func TestClientIsFoundByPhone(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for number, found := range map[string]bool{
		"+79161234567":       true,
		"89161234567":        true,
		"8 (916) 123-45-67":  true,
		"0079161234567":      true,
		"01179161234567":     true,
		"079161234567":       true,
		"79161234567;ext=5":  true,
		"+79161234567,,12":   true,
		"9161234567":         false,
		"1234567":            false,
		"+791612345670":      false,
		"+7916123456":        false,
		"telephone":          false,
		"tel:79161234567#12": true,
	} {
		got := s.must("telephony.externalCall.searchCrmEntities", m{"PHONE_NUMBER": number}).([]any)
		if (len(got) == 1) != found {
			t.Errorf("%s: got %d clients, want %v", number, len(got), found)
		}
	}
	got := s.must("telephony.externalCall.searchCrmEntities", m{"PHONE_NUMBER": "+79161234567"})
	want := []any{m{
		"CRM_ENTITY_TYPE": "CONTACT", "CRM_ENTITY_ID": 1.0, "ASSIGNED_BY_ID": 17.0, "NAME": "Мария",
		"ASSIGNED_BY": m{
			"ID": 17.0, "TIMEMAN_STATUS": "NOT_INSTALLED", "USER_PHONE_INNER": "201", "WORK_PHONE": "", "PERSONAL_PHONE": "", "PERSONAL_MOBILE": "+79030000017",
		},
	}}
	if d := cmp.Diff(any(want), got); d != "" {
		t.Error(d)
	}
	if got, want := s.refused("telephony.externalCall.searchCrmEntities", nil), "400 ERROR_CORE PHONE_NUMBER is empty"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestNumbersThatBeginWith80(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.must("crm.contact.add", m{"fields": m{"NAME": "Минск", "PHONE": []m{{"VALUE": "80171234567"}}}})
	for number, found := range map[string]int{"80171234567": 1, "70171234567": 0} {
		if got := s.must("telephony.externalCall.searchCrmEntities", m{"PHONE_NUMBER": number}).([]any); len(got) != found {
			t.Errorf("%s: got %d, want %d", number, len(got), found)
		}
	}
}

// What a call creates, in both modes.
func TestWhatCallsCreate(t *testing.T) {
	t.Parallel()
	const stranger, known, idle, lead = "+79995550001", "+79161234567", "+79161230000", "+79160000001"
	for _, c := range []struct {
		name, mode string
		params     m
		created    string // CRM_CREATED_ENTITIES
		leadID     any    // CRM_CREATED_LEAD
		entity     string
		note       any
		activity   bool
	}{
		{"stranger, simple", "simple", m{"PHONE_NUMBER": stranger}, `[CONTACT 3 DEAL 2]`, nil, "CONTACT 3", nil, true},
		{"stranger, classic", "classic", m{"PHONE_NUMBER": stranger}, `[LEAD 2]`, 2.0, "LEAD 2", nil, true},
		{"stranger, outgoing", "classic", m{"PHONE_NUMBER": stranger, "TYPE": 1}, `[LEAD 2]`, 2.0, "LEAD 2", nil, true},
		{"stranger, without CRM_CREATE", "simple", m{"PHONE_NUMBER": stranger, "CRM_CREATE": 0}, `[]`, nil, "<nil> <nil>", nil, false},
		{"stranger, bound by hand", "simple", m{"PHONE_NUMBER": stranger, "CRM_ENTITY_TYPE": "CONTACT", "CRM_ENTITY_ID": 1}, `[]`, nil, "CONTACT 1", nil, true},
		{"known with an open deal", "simple", m{"PHONE_NUMBER": known}, `[]`, nil, "CONTACT 1", nil, true},
		{"known without a deal, simple", "simple", m{"PHONE_NUMBER": idle}, `[DEAL 2]`, nil, "CONTACT 2", nil, true},
		{"known without a deal, classic", "classic", m{"PHONE_NUMBER": idle}, `[LEAD 2]`, 2.0, "CONTACT 2", nil, true},
		{"known without a deal, outgoing", "simple", m{"PHONE_NUMBER": idle, "TYPE": 1}, `[]`, nil, "CONTACT 2", nil, true},
		{"open lead", "classic", m{"PHONE_NUMBER": lead}, `[]`, nil, "LEAD 1", nil, true},
		{"excluded", "simple", m{"PHONE_NUMBER": "89160000009"}, `[]`, nil, "<nil> <nil>", nil, false},
		{"mobile of an employee", "simple", m{"PHONE_NUMBER": "+79030000017"}, `[]`, nil, "<nil> <nil>", "Lead creation is disabled for local users", false},
		{"inner number", "simple", m{"PHONE_NUMBER": "202"}, `[]`, nil, "<nil> <nil>", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, emulator.Options{Mode: c.mode})
			out := s.must(register, with(m{"USER_ID": 17, "TYPE": 2, "CRM_CREATE": 1}, c.params)).(m)
			created := []any{}
			for _, e := range out["CRM_CREATED_ENTITIES"].([]any) {
				created = append(created, e.(m)["ENTITY_TYPE"], e.(m)["ENTITY_ID"])
			}
			if got := fmt.Sprint(created); got != c.created {
				t.Errorf("created: got %s, want %s", got, c.created)
			}
			if got := out["CRM_CREATED_LEAD"]; got != c.leadID {
				t.Errorf("lead: got %v, want %v", got, c.leadID)
			}
			if got := fmt.Sprint(out["CRM_ENTITY_TYPE"], " ", out["CRM_ENTITY_ID"]); got != c.entity {
				t.Errorf("entity: got %s, want %s", got, c.entity)
			}
			if got := out["LEAD_CREATION_ERROR"]; got != c.note {
				t.Errorf("LEAD_CREATION_ERROR: got %v, want %v", got, c.note)
			}
			end := s.finish(out["CALL_ID"].(string), nil)
			if got := end["CRM_ACTIVITY_ID"] != nil; got != c.activity {
				t.Errorf("activity: got %v, want %v", got, c.activity)
			}
		})
	}
}

// Objects that the call made go to whoever finishes it; others stay whose they were.
func TestResponsible(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.finish(s.register(m{"CRM_CREATE": 1, "CRM_SOURCE": "nonsense"}), m{"USER_ID": 18})
	s.finish(s.register(m{"CRM_CREATE": 1, "PHONE_NUMBER": "+79161234567"}), m{"USER_ID": 18})
	var got []string
	for _, c := range s.Contacts() {
		got = append(got, fmt.Sprint("contact ", c.Phone, " ", c.Assigned))
	}
	for _, d := range s.Deals() {
		got = append(got, fmt.Sprint("deal ", d.ContactID, " ", d.Assigned))
	}
	want := []string{"contact +79161234567 17", "contact +79161230000 18", "contact +79995550001 18", "deal 1 17", "deal 3 18"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if l := s.Leads(); len(l) != 2 || l[1].Status != "CONVERTED" || l[1].Source != "CALL" {
		t.Errorf("simple mode converts the lead: got %+v", l)
	}
}

// A contact that comes to be between register and finish gets the activity.
func TestFinishLooksAgain(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(nil)
	made := s.must("crm.contact.add", m{"fields": m{"NAME": "Новый", "PHONE": []m{{"VALUE": "+7 999 555 00 01"}}}})
	if got := s.finish(id, nil); got["CRM_ENTITY_ID"] != made || got["CRM_ACTIVITY_ID"] == nil {
		t.Errorf("got entity %v, activity %v, want entity %v", got["CRM_ENTITY_ID"], got["CRM_ACTIVITY_ID"], made)
	}
}

func TestActivity(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	type end struct {
		kind, seconds int
		status        string
	}
	start := noon.Add(-240 * time.Hour)
	var ids []string
	for _, e := range []end{{2, 30, "200"}, {2, 0, "304"}, {3, 0, "304"}, {1, 0, "486"}, {4, 0, "304"}} {
		id := s.register(m{"TYPE": e.kind, "PHONE_NUMBER": "+79161234567", "CALL_START_DATE": start.Format(time.RFC3339)})
		s.finish(id, m{"USER_ID": 18, "DURATION": e.seconds, "STATUS_CODE": e.status})
		ids = append(ids, id)
	}
	got := s.Activities()
	first := emulator.Activity{
		ID: 1, OriginID: "VI_" + ids[0], OwnerType: "CONTACT", OwnerID: 1, Bindings: []emulator.Binding{{Type: "CONTACT", ID: 1}, {Type: "DEAL", ID: 1}},
		ProviderType: "CALL", Incoming: true, Phone: "+79161234567", Subject: "Входящий от +79161234567", Responsible: 18,
		Start: start, End: start.Add(30 * time.Second), Completed: true, Created: noon,
	}
	if d := cmp.Diff(first, got[0], cmpopts.EquateApproxTime(0)); d != "" {
		t.Error(d)
	}
	var flags []string
	for _, a := range got {
		flags = append(flags, fmt.Sprint(a.ProviderType, " ", a.Incoming, " ", a.Completed, " ", a.MissedCall))
	}
	want := []string{"CALL true true false", "CALL true false true", "CALL true true false", "CALL false true false", "CALLBACK true false true"}
	if d := cmp.Diff(want, flags); d != "" {
		t.Error(d)
	}

	list := s.must("crm.activity.list", m{"filter": m{"ORIGIN_ID": "VI_" + ids[1]}, "select": []string{"ORIGIN_ID", "SETTINGS", "COMPLETED"}})
	if d := cmp.Diff(any([]any{m{"ID": "2", "ORIGIN_ID": "VI_" + ids[1], "COMPLETED": "N", "SETTINGS": m{"MISSED_CALL": true}}}), list); d != "" {
		t.Error(d)
	}
	if n := len(s.must("crm.activity.list", m{"filter": m{"BINDINGS": []m{{"OWNER_TYPE_ID": 2, "OWNER_ID": 1}}, "DIRECTION": 2}}).([]any)); n != 1 {
		t.Errorf("bound to the deal and outgoing: got %d, want 1", n)
	}
	one := s.must("crm.activity.get", m{"id": 4}).(m)
	if one["DIRECTION"] != "2" || one["START_TIME"] != start.Format("2006-01-02T15:04:05-07:00") {
		t.Errorf("got %v", one)
	}
	if got, want := s.refused("crm.activity.get", m{"id": 99}), "400  Activity is not found"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestItems(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Mode: "classic"})
	for _, kind := range []string{"lead", "contact", "company", "deal"} {
		id := s.must("crm."+kind+".add", m{"fields": m{
			"TITLE": "Проба", "NAME": "Проба", "NONSENSE": "x", "UF_CRM_1": "y", "ORIGIN_ID": "o1", "PHONE": []m{{"VALUE": "+79990001122", "VALUE_TYPE": "MOBILE"}},
		}})
		got := s.must("crm."+kind+".get", m{"ID": id}).(m)
		phone := got["PHONE"].([]any)[0].(m)
		if got["NONSENSE"] != nil || got["UF_CRM_1"] != "y" || got["ORIGIN_ID"] != "o1" || phone["VALUE"] != "+79990001122" || phone["TYPE_ID"] != "PHONE" {
			t.Errorf("%s: got %v", kind, got)
		}
		if s.must("crm."+kind+".update", m{"id": id, "fields": m{
			"ASSIGNED_BY_ID": 18, "PHONE": []m{{"ID": phone["ID"], "VALUE": ""}, {"VALUE": "+79990003344"}},
		}}) != true {
			t.Errorf("%s: update does not answer true", kind)
		}
		list := s.must("crm."+kind+".list", m{"filter": m{"PHONE": "+79990003344", "!ASSIGNED_BY_ID": 17}, "select": []string{"ID", "ASSIGNED_BY_ID", "PHONE"}}).([]any)
		if len(list) != 1 || list[0].(m)["ASSIGNED_BY_ID"] != "18" || len(list[0].(m)["PHONE"].([]any)) != 1 {
			t.Errorf("%s: list got %v", kind, list)
		}
		plain := s.must("crm."+kind+".list", m{"filter": m{"=ORIGIN_ID": "o1"}, "select": []string{"*"}, "order": m{"ID": "DESC"}}).([]any)
		if _, ok := plain[0].(m)["PHONE"]; ok {
			t.Errorf("%s: * gives PHONE, which has to be named", kind)
		}
		if s.must("crm."+kind+".delete", m{"id": id}) != true {
			t.Errorf("%s: delete does not answer true", kind)
		}
		for params, want := range map[string]m{"400  Not found": {"id": id}, "400  ID is not defined or invalid": {}} {
			if got := s.refused("crm."+kind+".get", want); got != params {
				t.Errorf("%s: got %q, want %q", kind, got, params)
			}
		}
	}
	if got, want := s.refused("crm.lead.add", m{"fields": "x"}), "400  Parameter 'fields' must be array"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := s.refused("crm.lead.list", m{"filter": "x"}), "400  Parameter 'filter' must be array"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestUniversalItems(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Mode: "classic"})
	got := s.must("crm.item.list", m{"entityTypeId": 3, "filter": m{"assignedById": 17}, "select": []string{"*"}}).(m)["items"].([]any)
	if len(got) != 1 || got[0].(m)["id"] != 1.0 || got[0].(m)["fm"].([]any)[0].(m)["value"] != "+79161234567" {
		t.Errorf("list: got %v", got)
	}
	s.must("crm.item.update", m{"entityTypeId": 1, "id": 1, "fields": m{"assignedById": 18, "stageId": "IN_PROCESS"}})
	one := s.must("crm.item.get", m{"entityTypeId": 1, "id": 1}).(m)["item"].(m)
	if one["assignedById"] != 18.0 || one["stageId"] != "IN_PROCESS" {
		t.Errorf("get after update: got %v", one)
	}
	for want, params := range map[string]m{
		"400 NOT_FOUND SPA not found": {"entityTypeId": 177},
		"400 INVALID_ARG_VALUE Invalid filter: field 'nonsense' is not allowed in filter": {"entityTypeId": 1, "filter": m{"=nonsense": 1}},
	} {
		if got := s.refused("crm.item.list", params); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got, want := s.refused("crm.item.get", m{"entityTypeId": 1, "id": 99}), "400 NOT_FOUND Item not found"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Mode: "classic"})
	got := s.must("crm.duplicate.findbycomm", m{"type": "PHONE", "values": []string{"89161234567", "+79160000001"}})
	if d := cmp.Diff(any(m{"LEAD": []any{1.0}, "CONTACT": []any{1.0}}), got); d != "" {
		t.Error(d)
	}
	got = s.must("crm.duplicate.findbycomm", m{"type": "PHONE", "values": []string{"89161234567", "+79160000001"}, "entity_type": "LEAD"})
	if d := cmp.Diff(any(m{"LEAD": []any{1.0}}), got); d != "" {
		t.Error(d)
	}
	const text = "Communication type is not defined"
	if got, want := s.refused("crm.duplicate.findbycomm", nil), "400 "+text+" "+text; got != want {
		t.Errorf("the text is the code: got %s, want %s", got, want)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]any{"": 2.0, "simple": 2.0, "classic": 1.0} {
		s := setup(t, emulator.Options{Mode: mode})
		if got := s.must("crm.settings.mode.get", nil); got != want {
			t.Errorf("%q: got %v, want %v", mode, got, want)
		}
	}
	if _, err := emulator.New(emulator.Options{Mode: "other"}); err == nil {
		t.Error("a mode that does not exist is accepted")
	}
	s := setup(t, emulator.Options{})
	list := s.must("crm.status.list", m{"filter": m{"ENTITY_ID": "SOURCE", "STATUS_ID": "CALL"}}).([]any)
	if len(list) != 1 || list[0].(m)["NAME"] != "Звонок" {
		t.Errorf("sources: got %v", list)
	}
}
