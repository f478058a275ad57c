package bitrix24

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// MaxCalls is how many calls RegisterFinish takes at once: each is two commands of a batch.
const MaxCalls = maxCommands / 2

// MaxEndings is how many calls FinishAll takes at once.
const MaxEndings = maxCommands

// Lengths that the portal's tables hold. A longer value is accepted by register and refused by finish, and leaves a call nobody can end.
const (
	maxExternalID = 64
	maxPhone      = 20
	maxLine       = 50
)

// RegisterFinish registers and finishes up to MaxCalls calls in one request, in their order, without a card and without a message in the
// chat. It gives one Outcome for each call. An error is that of the whole request, with no Outcomes: its class holds for every call, and
// when it is portal.Unknown any of them may have been registered, finished, or neither.
//
// It is not idempotent: the portal makes a new call each time, except within half an hour of the start of an unfinished one.
func (c *Client) RegisterFinish(ctx context.Context, calls []portal.Call) ([]portal.Outcome, error) {
	if len(calls) > MaxCalls {
		return nil, fmt.Errorf("register %d calls: at most %d at once", len(calls), MaxCalls)
	}
	outcomes := make([]portal.Outcome, len(calls))
	var cs commands
	var sent []int
	for i, call := range calls {
		if e := unfit(methodRegister, call); e != nil {
			outcomes[i].Err = e
			continue
		}
		key := "r" + strconv.Itoa(i)
		cs = append(cs,
			command{key, methodRegister, registration(call)},
			command{key + "f", methodFinish, ending("$result["+key+"][CALL_ID]", call)})
		sent = append(sent, i)
	}
	replies, err := c.write(ctx, cs)
	if err != nil {
		return nil, err
	}
	for n, i := range sent {
		outcomes[i] = c.outcome(replies[2*n], replies[2*n+1])
	}
	return outcomes, nil
}

// FinishAll finishes up to MaxEndings calls that are registered already, in one request. Its answers are as those of RegisterFinish;
// Registered is false when the portal does not know the call (any more), which is also how it answers for a call finished before.
func (c *Client) FinishAll(ctx context.Context, endings []portal.Ending) ([]portal.Outcome, error) {
	if len(endings) > MaxEndings {
		return nil, fmt.Errorf("finish %d calls: at most %d at once", len(endings), MaxEndings)
	}
	outcomes := make([]portal.Outcome, len(endings))
	var cs commands
	var sent []int
	for i, end := range endings {
		outcomes[i] = portal.Outcome{Finished: portal.Finished{CallID: end.CallID}, Registered: true}
		if end.Call.UserID <= 0 {
			outcomes[i].Err = unfit(methodFinish, end.Call)
			continue
		}
		cs = append(cs, command{"f" + strconv.Itoa(i), methodFinish, ending(string(end.CallID), end.Call)})
		sent = append(sent, i)
	}
	replies, err := c.write(ctx, cs)
	if err != nil {
		return nil, err
	}
	for n, i := range sent {
		o := &outcomes[i]
		if e := c.finished(replies[n], &o.Finished); e != nil {
			o.Err, o.Registered = e, e.Class != portal.NotFound
		}
	}
	return outcomes, nil
}

// write sends commands that write. The batch as a whole is repeated only while the portal says that it did nothing.
func (c *Client) write(ctx context.Context, cs commands) ([]reply, error) {
	if len(cs) == 0 {
		return nil, nil
	}
	var replies []reply
	err := c.repeat(ctx, writing, faultTries, func() error {
		var err error
		replies, err = c.sendBatch(ctx, cs)
		return err
	})
	return replies, err
}

// unfit refuses what the portal would take at register and refuse at finish, or misread.
func unfit(method string, call portal.Call) *portal.Error {
	e := &portal.Error{Class: portal.Refused, Method: method}
	switch {
	case call.UserID <= 0:
		e.Class, e.Text, e.Hint = portal.NoUser, "no employee to register the call for", hintUser
	case call.Phone == "":
		e.Text = "no phone number"
	case len(call.Phone) > maxPhone:
		e.Text = fmt.Sprintf("the phone number has %d characters, the portal holds %d", len(call.Phone), maxPhone)
	case call.ExternalID == "" || len(call.ExternalID) > maxExternalID:
		e.Text = fmt.Sprintf("the external id has %d bytes, the portal holds 1 to %d", len(call.ExternalID), maxExternalID)
	case call.Start.IsZero():
		e.Text = "no start time"
	default:
		return nil
	}
	return e
}

func registration(call portal.Call) wire.Params {
	p := wire.Params{
		"USER_ID":          cmp.Or(call.RegisterUserID, call.UserID),
		"PHONE_NUMBER":     call.Phone,
		"TYPE":             int(call.Type),
		"CALL_START_DATE":  call.Start.Format(time.RFC3339),
		"CRM_CREATE":       0,
		"SHOW":             0,
		"ADD_TO_CHAT":      0,
		"EXTERNAL_CALL_ID": call.ExternalID,
	}
	if call.CreateCRM {
		p["CRM_CREATE"] = 1
	}
	if call.Line != "" {
		line := []rune(call.Line)
		p["LINE_NUMBER"] = string(line[:min(len(line), maxLine)]) // as the portal itself would cut it
	}
	return p
}

func ending(id string, call portal.Call) wire.Params {
	return wire.Params{
		"CALL_ID":     id,
		"USER_ID":     call.UserID,
		"DURATION":    call.Duration,
		"STATUS_CODE": string(call.Status),
		"ADD_TO_CHAT": 0,
	}
}

type registered struct {
	CallID    wire.Text       `json:"CALL_ID"`
	LeadError json.RawMessage `json:"LEAD_CREATION_ERROR"`
}

type finished struct {
	ID       wire.Number                 `json:"ID"`
	CallID   wire.Text                   `json:"CALL_ID"`
	Activity wire.Number                 `json:"CRM_ACTIVITY_ID"`
	Errors   wire.Table[json.RawMessage] `json:"ERRORS"`
}

// outcome puts together what register and finish of one call answered. After a refused register the portal runs finish with the
// reference as it is written, which finds no call: that error says nothing.
func (c *connection) outcome(register, finish reply) portal.Outcome {
	if register.err != nil {
		return portal.Outcome{Err: register.err}
	}
	var r wire.Object[registered]
	if err := json.Unmarshal(register.result, &r); err != nil || r.V.CallID == "" {
		return portal.Outcome{Err: c.puzzled(methodRegister, "it has no CALL_ID", err)}
	}
	o := portal.Outcome{Registered: true, Finished: portal.Finished{CallID: portal.CallID(r.V.CallID)}}
	if e := c.finished(finish, &o.Finished); e != nil {
		o.Err = e
		return o
	}
	if o.Finished.ActivityID == 0 && o.Finished.CRMNote == "" {
		o.Finished.CRMNote = wire.Words(r.V.LeadError)
	}
	return o
}

// finished reads the reply of finish into f.
func (c *connection) finished(r reply, f *portal.Finished) *portal.Error {
	if r.err != nil {
		return r.err
	}
	var got wire.Object[finished]
	if err := json.Unmarshal(r.result, &got); err != nil || got.V.CallID == "" {
		return c.puzzled(methodFinish, "it has no CALL_ID", err)
	}
	if id := portal.CallID(got.V.CallID); id != f.CallID {
		return c.puzzled(methodFinish, fmt.Sprintf("it tells of call %s in place of %s", id, f.CallID), nil)
	}
	f.StatID, f.ActivityID = int64(got.V.ID), int64(got.V.Activity)
	if f.ActivityID == 0 {
		f.CRMNote = wire.Words(got.V.Errors["ACTIVITY_CREATION"])
	}
	return nil
}
