package emulator_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

func TestUniversalItemComesAndGoes(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	item := s.must("crm.item.add", m{"entityTypeId": 3, "fields": m{
		"name": "Вера", "assignedById": 18, "nonsense": "x",
		"fm": []m{{"typeId": "PHONE", "valueType": "MOBILE", "value": "+79165550001"}},
	}}).(m)["item"].(m)
	if item["name"] != "Вера" || item["assignedById"] != 18.0 || item["nonsense"] != nil {
		t.Errorf("item: %v", item)
	}
	found := s.must("telephony.externalCall.searchCrmEntities", m{"PHONE_NUMBER": "89165550001"}).([]any)
	if len(found) != 1 || found[0].(m)["CRM_ENTITY_ID"] != item["id"] {
		t.Errorf("found by phone: %v", found)
	}
	ask := m{"entityTypeId": 3, "id": item["id"]}
	if diff := cmp.Diff([]any{}, s.must("crm.item.delete", ask)); diff != "" {
		t.Errorf("delete (-want +got):\n%s", diff)
	}
	for _, method := range []string{"crm.item.get", "crm.item.delete"} {
		if got, want := s.refused(method, ask), "400 NOT_FOUND Item not found"; got != want {
			t.Errorf("%s: got %s, want %s", method, got, want)
		}
	}
	if got, want := s.refused("crm.item.add", m{"entityTypeId": 99}), "400 NOT_FOUND SPA not found"; got != want {
		t.Errorf("unknown type: got %s, want %s", got, want)
	}
}

func TestUniversalLeadInSimpleMode(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	before := len(s.Deals())
	s.must("crm.item.add", m{"entityTypeId": 1, "fields": m{"title": "С сайта"}})
	if got, want := len(s.Deals()), before+1; got != want {
		t.Errorf("deals: got %d, want %d", got, want)
	}
}

func TestFieldsAreDescribed(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for _, c := range []struct {
		method      string
		params      m
		field, kind string
		alien       string // field of another kind
	}{
		{"crm.lead.fields", nil, "STATUS_ID", "crm_status", "STAGE_ID"},
		{"crm.deal.fields", nil, "CONTACT_ID", "crm_contact", "STATUS_ID"},
		{"crm.contact.fields", nil, "PHONE", "crm_multifield", "STAGE_ID_X"},
		{"crm.company.fields", nil, "ID", "integer", "STATUS_ID"},
		{"crm.activity.fields", nil, "START_TIME", "datetime", "TITLE"},
		{"crm.item.fields", m{"entityTypeId": 2}, "stageId", "crm_status", "statusId"},
	} {
		out := s.must(c.method, c.params).(m)
		if in, ok := out["fields"].(m); ok {
			out = in
		}
		f, _ := out[c.field].(m)
		if f["type"] != c.kind || out[c.alien] != nil {
			t.Errorf("%s: %s is %v, want %s; %s is %v, want none", c.method, c.field, f["type"], c.kind, c.alien, out[c.alien])
		}
	}
}

func TestStatisticOperators(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for i, status := range []string{"200", "304", "486", "603-S"} {
		s.Plant(emulator.Call{UserID: 17, Phone: "+7999555000" + string(rune('1'+i)), Type: 2, Duration: i * 10, Status: status, Start: noon})
	}
	for _, c := range []struct {
		filter m
		want   string
	}{
		{m{"ID": 2}, "2"},
		{m{"=ID": []int{1, 3}}, "1 3"},
		{m{"!ID": 2}, "1 3 4"},
		{m{"!=ID": 2}, "1 3 4"},
		{m{">CALL_DURATION": 10}, "3 4"},
		{m{">=CALL_DURATION": 10}, "2 3 4"},
		{m{"<CALL_DURATION": 10}, "1"},
		{m{"<=CALL_DURATION": 10}, "1 2"},
		{m{"><CALL_DURATION": []int{10, 20}}, "2 3"},
		{m{"!><CALL_DURATION": []int{10, 20}}, "1 4"},
		{m{"?PHONE_NUMBER": "0003"}, "3"},
		{m{"%PHONE_NUMBER": "0003"}, "3"},
		{m{"!%PHONE_NUMBER": "0003"}, "1 2 4"},
		{m{"%CALL_FAILED_CODE": "6"}, "3 4"},
		{m{"<>ID": 1}, "1 2 3 4"}, // unknown operator: no filter at all
		{m{"CALLID": 1}, "1 2 3 4"},
	} {
		var got string
		for _, r := range s.rows(m{"FILTER": c.filter, "SORT": "ID", "ORDER": "ASC"}) {
			if got != "" {
				got += " "
			}
			got += r.(m)["ID"].(string)
		}
		if got != c.want {
			t.Errorf("%v: got %s, want %s", c.filter, got, c.want)
		}
	}
}
