package bitrix24_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// TestMethods sends each method once: what goes out, and what becomes of a usual answer.
func TestMethods(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, test := range []struct {
		name   string
		do     func(*bitrix24.Client) (any, error)
		answer string // result
		method string
		sent   string // JSON
		want   any
	}{
		{
			name:   "register a live call",
			do:     func(c *bitrix24.Client) (any, error) { return c.Register(ctx, call("pbx-1.1"), true) },
			answer: `{"CALL_ID":"externalCall.1","CRM_CREATED_LEAD":5,"CRM_CREATED_ENTITIES":[{"ENTITY_TYPE":"LEAD","ENTITY_ID":5}],"CRM_ENTITY_TYPE":"LEAD","CRM_ENTITY_ID":"5"}`,
			method: "telephony.externalCall.register",
			sent: `{"ADD_TO_CHAT":0,"CALL_START_DATE":"2026-03-07T10:20:30+03:00","CRM_CREATE":0,"EXTERNAL_CALL_ID":"pbx-1.1","LINE_NUMBER":"+74951234567",` +
				`"PHONE_NUMBER":"+79161234567","SHOW":1,"TYPE":2,"USER_ID":17}`,
			want: portal.Registered{
				CallID: "externalCall.1", Client: portal.Entity{Type: portal.Lead, ID: 5}, Created: []portal.Entity{{Type: portal.Lead, ID: 5}},
			},
		},
		{
			name:   "register without a card in simple mode",
			do:     func(c *bitrix24.Client) (any, error) { return c.Register(ctx, call("pbx-1.1"), false) },
			answer: `{"CALL_ID":"externalCall.1","CRM_CREATED_LEAD":null,"CRM_CREATED_ENTITIES":[{"ENTITY_TYPE":"CONTACT","ENTITY_ID":"7"},{"ENTITY_TYPE":"DEAL","ENTITY_ID":8}],"CRM_ENTITY_TYPE":"CONTACT","CRM_ENTITY_ID":7}`,
			method: "telephony.externalCall.register",
			sent: `{"ADD_TO_CHAT":0,"CALL_START_DATE":"2026-03-07T10:20:30+03:00","CRM_CREATE":0,"EXTERNAL_CALL_ID":"pbx-1.1","LINE_NUMBER":"+74951234567",` +
				`"PHONE_NUMBER":"+79161234567","SHOW":0,"TYPE":2,"USER_ID":17}`,
			want: portal.Registered{
				CallID: "externalCall.1", Client: portal.Entity{Type: portal.Contact, ID: 7},
				Created: []portal.Entity{{Type: portal.Contact, ID: 7}, {Type: portal.Deal, ID: 8}},
			},
		},
		{
			name:   "register a number that nobody knows",
			do:     func(c *bitrix24.Client) (any, error) { return c.Register(ctx, call("pbx-1.1"), true) },
			answer: `{"CALL_ID":"externalCall.1","CRM_CREATED_LEAD":null,"CRM_CREATED_ENTITIES":[],"CRM_ENTITY_TYPE":null,"CRM_ENTITY_ID":null,"LEAD_CREATION_ERROR":"no lead"}`,
			method: "telephony.externalCall.register",
			want:   portal.Registered{CallID: "externalCall.1", CRMNote: "no lead"},
		},
		{
			name:   "show",
			do:     func(c *bitrix24.Client) (any, error) { return c.Show(ctx, "externalCall.1", 17, 18) },
			answer: `true`, method: "telephony.externalCall.show", sent: `{"CALL_ID":"externalCall.1","USER_ID":[17,18]}`, want: true,
		},
		{
			name:   "hide a call that is over",
			do:     func(c *bitrix24.Client) (any, error) { return c.Hide(ctx, "externalCall.1", 17) },
			answer: `false`, method: "telephony.externalCall.hide", sent: `{"CALL_ID":"externalCall.1","USER_ID":[17]}`, want: false,
		},
		{
			name: "search",
			do:   func(c *bitrix24.Client) (any, error) { return c.SearchCRM(ctx, "+79161234567") },
			answer: `[{"CRM_ENTITY_TYPE":"CONTACT","CRM_ENTITY_ID":7,"ASSIGNED_BY_ID":17,"NAME":"Мария ","ASSIGNED_BY":{"ID":17,"TIMEMAN_STATUS":"OPENED",` +
				`"USER_PHONE_INNER":"201","WORK_PHONE":"","PERSONAL_PHONE":"","PERSONAL_MOBILE":"+79030000017"}}]`,
			method: "telephony.externalCall.searchCrmEntities", sent: `{"PHONE_NUMBER":"+79161234567"}`,
			want: []portal.Match{{
				Entity: portal.Entity{Type: portal.Contact, ID: 7}, Name: "Мария", Workday: "OPENED",
				AssignedTo: portal.Employee{ID: 17, Inner: "201", Mobile: "+79030000017", Active: true},
			}},
		},
		{
			name:   "search finds nothing",
			do:     func(c *bitrix24.Client) (any, error) { return c.SearchCRM(ctx, "+79161234567") },
			answer: `[]`, method: "telephony.externalCall.searchCrmEntities", want: []portal.Match{},
		},
		{
			name: "make responsible",
			do: func(c *bitrix24.Client) (any, error) {
				return nil, c.CRMItemUpdate(ctx, portal.Entity{Type: portal.Deal, ID: 8}, 17)
			},
			answer: `{"item":{"id":8}}`, method: "crm.item.update", sent: `{"entityTypeId":2,"fields":{"assignedById":17},"id":8}`,
		},
		{
			name:   "lines",
			do:     func(c *bitrix24.Client) (any, error) { return c.Lines(ctx) },
			answer: `[{"NUMBER":"+74951234567","NAME":"Main","CRM_AUTO_CREATE":"Y"},{"NUMBER":"101","NAME":null,"CRM_AUTO_CREATE":"N"}]`,
			method: "telephony.externalLine.get", sent: `{}`,
			want: []portal.Line{{Number: "+74951234567", Name: "Main", AutoCreate: true}, {Number: "101"}},
		},
		{
			name: "add a line",
			do: func(c *bitrix24.Client) (any, error) {
				return nil, c.AddLine(ctx, portal.Line{Number: "101", Name: "Main"})
			},
			answer: `{"ID":3}`, method: "telephony.externalLine.add", sent: `{"CRM_AUTO_CREATE":"N","NAME":"Main","NUMBER":"101"}`,
		},
		{
			name: "update a line",
			do: func(c *bitrix24.Client) (any, error) {
				return nil, c.UpdateLine(ctx, portal.Line{Number: "101", Name: "Main", AutoCreate: true})
			},
			answer: `{"ID":"3"}`, method: "telephony.externalLine.update", sent: `{"CRM_AUTO_CREATE":"Y","NAME":"Main","NUMBER":"101"}`,
		},
		{
			name:   "delete a line",
			do:     func(c *bitrix24.Client) (any, error) { return nil, c.DeleteLine(ctx, "101") },
			answer: `[]`, method: "telephony.externalLine.delete", sent: `{"NUMBER":"101"}`,
		},
		{
			name:   "app",
			do:     func(c *bitrix24.Client) (any, error) { return c.AppInfo(ctx) },
			answer: `{"ID":12,"CODE":"local.1","VERSION":1,"STATUS":"L","INSTALLED":true,"PAYMENT_EXPIRED":"N","DAYS":null,"LICENSE":"ru_ent250","LICENSE_FAMILY":"ent"}`,
			method: "app.info", sent: `{}`, want: bitrix24.App{ID: "12", Installed: true, License: "ru_ent250", LicenseFamily: "ent"},
		},
		{
			name:   "scope",
			do:     func(c *bitrix24.Client) (any, error) { return c.Scope(ctx) },
			answer: `["crm","telephony"]`, method: "scope", sent: `{}`, want: []string{"crm", "telephony"},
		},
		{
			name: "bind",
			do: func(c *bitrix24.Client) (any, error) {
				return nil, c.EventBind(ctx, portal.Binding{Event: "ONEXTERNALCALLSTART", Handler: "https://pbx.example/b24/event"})
			},
			answer: `true`, method: "event.bind", sent: `{"event":"ONEXTERNALCALLSTART","event_type":"online","handler":"https://pbx.example/b24/event"}`,
		},
		{
			name:   "bindings",
			do:     func(c *bitrix24.Client) (any, error) { return c.EventGet(ctx) },
			answer: `[{"event":"ONEXTERNALCALLSTART","handler":"https://pbx.example/b24/event","auth_type":"0","offline":0},{"event":"ONCRMLEADADD","handler":"","auth_type":"1","offline":1}]`,
			method: "event.get", sent: `{}`,
			want: []portal.Binding{
				{Event: "ONEXTERNALCALLSTART", Handler: "https://pbx.example/b24/event"}, {Event: "ONCRMLEADADD", UserID: 1, Offline: true},
			},
		},
		{
			name: "unbind",
			do: func(c *bitrix24.Client) (any, error) {
				return c.EventUnbind(ctx, portal.Binding{Event: "ONEXTERNALCALLSTART", UserID: 1, Offline: true})
			},
			answer: `{"count":1}`, method: "event.unbind", sent: `{"auth_type":1,"event":"ONEXTERNALCALLSTART","event_type":"offline","handler":""}`, want: 1,
		},
		{
			name: "offline events",
			do:   func(c *bitrix24.Client) (any, error) { return c.OfflineGet(ctx, "") },
			answer: `{"process_id":"p1","events":[{"ID":"4","TIMESTAMP_X":"2026-03-07T10:20:30+03:00","EVENT_NAME":"onexternalcallstart","EVENT_DATA":{"CALL_ID":"1"},` +
				`"EVENT_ADDITIONAL":[],"MESSAGE_ID":"m1"}]}`,
			method: "event.offline.get", sent: `{"clear":0,"limit":50,"order":{"TIMESTAMP_X":"ASC"}}`,
			want: portal.Package{ProcessID: "p1", Events: []portal.OfflineEvent{{
				ID: 4, Name: "ONEXTERNALCALLSTART", At: time.Date(2026, 3, 7, 10, 20, 30, 0, moscow), MessageID: "m1", Data: json.RawMessage(`{"CALL_ID":"1"}`),
			}}},
		},
		{
			name:   "offline events again, an empty queue",
			do:     func(c *bitrix24.Client) (any, error) { return c.OfflineGet(ctx, "p1") },
			answer: `{"process_id":null,"events":[]}`, method: "event.offline.get",
			sent: `{"clear":0,"limit":50,"order":{"TIMESTAMP_X":"ASC"},"process_id":"p1"}`, want: portal.Package{},
		},
		{
			name:   "confirm offline events",
			do:     func(c *bitrix24.Client) (any, error) { return nil, c.OfflineClear(ctx, "p1", "m1", "m2") },
			answer: `true`, method: "event.offline.clear", sent: `{"message_id":["m1","m2"],"process_id":"p1"}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := script(ok(`{"result":` + test.answer + `}`))
			got, err := test.do(setup(t, bitrix24.Config{Transport: s}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("result (-got +want):\n%s", diff)
			}
			sent := s.requests()
			if len(sent) != 1 || sent[0].path != "/rest/7/"+code+"/"+test.method+".json" {
				t.Fatalf("got requests %v, want one of %s", sent, test.method)
			}
			if test.sent != "" && string(sent[0].body) != test.sent {
				t.Errorf("sent:\n got %s\nwant %s", sent[0].body, test.sent)
			}
		})
	}
}

// TestAlreadySo has the portal refuse what is as it was asked for.
func TestAlreadySo(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	core := func(text string) reply {
		return failing(400, `{"error":"ERROR_CORE","error_description":"`+text+`"}`)
	}
	for _, test := range []struct {
		name     string
		answers  []reply
		do       func(*bitrix24.Client) error
		requests int
	}{
		{"line exists: it gets the name", []reply{core("Line already exists"), ok(`{"result":{"ID":"3"}}`)}, func(c *bitrix24.Client) error {
			return c.AddLine(ctx, portal.Line{Number: "101", Name: "Main"})
		}, 2},
		{"no such line", []reply{core("Could not find line with number 101")}, func(c *bitrix24.Client) error { return c.DeleteLine(ctx, "101") }, 1},
		{
			"bound already",
			[]reply{failing(400, `{"error":"ERROR_HANDLER_ALREADY_EXIST","error_description":"Handler already exists!"}`)},
			func(c *bitrix24.Client) error {
				return c.EventBind(ctx, portal.Binding{Event: "E", Handler: "https://x.example"})
			}, 1,
		},
	} {
		s := script(test.answers...)
		if err := test.do(setup(t, bitrix24.Config{Transport: s})); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if got := len(s.requests()); got != test.requests {
			t.Errorf("%s: got %d requests, want %d", test.name, got, test.requests)
		}
	}
}

// TestMistakesOfLiveMethods has mistakes that are found before anything is asked, and answers that say too little.
func TestMistakesOfLiveMethods(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, test := range []struct {
		name     string
		answer   string
		do       func(*bitrix24.Client) error
		class    portal.Class
		requests int
	}{
		{"a call of nobody", `{}`, func(c *bitrix24.Client) error { _, err := c.Register(ctx, portal.Call{}, true); return err }, portal.NoUser, 0},
		{"a card for nobody", `true`, func(c *bitrix24.Client) error { _, err := c.Show(ctx, "1"); return err }, "", 0},
		{"an activity has no responsible here", `{}`, func(c *bitrix24.Client) error {
			return c.CRMItemUpdate(ctx, portal.Entity{Type: "ACTIVITY", ID: 1}, 17)
		}, "", 0},
		{"no CALL_ID", `{}`, func(c *bitrix24.Client) error { _, err := c.Register(ctx, call("1"), true); return err }, portal.Unknown, 1},
		{"a match of nothing", `[{"NAME":"x"}]`, func(c *bitrix24.Client) error { _, err := c.SearchCRM(ctx, "1"); return err }, portal.Unknown, 1},
		{"an event without a time", `{"process_id":"p","events":[{"ID":1}]}`, func(c *bitrix24.Client) error { _, err := c.OfflineGet(ctx, ""); return err }, portal.Unknown, 1},
	} {
		s := script(ok(`{"result":` + test.answer + `}`))
		err := test.do(setup(t, bitrix24.Config{Transport: s}))
		if err == nil || portal.ClassOf(err) != test.class {
			t.Errorf("%s: got %v of class %q, want class %q", test.name, err, portal.ClassOf(err), test.class)
		}
		if got := len(s.requests()); got != test.requests {
			t.Errorf("%s: got %d requests, want %d", test.name, got, test.requests)
		}
	}
}

func TestEnterprise(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		app  bitrix24.App
		want bool
	}{
		{bitrix24.App{License: "ru_ent250", LicenseFamily: "ent250"}, true},
		{bitrix24.App{License: "com_enterprise", LicenseFamily: "enterprise"}, true},
		{bitrix24.App{License: "ru_std", LicenseFamily: "std"}, false},
		{bitrix24.App{License: "ru_client", LicenseFamily: "pro"}, false},
		{bitrix24.App{}, false},
	} {
		if got := test.app.Enterprise(); got != test.want {
			t.Errorf("%+v: got %t, want %t", test.app, got, test.want)
		}
	}
}
