package bitrix24

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// Register registers one live call, for which show opens the card of its employee. FinishAll ends it.
//
// It is not idempotent: after portal.Unknown the call may be registered. Registered again within half an hour of its start, with the same
// employee, phone, line and external id, the portal gives the same live call.
func (c *Client) Register(ctx context.Context, call portal.Call, show bool) (portal.Registered, error) {
	if e := unfit(methodRegister, call); e != nil {
		return portal.Registered{}, e
	}
	p := registration(call)
	if show {
		p["SHOW"] = 1
	}
	a, err := c.call(ctx, writing, methodRegister, p)
	if err != nil {
		return portal.Registered{}, err
	}
	var got wire.Object[struct {
		registered
		Lead    wire.Number                    `json:"CRM_CREATED_LEAD"`
		Created wire.List[wire.Object[entity]] `json:"CRM_CREATED_ENTITIES"`
		entity
	}]
	if err := json.Unmarshal(a.Result, &got); err != nil || got.V.CallID == "" {
		return portal.Registered{}, c.puzzled(methodRegister, "it has no CALL_ID", err)
	}
	r := portal.Registered{CallID: portal.CallID(got.V.CallID), Client: got.V.known(), CRMNote: wire.Words(got.V.LeadError)}
	for _, item := range got.V.Created {
		if made := item.V.created(); made.ID > 0 {
			r.Created = append(r.Created, made)
		}
	}
	if lead := (portal.Entity{Type: portal.Lead, ID: int(got.V.Lead)}); lead.ID > 0 && !slices.Contains(r.Created, lead) {
		r.Created = append(r.Created, lead)
	}
	return r, nil
}

// entity is an object of the CRM as the telephony methods write it, under names that differ from place to place.
type entity struct {
	CRMType wire.Text   `json:"CRM_ENTITY_TYPE"`
	CRMID   wire.Number `json:"CRM_ENTITY_ID"`
	Type    wire.Text   `json:"ENTITY_TYPE"`
	ID      wire.Number `json:"ENTITY_ID"`
}

func (e entity) known() portal.Entity   { return asEntity(e.CRMType, e.CRMID) }
func (e entity) created() portal.Entity { return asEntity(e.Type, e.ID) }

func asEntity(t wire.Text, id wire.Number) portal.Entity {
	if t == "" || id <= 0 {
		return portal.Entity{}
	}
	return portal.Entity{Type: portal.EntityType(strings.ToUpper(string(t))), ID: int(id)}
}

// Show opens the card of a registered call for these employees. known is false when the portal has no such live call (any more). Showing
// a card twice is harmless.
func (c *Client) Show(ctx context.Context, id portal.CallID, users ...int) (known bool, err error) {
	return c.card(ctx, methodShow, id, users)
}

// Hide closes the card of a call for these employees; otherwise it is as Show.
func (c *Client) Hide(ctx context.Context, id portal.CallID, users ...int) (known bool, err error) {
	return c.card(ctx, methodHide, id, users)
}

func (c *Client) card(ctx context.Context, method string, id portal.CallID, users []int) (bool, error) {
	if len(users) == 0 {
		return false, fmt.Errorf("%s of call %s: no employee is named", method, id)
	}
	a, err := c.ask(ctx, method, wire.Params{"CALL_ID": string(id), "USER_ID": users})
	if err != nil {
		return false, err
	}
	var known wire.Flag
	if err := json.Unmarshal(a.Result, &known); err != nil {
		return false, c.puzzled(method, "whether it knows the call", err)
	}
	return bool(known), nil
}

// SearchCRM gives the contacts, leads and companies that have a phone number, in the portal's order: contacts, leads, companies.
func (c *Client) SearchCRM(ctx context.Context, phone string) ([]portal.Match, error) {
	a, err := c.ask(ctx, methodSearch, wire.Params{"PHONE_NUMBER": phone})
	if err != nil {
		return nil, err
	}
	var rows wire.List[wire.Object[struct {
		entity
		Name       wire.Text   `json:"NAME"`
		AssignedID wire.Number `json:"ASSIGNED_BY_ID"`
		AssignedBy wire.Object[struct {
			Inner   wire.Text `json:"USER_PHONE_INNER"`
			Work    wire.Text `json:"WORK_PHONE"`
			Mobile  wire.Text `json:"PERSONAL_MOBILE"`
			Workday wire.Text `json:"TIMEMAN_STATUS"`
		}] `json:"ASSIGNED_BY"`
	}]]
	if err := json.Unmarshal(a.Result, &rows); err != nil {
		return nil, c.puzzled(methodSearch, "its rows", err)
	}
	matches := make([]portal.Match, 0, len(rows))
	for _, row := range rows {
		found := row.V.known()
		if found.ID == 0 {
			return nil, c.puzzled(methodSearch, "a row without an object of the CRM", nil)
		}
		by := row.V.AssignedBy.V
		matches = append(matches, portal.Match{
			Entity: found, Name: strings.TrimSpace(string(row.V.Name)), Workday: string(by.Workday),
			AssignedTo: portal.Employee{
				ID: int(row.V.AssignedID), Inner: strings.TrimSpace(string(by.Inner)), Mobile: strings.TrimSpace(string(by.Mobile)),
				Work: strings.TrimSpace(string(by.Work)), Active: row.V.AssignedID > 0,
			},
		})
	}
	return matches, nil
}

// typeIDs are the numbers of entityTypeId.
var typeIDs = map[portal.EntityType]int{portal.Lead: 1, portal.Deal: 2, portal.Contact: 3, portal.Company: 4}

// CRMItemUpdate makes an employee responsible for an object of the CRM. Doing it twice is harmless.
func (c *Client) CRMItemUpdate(ctx context.Context, item portal.Entity, assignedTo int) error {
	typeID, ok := typeIDs[item.Type]
	if !ok || item.ID <= 0 || assignedTo <= 0 {
		return fmt.Errorf("assign %s %d to employee %d: not an object and an employee of the portal", item.Type, item.ID, assignedTo)
	}
	_, err := c.ask(ctx, methodItemUpdate, wire.Params{
		"entityTypeId": typeID, "id": item.ID, "fields": wire.Params{"assignedById": assignedTo},
	})
	return err
}
