package bitrix24

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// user is an employee as user.get and profile write him.
type user struct {
	ID       wire.Number `json:"ID"`
	Active   wire.Flag   `json:"ACTIVE"`
	Admin    wire.Flag   `json:"ADMIN"`
	Name     wire.Text   `json:"NAME"`
	LastName wire.Text   `json:"LAST_NAME"`
	Inner    wire.Text   `json:"UF_PHONE_INNER"`
	Mobile   wire.Text   `json:"PERSONAL_MOBILE"`
	Work     wire.Text   `json:"WORK_PHONE"`
}

func (u user) id() int64 { return int64(u.ID) }

func (u user) employee() portal.Employee {
	return portal.Employee{
		ID:     int(u.ID),
		Name:   strings.Join(strings.Fields(string(u.Name)+" "+string(u.LastName)), " "),
		Inner:  strings.TrimSpace(string(u.Inner)),
		Mobile: strings.TrimSpace(string(u.Mobile)),
		Work:   strings.TrimSpace(string(u.Work)),
		Active: bool(u.Active),
	}
}

// Profile gives the owner of the webhook, and whether he is an administrator. It needs no scope: the first question to ask a portal.
func (c *Client) Profile(ctx context.Context) (owner portal.Employee, admin bool, err error) {
	a, err := c.ask(ctx, methodProfile, wire.Params{})
	if err != nil {
		return portal.Employee{}, false, err
	}
	var got wire.Object[user]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return portal.Employee{}, false, c.puzzled(methodProfile, "the employee", err)
	}
	if got.V.ID <= 0 { // how the portal tells of a dismissed employee
		return portal.Employee{}, false, &portal.Error{
			Class: portal.Access, Method: methodProfile, Text: "the owner of the webhook is dismissed", Hint: hintWebhook,
		}
	}
	owner = got.V.employee()
	owner.Active = true
	return owner, bool(got.V.Admin), nil
}

// ServerTime gives the clock of the portal, in its own zone.
func (c *Client) ServerTime(ctx context.Context) (time.Time, error) {
	a, err := c.ask(ctx, methodTime, wire.Params{})
	if err != nil {
		return time.Time{}, err
	}
	var s wire.Text
	if err := json.Unmarshal(a.Result, &s); err != nil {
		return time.Time{}, c.puzzled(methodTime, "the time", err)
	}
	t, err := wire.Moment(string(s))
	if err != nil {
		return time.Time{}, c.puzzled(methodTime, "the time", err)
	}
	return t, nil
}

// Employees gives all users of the portal, dismissed ones too, in the order of their ids. Dismissed ones are shown only to a webhook of an
// administrator.
func (c *Client) Employees(ctx context.Context) ([]portal.Employee, error) {
	l := listing{
		method: methodUsers,
		sort:   wire.Params{"sort": "ID", "order": "ASC"},
		other: wire.Params{
			"ADMIN_MODE": 1,
			"select":     []string{"ID", "ACTIVE", "NAME", "LAST_NAME", "UF_PHONE_INNER", "PERSONAL_MOBILE", "WORK_PHONE"},
		},
	}
	var found []portal.Employee
	err := readAll(ctx, c, l, func(u user) error {
		found = append(found, u.employee())
		return nil
	})
	return found, err
}
