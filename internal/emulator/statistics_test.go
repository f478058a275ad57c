package emulator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

// ids gives the IDs of the rows that a request finds, in the order of the answer.
func (s server) ids(params m) []string {
	s.t.Helper()
	out := []string{}
	for _, r := range s.rows(params) {
		out = append(out, r.(m)["ID"].(string))
	}
	return out
}

// five plants five calls, one hour apart, the youngest first.
func five(s server) {
	for i := range 5 {
		s.Plant(emulator.Call{
			CallID: fmt.Sprintf("externalCall.c%d.1", i+1), ExternalID: fmt.Sprintf("ext-%d", i+1), UserID: 17 + i%2, Phone: fmt.Sprintf("+7999555000%d", i),
			Type: 1 + i%2, Start: noon.Add(-time.Duration(i) * time.Hour), Duration: 10 * i, Status: []string{"304", "200"}[min(i, 1)],
		})
	}
}

func TestStatisticsFilter(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	five(s)
	for _, c := range []struct {
		name   string
		filter m
		want   []string
	}{
		{"none", nil, []string{"1", "2", "3", "4", "5"}},
		{"ID", m{"ID": 3}, []string{"3"}},
		{"ID as text", m{"=ID": "3"}, []string{"3"}},
		{"several IDs", m{"ID": []any{4, "2", 99}}, []string{"2", "4"}},
		{"ID above", m{">ID": 3}, []string{"4", "5"}},
		{"ID range", m{">=ID": 2, "<ID": 4}, []string{"2", "3"}},
		{"ID between", m{"><ID": []any{2, 3}}, []string{"2", "3"}},
		{"ID not between", m{"!><ID": []any{2, 3}}, []string{"1", "4", "5"}},
		{"CALL_ID", m{"CALL_ID": "externalCall.c2.1"}, []string{"2"}},
		{"external ids", m{"EXTERNAL_CALL_ID": []any{"ext-5", "EXT-1", "none"}}, []string{"1", "5"}},
		{"external id and another condition", m{"EXTERNAL_CALL_ID": []any{"ext-5", "ext-1"}, ">CALL_DURATION": 0}, []string{"5"}},
		{"no such external id", m{"EXTERNAL_CALL_ID": "none"}, []string{}},
		{"not", m{"!ID": 3}, []string{"1", "2", "4", "5"}},
		{"not equal", m{"!=CALL_FAILED_CODE": "304"}, []string{"2", "3", "4", "5"}},
		{"part of a text", m{"%PHONE_NUMBER": "50002"}, []string{"3"}},
		{"not part of a text", m{"!%EXTERNAL_CALL_ID": "T-3"}, []string{"1", "2", "4", "5"}},
		{"search", m{"?EXTERNAL_CALL_ID": "t-4"}, []string{"4"}},
		{"dates", m{">=CALL_START_DATE": "2026-03-11T09:00:00+03:00", "<=CALL_START_DATE": "2026-03-11T08:00:00+00:00"}, []string{"2", "3", "4"}},
		{"dates in the server's zone", m{">CALL_START_DATE": "2026-03-11T10:00:00"}, []string{"1", "2"}},
		{"bare date", m{"<CALL_START_DATE": "2026-03-11"}, []string{}},
		{"one date", m{"CALL_START_DATE": "2026-03-11T12:00:00+03:00"}, []string{"1"}},
		{"date between", m{"><CALL_START_DATE": []any{"2026-03-11T09:00:00+03:00", "2026-03-11T10:00:00+03:00"}}, []string{"3", "4"}},
		{"no date at all", m{">CALL_START_DATE": "yesterday"}, []string{}},
		{"user and type", m{"PORTAL_USER_ID": 18, "CALL_TYPE": []any{2}}, []string{"2", "4"}},
		{"empty", m{"CALL_RECORD_URL": ""}, []string{"1", "2", "3", "4", "5"}},
		{"not empty", m{"!CRM_ACTIVITY_ID": ""}, []string{}},
		{"undocumented", m{"CALL_STATUS": 0}, []string{"1"}},
		{"trap: unknown field finds all", m{"EXTERNAL_ID": "ext-1"}, []string{"1", "2", "3", "4", "5"}},
		{"trap: lower case finds all", m{"external_call_id": "ext-1"}, []string{"1", "2", "3", "4", "5"}},
		{"trap: unknown operator finds all", m{"@EXTERNAL_CALL_ID": []any{"ext-1"}}, []string{"1", "2", "3", "4", "5"}},
		{"trap: RECORD_FILE_ID is no filter", m{"RECORD_FILE_ID": 77}, []string{"1", "2", "3", "4", "5"}},
	} {
		if d := cmp.Diff(c.want, s.ids(m{"FILTER": c.filter})); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestStatisticsOrder(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	five(s)
	up, down := []string{"1", "2", "3", "4", "5"}, []string{"5", "4", "3", "2", "1"}
	for _, c := range []struct {
		name   string
		params m
		want   []string
	}{
		{"ID up", m{"SORT": "ID", "ORDER": "ASC"}, up},
		{"ID down", m{"SORT": "ID", "ORDER": "DESC"}, down},
		{"ID down without counting", m{"SORT": "ID", "ORDER": "DESC", "start": -1}, down},
		{"start up", m{"SORT": "CALL_START_DATE", "ORDER": "ASC"}, down},
		{"text", m{"SORT": "EXTERNAL_CALL_ID", "ORDER": "DESC"}, down},
		{"trap: SORT without ORDER", m{"SORT": "CALL_START_DATE"}, up},
		{"trap: ORDER in lower case", m{"SORT": "ID", "ORDER": "desc"}, up},
		{"trap: CALL_TYPE cannot be sorted by", m{"SORT": "CALL_TYPE", "ORDER": "ASC"}, up},
	} {
		if d := cmp.Diff(c.want, s.ids(c.params)); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestStatisticsPages(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	for i := range 120 {
		s.Plant(emulator.Call{ExternalID: fmt.Sprint(i)})
	}
	for _, c := range []struct {
		name        string
		params      m
		first       string
		n           int
		total, next any
	}{
		{"first", m{}, "1", 50, 120.0, 50.0},
		{"second", m{"start": 50}, "51", 50, 120.0, 100.0},
		{"last", m{"start": "100"}, "101", 20, 120.0, nil},
		{"beyond", m{"start": 500}, "", 0, 120.0, nil},
		{"without counting", m{"start": -1}, "1", 50, 0.0, nil},
		{"by cursor", m{"start": -1, "FILTER": m{">ID": 100}, "SORT": "ID", "ORDER": "ASC"}, "101", 20, 0.0, nil},
		{"nothing", m{"FILTER": m{"ID": 7777}}, "", 0, 0.0, nil},
	} {
		_, out := s.call("voximplant.statistic.get", c.params)
		rows := out["result"].([]any)
		first := ""
		if len(rows) > 0 {
			first = rows[0].(m)["ID"].(string)
		}
		got := fmt.Sprint(first, " ", len(rows), " ", out["total"], " ", out["next"])
		if want := fmt.Sprint(c.first, " ", c.n, " ", c.total, " ", c.next); got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
}

func TestStatisticsRow(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.register(m{"PHONE_NUMBER": "+79161234567", "EXTERNAL_CALL_ID": "e1", "LINE_NUMBER": "74951234567", "TYPE": 3, "CALL_START_DATE": "2026-03-01T00:30:00+00:00"})
	s.finish(id, m{"DURATION": "61", "COST": 1.5, "COST_CURRENCY": "RUB", "FAILED_REASON": "ok", "VOTE": 5})
	want := m{
		"ID": "1", "PORTAL_USER_ID": "17", "PORTAL_NUMBER": "74951234567", "PHONE_NUMBER": "+79161234567", "CALL_ID": id, "EXTERNAL_CALL_ID": "e1",
		"CALL_CATEGORY": "external", "CALL_LOG": nil, "CALL_DURATION": "61", "CALL_START_DATE": "2026-03-01T03:30:00+03:00", "CALL_RECORD_URL": nil,
		"CALL_VOTE": "5", "COST": "1.5000", "COST_CURRENCY": "RUB", "CALL_FAILED_CODE": "200", "CALL_FAILED_REASON": "ok",
		"CRM_ENTITY_TYPE": "CONTACT", "CRM_ENTITY_ID": "1", "CRM_ACTIVITY_ID": "1", "REST_APP_ID": nil, "REST_APP_NAME": nil, "TRANSCRIPT_ID": nil,
		"TRANSCRIPT_PENDING": "N", "SESSION_ID": nil, "REDIAL_ATTEMPT": nil, "COMMENT": nil, "RECORD_DURATION": nil, "RECORD_FILE_ID": nil,
		"CALL_TYPE": "3",
	}
	if d := cmp.Diff(any(want), s.rows(m{})[0]); d != "" {
		t.Error(d)
	}
}

// Rows are numbered in the order of finish, whatever their start.
func TestIDsFollowFinish(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	young := s.register(m{"EXTERNAL_CALL_ID": "young"})
	old := s.register(m{"EXTERNAL_CALL_ID": "old", "CALL_START_DATE": "2025-01-01T00:00:00+03:00"})
	s.finish(old, nil)
	s.finish(young, nil)
	if c := s.Calls(); c[0].ExternalID != "old" || c[1].ExternalID != "young" {
		t.Errorf("got %s, %s", c[0].ExternalID, c[1].ExternalID)
	}
}

// A planted duplicate is found like any row, and an ID below the last one falls into its place.
func TestPlant(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	s.Plant(emulator.Call{ID: 10, ExternalID: "a"})
	twin := s.Plant(emulator.Call{ExternalID: "a"})
	s.Plant(emulator.Call{ID: 5, ExternalID: "b"})
	if d := cmp.Diff([]string{"5", "10", "11"}, s.ids(m{})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"10", "11"}, s.ids(m{"FILTER": m{"EXTERNAL_CALL_ID": "a"}})); d != "" {
		t.Error(d)
	}
	if twin.ID != 11 || twin.CallID == "" || twin.Start.IsZero() {
		t.Errorf("got %+v, want an ID, a CALL_ID and a start", twin)
	}
}

// benchmarks say whether a command of a batch looks at an index or at 50,000 rows.
func BenchmarkStatistics(b *testing.B) {
	p, err := emulator.New(emulator.Options{Limits: emulator.Limits{Off: true}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	const rows = 50_000
	for i := range rows {
		p.Plant(emulator.Call{CallID: fmt.Sprint("c", i), ExternalID: fmt.Sprint("e", i), Start: noon.Add(time.Duration(i) * time.Minute)})
	}
	for name, filter := range map[string]m{
		"external": {"EXTERNAL_CALL_ID": "e777"},
		"call":     {"CALL_ID": []any{"c1", "c2"}},
		"cursor":   {">ID": rows / 2},
		"day":      {">=CALL_START_DATE": "2026-03-20T00:00:00+03:00", "<CALL_START_DATE": "2026-03-21T00:00:00+03:00"},
		"phone":    {"PHONE_NUMBER": "+7"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := p.Do(b.Context(), "voximplant.statistic.get", m{"FILTER": filter, "start": -1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
