package bitrix24

import (
	"strings"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// Names of the methods that the client calls.
const (
	methodBatch     = "batch"
	methodRegister  = "telephony.externalCall.register"
	methodFinish    = "telephony.externalCall.finish"
	methodAttach    = "telephony.externalCall.attachRecord"
	methodUpload    = "upload" // no method of its own: the POST to an uploadUrl
	methodStatistic = "voximplant.statistic.get"
	methodUsers     = "user.get"
	methodProfile   = "profile"
	methodTime      = "server.time"

	methodShow         = "telephony.externalCall.show"
	methodHide         = "telephony.externalCall.hide"
	methodSearch       = "telephony.externalCall.searchCrmEntities"
	methodLines        = "telephony.externalLine.get"
	methodLineAdd      = "telephony.externalLine.add"
	methodLineUpdate   = "telephony.externalLine.update"
	methodLineDelete   = "telephony.externalLine.delete"
	methodItemUpdate   = "crm.item.update"
	methodApp          = "app.info"
	methodScope        = "scope"
	methodBind         = "event.bind"
	methodBindings     = "event.get"
	methodUnbind       = "event.unbind"
	methodOfflineGet   = "event.offline.get"
	methodOfflineClear = "event.offline.clear"
)

// Hints, what a person can do.
const (
	hintWebhook = "the webhook is wrong or was deleted: make a new one in Bitrix24 under Developer resources, Other, Inbound webhook, " +
		"with the scopes telephony, user, crm"
	hintScope   = "edit the webhook in Bitrix24 and give it the scopes telephony, user, crm"
	hintStats   = "the owner of the webhook needs the right to view the call statistics of all employees (Telephony, Access permissions)"
	hintApp     = "this portal takes telephony from applications only: use a local app (bitrix24.app) in place of the webhook"
	hintPlan    = "the portal's plan has no REST API: a commercial plan with the Market subscription is needed"
	hintRight   = "the owner of the webhook lacks a right for this: make the webhook as an administrator"
	hintSupport = "the REST API of the portal is blocked: its owner must write to Bitrix24 support"
	hintMethod  = "the portal does not know this method: install its telephony module, or update a self-hosted portal"
	hintGone    = "the portal was closed or deleted"
	hintUser    = "the employee is dismissed or does not exist: correct employees.map or employees.fallback"
	hintFinish  = "the portal has no such live call: it was finished before, or is older than 30 days"
	hintNoRow   = "the portal has no finished call of this id: finish it first"
	hintPhone   = "the portal cannot read this number"
	hintTooLong = "usually a number longer than 20 or an external id longer than 64 characters"
	hintExt     = "the file name must end in .mp3 or .wav, in lower case"
	hintDisk    = "the portal's Drive is full: free some space or extend the plan"
	hintDrive   = "install the Drive module in the portal and let the webhook's owner use it"
	hintHTTPS   = "write the webhook with https://"
	hintConfirm = "an administrator of the portal must confirm this method for the webhook"
	hintPay     = "the subscription of the portal has ended"
	hintNoREST  = "the address answers, but not as Bitrix24's REST API: check bitrix24.webhook and any proxy on the way"
	hintBlocked = "something before the portal refuses the request: check whether this machine's address is allowed there"
	hintEvent   = "the portal does not know this event, or shows it only to applications with the scope telephony: edit the local app's scopes"
	hintCRM     = "switch the CRM of the portal on"
	hintInstall = "open the local app in Bitrix24 (Developer resources, Integrations) and save it again while sverka serve runs, so that Bitrix24 sends " +
		"its tokens to <http.public_url>/b24/install"
	hintAppGone  = "the portal does not take the local app any more: see that it exists and its owner is an active employee, then " + hintInstall
	hintAppScope = "edit the local app in Bitrix24, give it the scopes telephony, user, crm, and save it"
	hintAppRight = "the administrator who installed the local app lacks a right for this: let another one install it"
	hintAppStats = "whoever installed the local app needs the right to view the call statistics of all employees (Telephony, Access permissions)"
	hintFetch    = "the portal could not fetch the recording from its address"
)

// Descriptions that mean that what was asked for is so already.
const (
	textLineExists = "line already exists"
	textNoLine     = "could not find line with number"
)

// refusal is one line of the table of errors. Empty members match everything; text is a part of the description in lower case.
type refusal struct {
	code, method, text string
	class              portal.Class
	hint               string
}

// refusals is every error that the portal documents, or is known to send, for the methods used here. The first match wins: rules on
// the code that need more than the code come before the plain rule of that code, and rules on the description, for the codes that say
// nothing ("", ERROR_CORE), come last.
var refusals = []refusal{
	{code: "QUERY_LIMIT_EXCEEDED", class: portal.RateLimited},
	{code: "OPERATION_TIME_LIMIT", class: portal.OperatingTime},
	{code: "OVERLOAD_LIMIT", class: portal.Access, hint: hintSupport},
	{code: "INTERNAL_SERVER_ERROR", class: portal.Unknown},
	{code: "ERROR_UNEXPECTED_ANSWER", class: portal.Unknown},

	{code: "expired_token", class: portal.Access, hint: hintWebhook},
	{code: "invalid_token", class: portal.Access, hint: hintWebhook},
	{code: "NO_AUTH_FOUND", class: portal.Access, hint: hintWebhook},
	{code: "INVALID_CREDENTIALS", class: portal.Access, hint: hintWebhook},
	{code: "authorization_error", class: portal.Access, hint: hintWebhook},
	{code: "APPLICATION_NOT_FOUND", class: portal.Access, hint: hintWebhook},
	{code: "insufficient_scope", class: portal.Access, hint: hintScope},
	{code: "user_access_error", class: portal.Access, hint: hintRight},
	{code: "ACCESS_DENIED", text: "commercial plan", class: portal.Access, hint: hintPlan},
	{code: "ACCESS_DENIED", text: "application context", class: portal.Access, hint: hintApp},
	{code: "ACCESS_DENIED", method: methodStatistic, class: portal.Access, hint: hintStats},
	{code: "ACCESS_DENIED", class: portal.Access, hint: hintRight},
	{code: "WRONG_AUTH_TYPE", class: portal.Access, hint: hintApp},
	{code: "METHOD_CONFIRM_WAITING", class: portal.Access, hint: hintConfirm},
	{code: "METHOD_CONFIRM_DENIED", class: portal.Access, hint: hintConfirm},
	{code: "PAYMENT_REQUIRED", class: portal.Access, hint: hintPay},
	{code: "PORTAL_DELETED", class: portal.Access, hint: hintGone},
	{code: "ERROR_METHOD_NOT_FOUND", class: portal.Access, hint: hintMethod},
	{code: "INVALID_REQUEST", text: "https required", class: portal.Access, hint: hintHTTPS},

	{code: "INVALID_REQUEST", class: portal.Refused},
	{code: "ERROR_MANIFEST_IS_NOT_AVAILABLE", class: portal.Refused},
	{code: "ERROR_BATCH_LENGTH_EXCEEDED", class: portal.Refused},
	{code: "ERROR_BATCH_METHOD_NOT_ALLOWED", class: portal.Refused},
	{code: "ERROR_COULD_NOT_SAVE_FILE", class: portal.Retryable},
	{code: "ERROR_EVENT_NOT_FOUND", class: portal.Access, hint: hintEvent},
	{code: "allowed_only_intranet_user", class: portal.Access, hint: hintRight},
	{code: "DISK_QUOTA_EXCEEDED", class: portal.DiskFull, hint: hintDisk},

	{text: "call is not found in the statistic table", class: portal.NotFound, hint: hintNoRow},
	{text: "call is not found", class: portal.NotFound, hint: hintFinish},
	{text: "user is not found or is not active", class: portal.NoUser, hint: hintUser},
	{text: "user_id or user_phone_inner should be set", class: portal.NoUser, hint: hintUser},
	{text: "unsupported phone number format", class: portal.Refused, hint: hintPhone},
	{text: "unknown type", class: portal.Refused},
	{text: "call_start_date should be in the iso-8601 format", class: portal.Refused},
	{text: "call_id must be a string", class: portal.Refused},
	{text: "unexpected database error", class: portal.Refused, hint: hintTooLong},
	{text: "required parameters are not set", class: portal.Refused},
	{text: "file name is empty", class: portal.Refused, hint: hintExt},
	{text: "wrong file extension", class: portal.Refused, hint: hintExt},
	{text: "file content is empty", class: portal.Refused},
	{text: "file content is not properly encoded", class: portal.Refused},
	{text: "server returns http error code", class: portal.Retryable, hint: hintFetch},
	{text: "disk module is not installed", class: portal.Access, hint: hintDrive},
	{text: "could not create shared folder", class: portal.Access, hint: hintDrive},
	{text: "disk resource exhausted", class: portal.DiskFull, hint: hintDisk},
	{text: "crm is not installed", class: portal.Access, hint: hintCRM},
	{text: "phone_number is empty", class: portal.Refused},
	{text: "number should not be empty", class: portal.Refused},
	{text: textNoLine, class: portal.Refused},
	{text: textLineExists, class: portal.Refused},
	{text: "there are no fields to update", class: portal.Refused},
	{text: "quota", class: portal.DiskFull, hint: hintDisk},
	{text: "not enough disk space", class: portal.DiskFull, hint: hintDisk},
	{text: "not enough free space", class: portal.DiskFull, hint: hintDisk},
	{text: "could not save file", class: portal.Retryable},
	{text: "available only on commercial plans", class: portal.Access, hint: hintPlan},
	{text: "access denied", method: methodStatistic, class: portal.Access, hint: hintStats},
	{text: "access denied", class: portal.Access, hint: hintRight},
	{text: "method not found", class: portal.Access, hint: hintMethod},
}

func (r refusal) matches(code, method, text string) bool {
	return (r.code == "" || strings.EqualFold(r.code, code)) && (r.method == "" || r.method == method) && strings.Contains(text, r.text)
}

// refuse makes the error of an answer that tells of one. status is 0 for a command inside a batch.
//
// The code decides, then the description, and the HTTP status only when neither is known: statuses differ between versions of the
// portal, and between the portal and its documentation.
func (c *connection) refuse(method string, status int, code, description string, t wire.Timing, now time.Time) *portal.Error {
	code, description = strings.TrimSpace(code), strings.TrimSpace(description)
	lower := strings.ToLower(strings.TrimRight(description, ". "))
	if lower == "" {
		lower = strings.ToLower(code) // some methods put the text itself where the code should be
	}
	e := &portal.Error{
		Class: classOfStatus(status), Method: method, Status: status,
		Code: c.access.redactor().Replace(code), Text: c.access.redactor().Replace(description),
		InFlight: status == 502 || status == 504,
	}
	for _, r := range refusals {
		if r.matches(code, method, lower) {
			e.Class, e.Hint = r.class, c.access.mend(r.hint)
			break
		}
	}
	switch e.Class {
	case portal.OperatingTime:
		e.Until = c.operating.Block(method, t.Reset(), now)
		e.InFlight = false
	case portal.Unknown:
	default:
		e.InFlight = false
	}
	return e
}

// classOfStatus says what an HTTP status alone means for a request.
func classOfStatus(status int) portal.Class {
	switch {
	case status == 401 || status == 403 || status == 402:
		return portal.Access
	case status == 408:
		return portal.Unknown
	case status == 429:
		return portal.OperatingTime
	case status >= 500:
		return portal.Unknown
	}
	return portal.Refused
}

// noAnswer makes the error of a complete response that is none of the REST API: a page of a proxy, a login form, a PHP fault.
func (c *connection) noAnswer(method string, status int, body []byte) *portal.Error {
	e := &portal.Error{Method: method, Status: status, Text: c.access.redactor().Replace(wire.Page(body))}
	switch {
	case status >= 500:
		e.Class, e.InFlight = portal.Unknown, true
	case status == 408:
		e.Class, e.InFlight = portal.Unknown, true
	case status == 429:
		e.Class = portal.RateLimited
	case status == 401 || status == 403:
		e.Class, e.Hint = portal.Access, hintBlocked
	case status == 404 || status == 410:
		e.Class, e.Hint = portal.Access, hintNoREST
	case status >= 400:
		e.Class = portal.Refused
	default:
		e.Class, e.Hint = portal.Unknown, hintNoREST
	}
	if e.Text == "" {
		e.Text = "the answer is no JSON"
	}
	return e
}

// puzzled makes the error of an answer that is JSON but not what the method should give: nobody can say what was done.
func (c *connection) puzzled(method, what string, cause error) *portal.Error {
	e := &portal.Error{Class: portal.Unknown, Method: method, Text: "the portal's answer is not understood: " + what}
	if cause != nil {
		e.Err = c.access.redactor().cause(cause)
		e.Text += ": " + e.Err.Error()
	}
	return e
}
