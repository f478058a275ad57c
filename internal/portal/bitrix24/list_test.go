package bitrix24_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// shelf is the least portal that has lists: rows by id, offsets, a filter by id and by keys. It can misbehave.
type shelf struct {
	rows     []shelved // by ID
	noTotal  bool
	asMap    bool // pages as PHP writes arrays with holes
	unsorted bool
	deaf     bool // ignores filters
	slow     int  // batches of more commands than this get a gateway's timeout; 0: none
	after    func(request int, s *shelf)

	mu       sync.Mutex
	requests int
	commands int
}

type shelved struct {
	id        int
	key, call string // in lower case
	text      json.RawMessage
}

func shelve(fields map[string]any) shelved {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	id, _ := strconv.Atoi(fields["ID"].(string))
	key, _ := fields["EXTERNAL_CALL_ID"].(string)
	call, _ := fields["CALL_ID"].(string)
	return shelved{id, strings.ToLower(key), strings.ToLower(call), text}
}

func (s *shelf) RoundTrip(r *http.Request) (*http.Response, error) {
	return inMemory(s.serve).RoundTrip(r)
}

func (s *shelf) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	body, _ := io.ReadAll(r.Body)
	var out any
	if strings.HasSuffix(r.URL.Path, "/batch.json") {
		var in struct {
			Cmd map[string]string `json:"cmd"`
		}
		_ = json.Unmarshal(body, &in)
		if s.slow > 0 && len(in.Cmd) > s.slow {
			w.WriteHeader(http.StatusGatewayTimeout)
			return
		}
		s.commands = max(s.commands, len(in.Cmd))
		results := map[string]any{}
		for key, cmd := range in.Cmd {
			_, query, _ := strings.Cut(cmd, "?")
			params, _ := url.ParseQuery(query)
			start, _ := strconv.Atoi(params.Get("start"))
			after, _ := strconv.Atoi(params.Get("FILTER[>ID]"))
			var keys []string
			for name, values := range params {
				if strings.HasPrefix(name, "FILTER[EXTERNAL_CALL_ID]") || strings.HasPrefix(name, "FILTER[CALL_ID]") {
					keys = append(keys, values...)
				}
			}
			results[key], _ = s.page(start, after, keys)
		}
		out = map[string]any{"result": map[string]any{"result": results, "result_error": []any{}}}
	} else {
		var in struct {
			Start  int            `json:"start"`
			Filter map[string]any `json:"FILTER"`
		}
		_ = json.Unmarshal(body, &in)
		after, _ := in.Filter[">ID"].(float64)
		var keys []string
		for _, name := range []string{"EXTERNAL_CALL_ID", "CALL_ID"} {
			list, _ := in.Filter[name].([]any)
			for _, v := range list {
				keys = append(keys, v.(string))
			}
		}
		page, total := s.page(in.Start, int(after), keys)
		answer := map[string]any{"result": page}
		if in.Start >= 0 && !s.noTotal {
			answer["total"] = total
		}
		out = answer
	}
	_ = json.NewEncoder(w).Encode(out)
	if s.after != nil {
		s.after(s.requests, s)
	}
}

func (s *shelf) page(start, after int, keys []string) (any, int) {
	wanted := map[string]bool{}
	for _, k := range keys {
		wanted[strings.ToLower(k)] = true
	}
	var found []json.RawMessage
	for _, row := range s.rows {
		if s.deaf || row.id > after && (len(keys) == 0 || wanted[row.key] || wanted[row.call]) {
			found = append(found, row.text)
		}
	}
	total := len(found)
	start = min(max(start, 0), total)
	found = found[start:min(start+50, total)]
	if s.unsorted {
		found = slices.Clone(found)
		slices.Reverse(found)
	}
	if s.asMap {
		var b strings.Builder
		for i, row := range found {
			fmt.Fprintf(&b, `,"%d":%s`, i*2, row)
		}
		return json.RawMessage("{" + strings.TrimPrefix(b.String(), ",") + "}"), total
	}
	if found == nil {
		found = []json.RawMessage{}
	}
	return found, total
}

var day = time.Date(2026, 3, 7, 0, 0, 0, 0, moscow)

// statistic is a row as the portal writes it, all values texts or null.
func statistic(id int, external string, start time.Time) shelved {
	return shelve(map[string]any{
		"ID": strconv.Itoa(id), "PORTAL_USER_ID": "17", "PORTAL_NUMBER": "+74951234567", "PHONE_NUMBER": "+79161234567",
		"CALL_ID": "externalCall." + strconv.Itoa(id), "EXTERNAL_CALL_ID": external, "CALL_CATEGORY": "external", "CALL_DURATION": "42",
		"CALL_START_DATE": start.Format(time.RFC3339), "CALL_VOTE": nil, "COST": "0.0000", "CALL_FAILED_CODE": "200",
		"CRM_ACTIVITY_ID": nil, "REST_APP_ID": nil, "RECORD_FILE_ID": nil, "CALL_TYPE": "2",
	})
}

func statisticRows(n int) []shelved {
	rows := make([]shelved, n)
	for i := range rows {
		rows[i] = statistic(10+3*i, fmt.Sprintf("ext%d", i), day.Add(time.Duration(i)*time.Second))
	}
	return rows
}

func read(c *bitrix24.Client) ([]int64, error) {
	var got []int64
	err := c.Statistics(context.Background(), day, day.AddDate(0, 0, 1), func(r portal.Row) error {
		got = append(got, r.ID)
		return nil
	})
	slices.Sort(got)
	return got, err
}

func ids(rows []shelved) []int64 {
	var got []int64
	for _, r := range rows {
		got = append(got, int64(r.id))
	}
	slices.Sort(got)
	return got
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		shelf    *shelf
		requests int
	}{
		{"none", &shelf{}, 1},
		{"one", &shelf{rows: statisticRows(1)}, 1},
		{"49", &shelf{rows: statisticRows(49)}, 1},
		{"a full page", &shelf{rows: statisticRows(50)}, 2},
		{"51", &shelf{rows: statisticRows(51)}, 2},
		{"2,600", &shelf{rows: statisticRows(2600)}, 4},
		{"5,010", &shelf{rows: statisticRows(5010)}, 3},
		{"no total", &shelf{rows: statisticRows(310), noTotal: true}, 7},
		{"pages with holes", &shelf{rows: statisticRows(120), asMap: true}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := read(setup(t, bitrix24.Config{Transport: test.shelf}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, ids(test.shelf.rows)); diff != "" {
				t.Errorf("rows (-got +want):\n%s", diff)
			}
			if test.shelf.requests != test.requests {
				t.Errorf("got %d requests, want %d", test.shelf.requests, test.requests)
			}
		})
	}
}

// TestStatisticsChangeMeanwhile adds and takes away rows between two requests.
func TestStatisticsChangeMeanwhile(t *testing.T) {
	t.Parallel()
	t.Run("added", func(t *testing.T) {
		t.Parallel()
		s := &shelf{rows: statisticRows(100), after: func(request int, s *shelf) {
			if request <= 3 {
				for range 30 {
					n := len(s.rows)
					s.rows = append(s.rows, statistic(10+3*n, "", day.Add(time.Hour)))
				}
			}
		}}
		got, err := read(setup(t, bitrix24.Config{Transport: s}))
		if diff := cmp.Diff(got, ids(s.rows)); diff != "" || err != nil || len(got) != 190 {
			t.Errorf("%v, rows (-got +want):\n%s", err, diff)
		}
	})
	t.Run("taken away", func(t *testing.T) {
		t.Parallel()
		// With the first rows gone, those that stood at the end of the first page would fall between the pages.
		s := &shelf{rows: statisticRows(170), after: func(request int, s *shelf) {
			if request == 1 {
				s.rows = s.rows[5:]
			}
		}}
		all := ids(s.rows)
		got, err := read(setup(t, bitrix24.Config{Transport: s}))
		if diff := cmp.Diff(got, all); diff != "" || err != nil {
			t.Errorf("%v, rows (-got +want):\n%s", err, diff)
		}
	})
}

func TestStatisticsIsCompleteOrAnError(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		transport http.RoundTripper
	}{
		{"not sorted", &shelf{rows: statisticRows(60), unsorted: true}},
		{"no filter by id", &shelf{rows: statisticRows(60), noTotal: true, deaf: true}},
		{"time without offset", script(ok(`{"result":[{"ID":"1","CALL_ID":"c","CALL_START_DATE":"2026-03-07 10:20:30"}]}`))},
		{"row without id", script(ok(`{"result":[{"CALL_ID":"c","CALL_START_DATE":"2026-03-07T10:20:30+03:00"}]}`))},
		{"row that is no row", script(ok(`{"result":["c"]}`))},
		{"text for a list", script(ok(`{"result":"c"}`))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, err := read(setup(t, bitrix24.Config{Transport: test.transport}))
				if e := portalError(t, err); e.Class != portal.Unknown || e.InFlight {
					t.Errorf("got %s (%v), want %s", e.Class, e, portal.Unknown)
				}
			})
		})
	}
}

// TestStatisticsLimits has rows a second before and at the limits of the period, in another zone than it was asked for.
func TestStatisticsLimits(t *testing.T) {
	t.Parallel()
	from, to := day, day.AddDate(0, 0, 1)
	var want []int64
	s := &shelf{}
	for i, start := range []time.Time{
		from.Add(-20 * time.Hour), from.Add(-time.Second), from, from.Add(time.Second), to.Add(-time.Second), to, to.Add(20 * time.Hour),
	} {
		s.rows = append(s.rows, statistic(i+1, "", start.In(time.FixedZone("", -8*3600))))
		if i >= 2 && i <= 4 {
			want = append(want, int64(i+1))
		}
	}
	got, err := read(setup(t, bitrix24.Config{Transport: s}))
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Errorf("%v, rows (-got +want):\n%s", err, diff)
	}
}

func TestStatisticsOnTheWire(t *testing.T) {
	t.Parallel()
	s := script(ok(`{"result":[{"ID":"12","PORTAL_USER_ID":"17","PORTAL_NUMBER":"REST_APP:","PHONE_NUMBER":"+79161234567","CALL_ID":"externalCall.a.1",
		"EXTERNAL_CALL_ID":null,"CALL_DURATION":"42","CALL_START_DATE":"2026-03-07T10:20:30+03:00","CALL_FAILED_CODE":"603-S","CRM_ACTIVITY_ID":"34",
		"REST_APP_ID":"5","RECORD_FILE_ID":77,"CALL_TYPE":"3","TRANSCRIPT_PENDING":"N","NEW_FIELD":{"a":[]}}],"total":1}`))
	var got []portal.Row
	err := setup(t, bitrix24.Config{Transport: s}).Statistics(context.Background(), day, day.AddDate(0, 0, 1), func(r portal.Row) error {
		got = append(got, r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []portal.Row{{
		ID: 12, CallID: "externalCall.a.1", UserID: 17, Phone: "+79161234567", Line: "REST_APP:", Type: portal.IncomingRedirected,
		Start: time.Date(2026, 3, 7, 10, 20, 30, 0, moscow), Duration: 42, Status: portal.StatusCancelled, RecordFileID: 77, ActivityID: 34, AppID: "5",
	}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("rows (-got +want):\n%s", diff)
	}
	var sent map[string]any
	if err := json.Unmarshal(s.requests()[0].body, &sent); err != nil {
		t.Fatal(err)
	}
	wantSent := map[string]any{
		"SORT": "ID", "ORDER": "ASC", "start": 0.0,
		"FILTER": map[string]any{">=CALL_START_DATE": "2026-03-06T00:00:00+03:00", "<CALL_START_DATE": "2026-03-09T00:00:00+03:00"},
	}
	if diff := cmp.Diff(sent, wantSent); diff != "" {
		t.Errorf("request (-got +want):\n%s", diff)
	}
}

func TestStatisticsStops(t *testing.T) {
	t.Parallel()
	stop := errors.New("enough")
	n := 0
	err := setup(t, bitrix24.Config{Transport: &shelf{rows: statisticRows(200)}}).Statistics(context.Background(), day, day.AddDate(0, 0, 1), func(portal.Row) error {
		n++
		if n == 60 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 60 {
		t.Errorf("got %v after %d rows, want the error of yield after 60", err, n)
	}
	s := &shelf{}
	if err := setup(t, bitrix24.Config{Transport: s}).Statistics(context.Background(), day, day, nil); err != nil || s.requests != 0 {
		t.Errorf("empty period: got %v and %d requests, want none", err, s.requests)
	}
}

// TestSlowBatchIsCut has a portal that answers batches in time only when they are small.
func TestSlowBatchIsCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{rows: statisticRows(2000), slow: 12}
		got, err := read(setup(t, bitrix24.Config{Transport: s}))
		if diff := cmp.Diff(got, ids(s.rows)); diff != "" || err != nil {
			t.Errorf("%v, rows (-got +want):\n%s", err, diff)
		}
		if s.commands > 12 || s.commands < 5 {
			t.Errorf("the largest batch answered has %d commands, want some below 12", s.commands)
		}
	})
}

func TestStatisticsByExternalID(t *testing.T) {
	t.Parallel()
	s := &shelf{rows: statisticRows(3000)}
	// ext7 was sent 120 times, and another call's id differs only in case.
	for i := range 120 {
		s.rows = append(s.rows, statistic(20000+i, "ext7", day))
	}
	s.rows = append(s.rows, statistic(30000, "EXT8", day))
	var asked []string
	want := map[string]int{}
	for i := range 2800 {
		asked = append(asked, fmt.Sprintf("ext%d", i))
		want[fmt.Sprintf("ext%d", i)] = 1
	}
	want["ext7"] = 121
	asked = append(asked, "none", "", "ext7")
	rows, err := setup(t, bitrix24.Config{Transport: s}).StatisticsByExternalID(context.Background(), asked)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range rows {
		got[r.ExternalID]++
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("rows by external id (-got +want):\n%s", diff)
	}
	if !sort.SliceIsSorted(rows, func(i, j int) bool { return rows[i].ID < rows[j].ID }) {
		t.Error("rows are not in the order of their ids")
	}
	if s.requests > 6 || s.commands > 50 {
		t.Errorf("got %d requests, up to %d commands in one; want at most 6 and 50", s.requests, s.commands)
	}
}

func TestStatisticsByCallID(t *testing.T) {
	t.Parallel()
	s := &shelf{rows: statisticRows(10)}
	rows, err := setup(t, bitrix24.Config{Transport: s}).StatisticsByCallID(context.Background(), []portal.CallID{"externalCall.16", "externalCall.10", "x"})
	if err != nil || len(rows) != 2 || rows[0].CallID != "externalCall.10" || rows[1].CallID != "externalCall.16" {
		t.Errorf("got %v, %v; want two rows", rows, err)
	}
	if rows, err := setup(t, bitrix24.Config{Transport: s}).StatisticsByCallID(context.Background(), nil); err != nil || len(rows) != 0 || s.requests != 1 {
		t.Errorf("no ids: got %v, %v and %d requests", rows, err, s.requests-1)
	}
}

// TestIgnoredFilter has a portal that drops a filter it does not know, and gives every row. That must not read as "no such call".
func TestIgnoredFilter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := setup(t, bitrix24.Config{Transport: &shelf{rows: statisticRows(10), deaf: true}})
		_, err := c.StatisticsByExternalID(context.Background(), []string{"ext3"})
		if e := portalError(t, err); e.Class != portal.Unknown || !strings.Contains(e.Text, "ignores the filter") {
			t.Errorf("got %s (%v), want the ignored filter", e.Class, e)
		}
	})
}

func TestEmployees(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name              string
		noTotal           bool
		employees, atMost int
	}{
		{"few", false, 3, 1},
		{"10,000", false, 10000, 6},
		{"no total", true, 260, 6},
	} {
		s := &shelf{noTotal: test.noTotal}
		for i := range test.employees {
			fields := map[string]any{
				"ID": strconv.Itoa(i + 1), "ACTIVE": i%2 == 0, "NAME": "Иван", "LAST_NAME": strconv.Itoa(i), "UF_PHONE_INNER": nil,
				"PERSONAL_MOBILE": "+7903", "WORK_PHONE": "", "DATE_REGISTER": map[string]any{},
			}
			switch i {
			case 1:
				fields["UF_PHONE_INNER"] = "201"
			case 2:
				fields["ACTIVE"], fields["UF_PHONE_INNER"] = "Y", 202
			}
			s.rows = append(s.rows, shelve(fields))
		}
		got, err := setup(t, bitrix24.Config{Transport: s}).Employees(context.Background())
		if err != nil || len(got) != test.employees {
			t.Fatalf("%s: got %d employees, %v; want %d", test.name, len(got), err, test.employees)
		}
		want := []portal.Employee{
			{ID: 1, Name: "Иван 0", Mobile: "+7903", Active: true},
			{ID: 2, Name: "Иван 1", Inner: "201", Mobile: "+7903"},
			{ID: 3, Name: "Иван 2", Inner: "202", Mobile: "+7903", Active: true},
		}
		if diff := cmp.Diff(got[:3], want); diff != "" {
			t.Errorf("%s: employees (-got +want):\n%s", test.name, diff)
		}
		if s.requests > test.atMost {
			t.Errorf("%s: got %d requests, want at most %d", test.name, s.requests, test.atMost)
		}
	}
}

func BenchmarkStatisticsPage(b *testing.B) {
	var rows []json.RawMessage
	for _, row := range statisticRows(49) {
		rows = append(rows, row.text)
	}
	page, err := json.Marshal(map[string]any{"result": rows, "total": 49, "time": map[string]any{"operating": 0.1}})
	if err != nil {
		b.Fatal(err)
	}
	c, err := bitrix24.New(bitrix24.Config{Webhook: hook, Transport: script(ok(string(page))), PerSecond: 1e9, Burst: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if err := statistics(c); err != nil {
			b.Fatal(err)
		}
	}
}
