package portal_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal"
)

var eventAt = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func click(change map[string]string) portal.Event {
	e := portal.Event{Name: portal.EventClickToCall, At: eventAt, Data: map[string]string{
		"PHONE_NUMBER": "+7 (916) 123-45-67", "USER_ID": "17", "EXTENSION": "201", "CALL_LIST_ID": "0", "LINE_NUMBER": "+74951234567",
		"IS_MOBILE": "0", "CALL_ID": "externalCall.9af2.1795344238", "CRM_ENTITY_TYPE": "CONTACT", "CRM_ENTITY_ID": "5",
	}}
	for k, v := range change {
		e.Data[k] = v
	}
	return e
}

func TestClickToCall(t *testing.T) {
	t.Parallel()
	got, err := click(nil).ClickToCall()
	if err != nil {
		t.Fatal(err)
	}
	want := portal.ClickToCall{
		CallID: "externalCall.9af2.1795344238", UserID: 17, Phone: "+79161234567", Extension: "201", Line: "+74951234567",
		Entity: portal.Entity{Type: portal.Contact, ID: 5}, At: eventAt,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("-got +want:\n%s", diff)
	}
	got, err = click(map[string]string{"CRM_ENTITY_TYPE": "", "CRM_ENTITY_ID": "0", "IS_MOBILE": "1", "CALL_LIST_ID": "3", "LINE_NUMBER": "", "EXTENSION": ""}).ClickToCall()
	if err != nil || got.Entity != (portal.Entity{}) || !got.Mobile || got.ListID != 3 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRefused: what comes from outside and is not what it should be goes no further, least of all into a dial string.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ field, value, want string }{
		{"PHONE_NUMBER", "", "no phone number"},
		{"PHONE_NUMBER", "1", "no phone number"},
		{"PHONE_NUMBER", "*21*79161234567#", "no phone number"},
		{"PHONE_NUMBER", "79161234567&SIP/evil", "no phone number"},
		{"PHONE_NUMBER", "79161234567,Q", "no phone number"},
		{"PHONE_NUMBER", "7916\r\nAction: Originate", "no phone number"},
		{"PHONE_NUMBER", "7+9161234567", "no phone number"},
		{"PHONE_NUMBER", "٧٩١٦١٢٣٤٥٦٧", "no phone number"},
		{"PHONE_NUMBER", strings.Repeat("7", 21), "no phone number"},
		{"CALL_ID", "", "no id of a call"},
		{"CALL_ID", "a\nb", "no id of a call"},
		{"USER_ID", "0", "no id of an employee"},
		{"USER_ID", "-1", "no id of an employee"},
		{"USER_ID", "17x", "no id of an employee"},
		{"EXTENSION", "201&202", "no extension"},
		{"LINE_NUMBER", "a b", "no number of a line"},
		{"CRM_ENTITY_ID", "x", "no id of a CRM object"},
		{"CRM_ENTITY_TYPE", "A B", "no type of a CRM object"},
		{"CALL_LIST_ID", "x", "no id of a list"},
	} {
		_, err := click(map[string]string{test.field: test.value}).ClickToCall()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%q: got %v, want %q", test.field, test.value, err, test.want)
			continue
		}
		if strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%s=%q: the error has more than one line: %v", test.field, test.value, err)
		}
	}
	_, err := portal.Event{Name: portal.EventCallback, Data: map[string]string{"PHONE_NUMBER": "112;x"}}.CallbackRequest()
	if err == nil || !strings.Contains(err.Error(), `"112;x" is no phone number`) {
		t.Errorf("callback: got %v", err)
	}
}

func TestCallbackRequest(t *testing.T) {
	t.Parallel()
	e := portal.Event{Name: portal.EventCallback, At: eventAt, Data: map[string]string{
		"PHONE_NUMBER": "89161234567", "TEXT": "Заявка\r\nс\x00 сайта", "VOICE": "ru", "LINE_NUMBER": "reg1", "CRM_ENTITY_TYPE": "lead", "CRM_ENTITY_ID": "9",
	}}
	got, err := e.CallbackRequest()
	want := portal.CallbackRequest{
		Phone: "89161234567", Text: "Заявка  с сайта", Voice: "ru", Line: "reg1", Entity: portal.Entity{Type: portal.Lead, ID: 9}, At: eventAt,
	}
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Errorf("%v, -got +want:\n%s", err, diff)
	}
}

func TestEventKey(t *testing.T) {
	t.Parallel()
	callback := func(phone, text string) portal.Event {
		return portal.Event{Name: portal.EventCallback, Data: map[string]string{"PHONE_NUMBER": phone, "TEXT": text}}
	}
	for _, test := range []struct {
		what string
		a, b portal.Event
		same bool
	}{
		{"one click, told twice", click(nil), click(map[string]string{"EXTENSION": ""}), true},
		{"two clicks on one number", click(nil), click(map[string]string{"CALL_ID": "externalCall.2"}), false},
		{"one callback, told twice", callback("1234", "a"), callback("1234", "b"), true},
		{"callbacks of two visitors", callback("1234", "a"), callback("1235", "a"), false},
		{"other events by all they hold", portal.Event{Name: "X", Data: map[string]string{"FIELDS.ID": "1"}}, portal.Event{Name: "X", Data: map[string]string{"FIELDS.ID": "2"}}, false},
		{"values cannot pose as other fields", portal.Event{Name: "X", Data: map[string]string{"A": `1" B="2`}}, portal.Event{Name: "X", Data: map[string]string{"A": "1", "B": "2"}}, false},
	} {
		if got := test.a.Key() == test.b.Key(); got != test.same {
			t.Errorf("%s: got same %t, want %t", test.what, got, test.same)
		}
	}
}

func TestOfflineEvent(t *testing.T) {
	t.Parallel()
	got, err := portal.OfflineEvent{ID: 3, Name: "onExternalCallStart", At: eventAt, Data: []byte(
		`{"CALL_ID":"externalCall.1","USER_ID":17,"FIELDS":{"ID":"4","ON":true,"NO":null},"L":["a"]}`)}.Event()
	want := portal.Event{Name: portal.EventClickToCall, At: eventAt, Data: map[string]string{
		"CALL_ID": "externalCall.1", "USER_ID": "17", "FIELDS.ID": "4", "FIELDS.ON": "1", "L.0": "a",
	}}
	if diff := cmp.Diff(got, want); diff != "" || err != nil {
		t.Errorf("%v, -got +want:\n%s", err, diff)
	}
	if got, err := (portal.OfflineEvent{Name: "X"}).Event(); err != nil || len(got.Data) != 0 {
		t.Errorf("without data: got %v, %v", got, err)
	}
	many := `[` + strings.Repeat(`1,`, 300) + `1]`
	for _, data := range []string{"{", many} {
		if _, err := (portal.OfflineEvent{ID: 3, Name: "X", Data: []byte(data)}).Event(); err == nil || !strings.Contains(err.Error(), "event 3 of the queue") {
			t.Errorf("%.10s: got %v", data, err)
		}
	}
}
