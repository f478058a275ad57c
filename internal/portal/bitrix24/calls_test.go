package bitrix24_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

func TestRegisterFinishOnTheWire(t *testing.T) {
	t.Parallel()
	s := script(ok(`{"result":{"result":[],"result_error":[]}}`))
	c := setup(t, bitrix24.Config{Transport: s})
	second := call("1700000000.5/2")
	second.Line, second.CreateCRM, second.Type, second.Status, second.Duration = "", true, portal.Outgoing, portal.StatusCancelled, 0
	second.Phone, second.Start = "*99#&a=b", time.Date(2026, 3, 7, 7, 20, 30, 0, time.UTC)
	if _, err := c.RegisterFinish(context.Background(), []portal.Call{call("1700000000.4"), second}); err != nil {
		t.Fatal(err)
	}
	asked := s.requests()
	if len(asked) != 1 || asked[0].path != "/rest/7/"+code+"/batch.json" {
		t.Fatalf("got %d requests, first to %s; want one batch", len(asked), asked[0].path)
	}
	const register, finish = "telephony.externalCall.register", "telephony.externalCall.finish"
	want := []sentCommand{
		{"r0", register, map[string][]string{
			"USER_ID": {"17"}, "PHONE_NUMBER": {"+79161234567"}, "TYPE": {"2"}, "CALL_START_DATE": {"2026-03-07T10:20:30+03:00"},
			"CRM_CREATE": {"0"}, "SHOW": {"0"}, "ADD_TO_CHAT": {"0"}, "LINE_NUMBER": {"+74951234567"}, "EXTERNAL_CALL_ID": {"1700000000.4"},
		}},
		{"r0f", finish, map[string][]string{
			"CALL_ID": {"$result[r0][CALL_ID]"}, "USER_ID": {"17"}, "DURATION": {"42"}, "STATUS_CODE": {"200"}, "ADD_TO_CHAT": {"0"},
		}},
		{"r1", register, map[string][]string{
			"USER_ID": {"17"}, "PHONE_NUMBER": {"*99#&a=b"}, "TYPE": {"1"}, "CALL_START_DATE": {"2026-03-07T07:20:30Z"},
			"CRM_CREATE": {"1"}, "SHOW": {"0"}, "ADD_TO_CHAT": {"0"}, "EXTERNAL_CALL_ID": {"1700000000.5/2"},
		}},
		{"r1f", finish, map[string][]string{
			"CALL_ID": {"$result[r1][CALL_ID]"}, "USER_ID": {"17"}, "DURATION": {"0"}, "STATUS_CODE": {"603-S"}, "ADD_TO_CHAT": {"0"},
		}},
	}
	if diff := cmp.Diff(sentBatch(t, asked[0].body), want, cmp.AllowUnexported(sentCommand{})); diff != "" {
		t.Errorf("commands (-got +want):\n%s", diff)
	}
}

// seen is an outcome, with the class of its error in place of the error.
type seen struct {
	Finished   portal.Finished
	Registered bool
	Class      portal.Class
}

func view(outcomes []portal.Outcome) []seen {
	got := make([]seen, len(outcomes))
	for i, o := range outcomes {
		got[i] = seen{o.Finished, o.Registered, portal.ClassOf(o.Err)}
	}
	return got
}

func TestRegisterFinishOutcomes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, result string
		want         seen
	}{
		{
			"done", `{"result":{"r0":{"CALL_ID":"c1","CRM_CREATED_LEAD":null},"r0f":{"ID":12,"CALL_ID":"c1","CALL_START_DATE":{},"CRM_ACTIVITY_ID":34}},
			"result_error":[],"result_total":[],"result_next":[],"result_time":[]}`,
			seen{portal.Finished{CallID: "c1", StatID: 12, ActivityID: 34}, true, ""},
		},
		{
			"numbers as texts", `{"result":{"r0":{"CALL_ID":"c1"},"r0f":{"ID":"12","CALL_ID":"c1","CRM_ACTIVITY_ID":"34","ERRORS":[]}}}`,
			seen{portal.Finished{CallID: "c1", StatID: 12, ActivityID: 34}, true, ""},
		},
		{
			"no activity", `{"result":{"r0":{"CALL_ID":"c1"},"r0f":{"ID":12,"CALL_ID":"c1","CRM_ACTIVITY_ID":false,
			"ERRORS":{"ACTIVITY_CREATION":"Could not find associated crm entity for the current call"}}}}`,
			seen{portal.Finished{CallID: "c1", StatID: 12, CRMNote: "Could not find associated crm entity for the current call"}, true, ""},
		},
		{
			"no activity, list of words", `{"result":{"r0":{"CALL_ID":"c1"},"r0f":{"ID":12,"CALL_ID":"c1","CRM_ACTIVITY_ID":null,"ERRORS":{"ACTIVITY_CREATION":["a","b"]}}}}`,
			seen{portal.Finished{CallID: "c1", StatID: 12, CRMNote: "a; b"}, true, ""},
		},
		{
			"no lead", `{"result":{"r0":{"CALL_ID":"c1","LEAD_CREATION_ERROR":"no right"},"r0f":{"ID":12,"CALL_ID":"c1"}}}`,
			seen{portal.Finished{CallID: "c1", StatID: 12, CRMNote: "no right"}, true, ""},
		},
		{
			"finish refused", `{"result":{"r0":{"CALL_ID":"c1"}},"result_error":{"r0f":{"error":"ERROR_CORE","error_description":"Unexpected database error"}}}`,
			seen{portal.Finished{CallID: "c1"}, true, portal.Refused},
		},
		{"finish unsaid", `{"result":{"r0":{"CALL_ID":"c1"}},"result_error":[]}`, seen{portal.Finished{CallID: "c1"}, true, portal.Unknown}},
		{"finish of another call", `{"result":{"r0":{"CALL_ID":"c1"},"r0f":{"ID":12,"CALL_ID":"c2"}}}`, seen{portal.Finished{CallID: "c1"}, true, portal.Unknown}},
		{"finish says nothing", `{"result":{"r0":{"CALL_ID":"c1"},"r0f":[]}}`, seen{portal.Finished{CallID: "c1"}, true, portal.Unknown}},
		{"all unsaid", `[]`, seen{Class: portal.Unknown}},
		{"register says nothing", `{"result":{"r0":[],"r0f":[]}}`, seen{Class: portal.Unknown}},
		{"register refused", `{"result":[],"result_error":{"r0":{"error":"","error_description":"User is not found or is not active"},
			"r0f":{"error":"","error_description":"Call is not found"}}}`, seen{Class: portal.NoUser}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, bitrix24.Config{Transport: script(ok(`{"result":` + test.result + `}`))})
			got, err := c.RegisterFinish(context.Background(), []portal.Call{call("1")})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(view(got), []seen{test.want}); diff != "" {
				t.Errorf("outcomes (-got +want):\n%s", diff)
			}
		})
	}
}

// TestUnfitCallsStayHere wants calls that the portal would take and never finish to be refused here, and to cost the others nothing.
func TestUnfitCallsStayHere(t *testing.T) {
	t.Parallel()
	unfit := func(change func(*portal.Call)) portal.Call {
		c := call("1")
		change(&c)
		return c
	}
	calls := []portal.Call{
		unfit(func(c *portal.Call) { c.UserID = 0 }),
		call("good"),
		unfit(func(c *portal.Call) { c.Phone = "" }),
		unfit(func(c *portal.Call) { c.Phone = strings.Repeat("9", 21) }),
		unfit(func(c *portal.Call) { c.ExternalID = strings.Repeat("1", 65) }),
		unfit(func(c *portal.Call) { c.ExternalID = "" }),
		unfit(func(c *portal.Call) { c.Start = time.Time{} }),
	}
	s := script(ok(`{"result":{"result":{"r1":{"CALL_ID":"c1"},"r1f":{"ID":1,"CALL_ID":"c1"}}}}`))
	c := setup(t, bitrix24.Config{Transport: s})
	got, err := c.RegisterFinish(context.Background(), calls)
	if err != nil {
		t.Fatal(err)
	}
	refused := seen{Class: portal.Refused}
	want := []seen{{Class: portal.NoUser}, {portal.Finished{CallID: "c1", StatID: 1}, true, ""}, refused, refused, refused, refused, refused}
	if diff := cmp.Diff(view(got), want); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
	if sent := sentBatch(t, s.requests()[0].body); len(sent) != 2 {
		t.Errorf("sent %d commands, want those of the good call", len(sent))
	}
	if got, err := c.RegisterFinish(context.Background(), calls[:1]); err != nil || len(got) != 1 || len(s.requests()) != 1 {
		t.Errorf("only unfit calls: got %v, %v and %d requests; want one outcome and no request", got, err, len(s.requests())-1)
	}
}

func TestTooManyCalls(t *testing.T) {
	t.Parallel()
	s := script(ok(`{"result":[]}`))
	c := setup(t, bitrix24.Config{Transport: s})
	if _, err := c.RegisterFinish(context.Background(), make([]portal.Call, bitrix24.MaxCalls+1)); err == nil {
		t.Error("26 calls: got no error")
	}
	if _, err := c.FinishAll(context.Background(), make([]portal.Ending, bitrix24.MaxEndings+1)); err == nil {
		t.Error("51 endings: got no error")
	}
	for _, got := range []func() ([]portal.Outcome, error){
		func() ([]portal.Outcome, error) { return c.RegisterFinish(context.Background(), nil) },
		func() ([]portal.Outcome, error) { return c.FinishAll(context.Background(), nil) },
	} {
		if o, err := got(); len(o) != 0 || err != nil {
			t.Errorf("none: got %v, %v", o, err)
		}
	}
	if len(s.requests()) != 0 {
		t.Errorf("sent %d requests, want none", len(s.requests()))
	}
}

func TestFinishAll(t *testing.T) {
	t.Parallel()
	s := script(ok(`{"result":{"result":{"f0":{"ID":"8","CALL_ID":"c1","CRM_ACTIVITY_ID":"9"}},"result_error":{
		"f1":{"error":"","error_description":"Call is not found"},"f2":{"error":"","error_description":"User is not found or is not active"}}}}`))
	c := setup(t, bitrix24.Config{Transport: s})
	nobody := call("4")
	nobody.UserID = 0
	got, err := c.FinishAll(context.Background(), []portal.Ending{{CallID: "c1", Call: call("1")}, {CallID: "c2", Call: call("2")}, {CallID: "c3", Call: call("3")}, {CallID: "c4", Call: nobody}})
	if err != nil {
		t.Fatal(err)
	}
	want := []seen{
		{portal.Finished{CallID: "c1", StatID: 8, ActivityID: 9}, true, ""},
		{portal.Finished{CallID: "c2"}, false, portal.NotFound},
		{portal.Finished{CallID: "c3"}, true, portal.NoUser},
		{portal.Finished{CallID: "c4"}, true, portal.NoUser},
	}
	if diff := cmp.Diff(view(got), want); diff != "" {
		t.Errorf("outcomes (-got +want):\n%s", diff)
	}
	sent := sentBatch(t, s.requests()[0].body)
	if len(sent) != 3 || sent[0].params.Get("CALL_ID") != "c1" || sent[0].params.Has("COST") {
		t.Errorf("got commands %v, want three finishes", sent)
	}
}

func BenchmarkRegisterFinish(b *testing.B) {
	calls := make([]portal.Call, bitrix24.MaxCalls)
	var result strings.Builder
	for i := range calls {
		calls[i] = call(fmt.Sprintf("1700000000.%d", i))
		fmt.Fprintf(&result, `,"r%d":{"CALL_ID":"c%d"},"r%df":{"ID":%d,"CALL_ID":"c%d","CRM_ACTIVITY_ID":null}`, i, i, i, i+1, i)
	}
	answer := ok(`{"result":{"result":{` + result.String()[1:] + `}}}`)
	c, err := bitrix24.New(bitrix24.Config{Webhook: hook, Transport: script(answer), PerSecond: 1e9, Burst: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.RegisterFinish(context.Background(), calls); err != nil {
			b.Fatal(err)
		}
	}
}
