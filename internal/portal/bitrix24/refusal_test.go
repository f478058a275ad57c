package bitrix24_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// TestErrorsOfRequests gives answers of a whole request and wants what they mean. RetryFor is too short for any second try.
func TestErrorsOfRequests(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		do       func(*bitrix24.Client) error
		status   int
		body     string
		class    portal.Class
		hint     string // part of it; "-" wants none
		inFlight bool
	}{
		{"bucket", registerOne, 503, `{"error":"QUERY_LIMIT_EXCEEDED","error_description":"Too many requests"}`, portal.RateLimited, "-", false},
		{"operating", registerOne, 429, `{"error":"OPERATION_TIME_LIMIT","error_description":"x"}`, portal.OperatingTime, "-", false},
		{"unknown 429", registerOne, 429, `{"error":"SOMETHING"}`, portal.OperatingTime, "-", false},
		{"429 of a proxy", registerOne, 429, `slow down`, portal.RateLimited, "-", false},
		{"overload", registerOne, 503, `{"error":"OVERLOAD_LIMIT","error_description":"REST API is blocked due to overload"}`, portal.Access, "support", false},
		{"500", registerOne, 500, `{"error":"INTERNAL_SERVER_ERROR","error_description":"Internal server error"}`, portal.Unknown, "-", false},
		{"500 unexpected", registerOne, 500, `{"error":"ERROR_UNEXPECTED_ANSWER"}`, portal.Unknown, "-", false},
		{"500 of a kind", registerOne, 500, `{"error":"FATAL","error_description":"x"}`, portal.Unknown, "-", false},
		{"503 of a kind", registerOne, 503, `{"error":"FATAL","error_description":"x"}`, portal.Unknown, "-", false},
		{"502 in JSON", registerOne, 502, `{"error":"FATAL","error_description":"x"}`, portal.Unknown, "-", true},
		{"503 in a proxy's JSON", registerOne, 503, `{"message":"upstream"}`, portal.Unknown, "-", true},
		{"504 page", registerOne, 504, `<html><head><title>504 Gateway Time-out</title></head></html>`, portal.Unknown, "-", true},
		{"500 page", registerOne, 500, `<b>Fatal error</b>: Allowed memory size`, portal.Unknown, "-", true},
		{"503 page", registerOne, 503, `<h1>Service Temporarily Unavailable</h1>`, portal.Unknown, "-", true},
		{"200 page", registerOne, 200, `<html><body>Log in</body></html>`, portal.Unknown, "not as Bitrix24's REST API", false},
		{"200 empty", registerOne, 200, ``, portal.Unknown, "not as Bitrix24's REST API", false},
		{"200 without result", registerOne, 200, `{"time":{}}`, portal.Unknown, "-", false},
		{"200 list", registerOne, 200, `[]`, portal.Unknown, "not as", false},
		{"404 page", profile, 404, `<h1>Not Found</h1>`, portal.Access, "check bitrix24.webhook", false},
		{"403 page", profile, 403, `<h1>Forbidden</h1>`, portal.Access, "address is allowed", false},
		{"413 page", registerOne, 413, `<h1>413 Request Entity Too Large</h1>`, portal.Refused, "-", false},
		{"408 page", registerOne, 408, `<h1>Request Timeout</h1>`, portal.Unknown, "-", true},
		{"wrong webhook", profile, 401, `{"error":"INVALID_CREDENTIALS","error_description":"Invalid request credentials"}`, portal.Access, "make a new one", false},
		{"wrong webhook 403", profile, 403, `{"error":"INVALID_CREDENTIALS"}`, portal.Access, "make a new one", false},
		{"no auth", profile, 401, `{"error":"NO_AUTH_FOUND","error_description":"Wrong authorization data"}`, portal.Access, "make a new one", false},
		{"expired", profile, 401, `{"error":"expired_token"}`, portal.Access, "make a new one", false},
		{"invalid token", profile, 401, `{"error":"invalid_token"}`, portal.Access, "make a new one", false},
		{"inactive", profile, 401, `{"error":"authorization_error","error_description":"Unable to authorize user"}`, portal.Access, "make a new one", false},
		{"scope", statistics, 401, `{"error":"insufficient_scope"}`, portal.Access, "telephony, user, crm", false},
		{"scope in capitals", statistics, 403, `{"error":"INSUFFICIENT_SCOPE"}`, portal.Access, "telephony, user, crm", false},
		{"user access", profile, 403, `{"error":"user_access_error"}`, portal.Access, "administrator", false},
		{"statistics", statistics, 403, `{"error":"ACCESS_DENIED","error_description":"Access denied!"}`, portal.Access, "call statistics", false},
		{"statistics, no code", statistics, 400, `{"error":"","error_description":"Access denied!"}`, portal.Access, "call statistics", false},
		{"denied", employees, 403, `{"error":"ACCESS_DENIED","error_description":"Access denied!"}`, portal.Access, "administrator", false},
		{"plan", statistics, 403, `{"error":"ACCESS_DENIED","error_description":"REST API is available only on commercial plans"}`, portal.Access, "plan", false},
		{"application", profile, 400, `{"error":"ACCESS_DENIED","error_description":"Access denied! Application context required"}`, portal.Access, "local app", false},
		{"auth type", attach, 403, `{"error":"WRONG_AUTH_TYPE","error_description":"Current authorization type is denied"}`, portal.Access, "local app", false},
		{"deleted portal", profile, 500, `{"error":"PORTAL_DELETED","error_description":"Portal was deleted"}`, portal.Access, "closed", false},
		{"payment", profile, 402, `{"error":"PAYMENT_REQUIRED"}`, portal.Access, "subscription", false},
		{"confirm", profile, 401, `{"error":"METHOD_CONFIRM_WAITING"}`, portal.Access, "confirm", false},
		{"confirm denied", profile, 403, `{"error":"METHOD_CONFIRM_DENIED"}`, portal.Access, "confirm", false},
		{"no method", attach, 404, `{"error":"ERROR_METHOD_NOT_FOUND","error_description":"Method not found!"}`, portal.Access, "telephony module", false},
		{"https", profile, 400, `{"error":"INVALID_REQUEST","error_description":"Https required."}`, portal.Access, "https://", false},
		{"manifest", profile, 404, `{"error":"ERROR_MANIFEST_IS_NOT_AVAILABLE"}`, portal.Refused, "-", false},
		{"no row", attach, 400, `{"error":"","error_description":"Call is not found in the statistic table. It looks like it is not finished yet."}`, portal.NotFound, "finish it first", false},
		{"extension", attach, 400, `{"error":"ERROR_CORE","error_description":"Wrong file extension. Only wav and mp3 are allowed"}`, portal.Refused, ".mp3", false},
		{"no drive", attach, 400, `{"error":"","error_description":"Disk module is not installed"}`, portal.Access, "Drive", false},
		{"no folder", attach, 400, `{"error":"","error_description":"Could not create shared folder for call records"}`, portal.Access, "Drive", false},
		{"drive full", attach, 400, `{"error":"","error_description":"Disk resource exhausted."}`, portal.DiskFull, "free some space", false},
		{"quota", attach, 400, `{"error":"ERROR_CORE","error_description":"The disk QUOTA is exceeded"}`, portal.DiskFull, "free some space", false},
		{"cannot save", attach, 400, `{"error":"ERROR_COULD_NOT_SAVE_FILE","error_description":"Could not save file"}`, portal.Retryable, "-", false},
		{"text as code", attach, 400, `{"error":"Access denied"}`, portal.Access, "administrator", false},
		{"unheard of", attach, 400, `{"error":"ERROR_CORE","error_description":"Something new"}`, portal.Refused, "-", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := setup(t, bitrix24.Config{Transport: script(failing(test.status, test.body)), RetryFor: 1})
			e := portalError(t, test.do(c))
			if e.Class != test.class || e.InFlight != test.inFlight || e.Status != test.status {
				t.Errorf("got class %s, in flight %t, status %d (%v); want %s, %t, %d",
					e.Class, e.InFlight, e.Status, e, test.class, test.inFlight, test.status)
			}
			if test.hint == "-" && e.Hint != "" || test.hint != "-" && !strings.Contains(e.Hint, test.hint) {
				t.Errorf("got hint %q, want %q in it", e.Hint, test.hint)
			}
			if (e.Class == portal.OperatingTime) == e.Until.IsZero() {
				t.Errorf("class %s has until %s", e.Class, e.Until)
			}
		})
	}
}

// TestErrorsOfCommands gives errors of register and finish inside a batch, where no HTTP status helps.
func TestErrorsOfCommands(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code, text string
		class      portal.Class
		hint       string
	}{
		{"ERROR_CORE", "User is not found or is not active", portal.NoUser, "employees.map"},
		{"", "User is not found or is not active.", portal.NoUser, "employees.map"},
		{"", "USER IS NOT FOUND or is not active", portal.NoUser, "employees.map"},
		{"ERROR_CORE", "USER_ID or USER_PHONE_INNER should be set", portal.NoUser, "employees.map"},
		{"ERROR_CORE", "Call is not found (call should be registered prior to finishing)", portal.NotFound, "no such live call"},
		{"ERROR_CORE", "Unsupported phone number format", portal.Refused, "cannot read this number"},
		{"ERROR_CORE", "Unknown TYPE", portal.Refused, ""},
		{"ERROR_CORE", "CALL_START_DATE should be in the ISO-8601 format", portal.Refused, ""},
		{"ERROR_CORE", "Unexpected database error", portal.Refused, "longer than 64"},
		{"INVALID_ARGUMENT", "CALL_ID must be a string", portal.Refused, ""},
		{"WRONG_AUTH_TYPE", "Current authorization type is denied for this method", portal.Access, "local app"},
		{"OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit.", portal.OperatingTime, ""},
		{"ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", portal.Refused, ""},
		{"ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", portal.Refused, ""},
		{"INTERNAL_SERVER_ERROR", "Internal server error", portal.Unknown, ""},
		{"insufficient_scope", "The request requires higher privileges than provided", portal.Access, "scopes"},
		{"", "Nobody has seen this", portal.Refused, ""},
	} {
		t.Run(test.code+" "+test.text, func(t *testing.T) {
			t.Parallel()
			refusal, err := json.Marshal(map[string]string{"error": test.code, "error_description": test.text})
			if err != nil {
				t.Fatal(err)
			}
			literal := `{"error":"ERROR_CORE","error_description":"Call is not found"}`
			for _, where := range []struct {
				what, body string
				registered bool
			}{
				{"register", fmt.Sprintf(`{"result":{"result":[],"result_error":{"r0":%s,"r0f":%s}}}`, refusal, literal), false},
				{"finish", fmt.Sprintf(`{"result":{"result":{"r0":{"CALL_ID":"c1"}},"result_error":{"r0f":%s}}}`, refusal), true},
			} {
				c := setup(t, bitrix24.Config{Transport: script(ok(where.body))})
				got, err := c.RegisterFinish(context.Background(), []portal.Call{call("1")})
				if err != nil || len(got) != 1 {
					t.Fatalf("got %v, %v; want one outcome", got, err)
				}
				e := portalError(t, got[0].Err)
				if e.Class != test.class || e.Code != test.code || e.Text != test.text || !strings.HasSuffix(e.Method, where.what) {
					t.Errorf("%s: got class %s of %+v, want %s", where.what, e.Class, e, test.class)
				}
				if test.hint == "" && e.Hint != "" || !strings.Contains(e.Hint, test.hint) {
					t.Errorf("%s: got hint %q, want %q in it", where.what, e.Hint, test.hint)
				}
				if got[0].Registered != where.registered {
					t.Errorf("%s refused: got registered %t, want %t", where.what, got[0].Registered, where.registered)
				}
			}
		})
	}
}

// TestRedirectIsNotFollowed has redirects that are none of a renamed portal.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		location, hint string
	}{
		{"https://new.example/login/?to=batch.json", "new.example"},
		{"http://new.example/rest/7/" + code + "/batch.json", "new.example"},
		{"http://127.0.0.1/rest/7/" + code + "/batch.json", "127.0.0.1"},
		{"https://u:p@new.example/rest/7/" + code + "/batch.json", "new.example"},
		{"/login/?code=" + code, "check bitrix24.webhook"},
		{"", "check bitrix24.webhook"},
		{"::not an address", "check bitrix24.webhook"},
	} {
		s := script(reply{status: 302, body: "moved to " + test.location, header: http.Header{"Location": {test.location}}})
		e := portalError(t, registerOne(setup(t, bitrix24.Config{Transport: s})))
		if e.Class != portal.Access || !strings.Contains(e.Hint, test.hint) || len(s.requests()) != 1 {
			t.Errorf("%q: got %s %q after %d requests; want access_denied with %q after one", test.location, e.Class, e.Hint, len(s.requests()), test.hint)
		}
	}
}

// TestPortalQuotesTheAddress has a server that writes the address it was asked for into its answers, as web servers do.
func TestPortalQuotesTheAddress(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"<p>The requested URL /rest/7/" + code + "/profile.json was not found</p>",
		`{"error":"/rest/7/` + code + `","error_description":"no ` + code + ` here"}`,
	} {
		e := portalError(t, profile(setup(t, bitrix24.Config{Transport: script(failing(404, body))})))
		if !strings.Contains(e.Error(), "***") {
			t.Errorf("got %q, want the words with *** in them", e)
		}
	}
}
