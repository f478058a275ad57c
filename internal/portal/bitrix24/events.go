package bitrix24

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// App is what the portal says of the local app that asks, and of its own plan.
type App struct {
	ID             string // REST_APP_ID of the statistics
	Installed      bool
	PaymentExpired bool
	License        string // the portal's plan, as ru_enterprise
	LicenseFamily  string
}

// Enterprise reports whether the portal's limits are the wider ones: its plan is named like ru_ent250 or enterprise.
func (a App) Enterprise() bool {
	words := strings.FieldsFunc(strings.ToLower(a.License+" "+a.LicenseFamily), func(r rune) bool { return r == '_' || r == ' ' || r == '-' })
	return slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, "ent") })
}

// AppInfo gives the local app. A webhook is answered with an error of class portal.Access.
func (c *Client) AppInfo(ctx context.Context) (App, error) {
	a, err := c.ask(ctx, methodApp, wire.Params{})
	if err != nil {
		return App{}, err
	}
	var got wire.Object[struct {
		ID        wire.Text `json:"ID"`
		Installed wire.Flag `json:"INSTALLED"`
		Expired   wire.Flag `json:"PAYMENT_EXPIRED"`
		License   wire.Text `json:"LICENSE"`
		Family    wire.Text `json:"LICENSE_FAMILY"`
	}]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return App{}, c.puzzled(methodApp, "the app", err)
	}
	v := got.V
	return App{
		ID: string(v.ID), Installed: bool(v.Installed), PaymentExpired: bool(v.Expired), License: string(v.License), LicenseFamily: string(v.Family),
	}, nil
}

// Scope gives the scopes that the webhook or the app has.
func (c *Client) Scope(ctx context.Context) ([]string, error) {
	a, err := c.ask(ctx, methodScope, wire.Params{})
	if err != nil {
		return nil, err
	}
	var got wire.List[string]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return nil, c.puzzled(methodScope, "the scopes", err)
	}
	return got, nil
}

// EventBind makes the portal tell of an event. A binding that is there already is no error: it is idempotent.
func (c *Client) EventBind(ctx context.Context, b portal.Binding) error {
	_, err := c.ask(ctx, methodBind, bindingParams(b))
	var e *portal.Error
	if errors.As(err, &e) && strings.EqualFold(e.Code, "ERROR_HANDLER_ALREADY_EXIST") {
		return nil
	}
	return err
}

// EventGet gives the bindings of this app, online and offline ones.
func (c *Client) EventGet(ctx context.Context) ([]portal.Binding, error) {
	a, err := c.ask(ctx, methodBindings, wire.Params{})
	if err != nil {
		return nil, err
	}
	var rows wire.List[wire.Object[struct {
		Event   wire.Text   `json:"event"`
		Handler wire.Text   `json:"handler"`
		User    wire.Number `json:"auth_type"`
		Offline wire.Flag   `json:"offline"`
	}]]
	if err := json.Unmarshal(a.Result, &rows); err != nil {
		return nil, c.puzzled(methodBindings, "the bindings", err)
	}
	bindings := make([]portal.Binding, 0, len(rows))
	for _, row := range rows {
		bindings = append(bindings, portal.Binding{
			Event: strings.ToUpper(string(row.V.Event)), Handler: string(row.V.Handler), UserID: int(row.V.User), Offline: bool(row.V.Offline),
		})
	}
	return bindings, nil
}

// EventUnbind takes a binding away and gives how many there were. It is idempotent.
func (c *Client) EventUnbind(ctx context.Context, b portal.Binding) (int, error) {
	a, err := c.ask(ctx, methodUnbind, bindingParams(b))
	if err != nil {
		return 0, err
	}
	var got wire.Object[struct {
		Count wire.Number `json:"count"`
	}]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return 0, c.puzzled(methodUnbind, "how many there were", err)
	}
	return int(got.V.Count), nil
}

// bindingParams always names the handler: the documentation demands it, and an offline event has an empty one.
func bindingParams(b portal.Binding) wire.Params {
	p := wire.Params{"event": b.Event, "handler": b.Handler, "event_type": "online"}
	if b.Offline {
		p["event_type"] = "offline"
	}
	if b.UserID > 0 {
		p["auth_type"] = b.UserID
	}
	return p
}

// OfflineGet reserves up to 50 events of the queue and gives them; they stay in the queue until OfflineClear confirms them. With the
// ProcessID of a package it gives that package's events again.
//
// A lost answer leaves a package reserved that nobody knows: the portal drops it after 30 days.
func (c *Client) OfflineGet(ctx context.Context, processID string) (portal.Package, error) {
	p := wire.Params{"clear": 0, "limit": pageSize, "order": wire.Params{"TIMESTAMP_X": "ASC"}}
	k := writing
	if processID != "" {
		p["process_id"], k = processID, reading
	}
	a, err := c.call(ctx, k, methodOfflineGet, p)
	if err != nil {
		return portal.Package{}, err
	}
	var got wire.Object[struct {
		ProcessID wire.Text `json:"process_id"`
		Events    wire.List[wire.Object[struct {
			ID      wire.Number     `json:"ID"`
			Name    wire.Text       `json:"EVENT_NAME"`
			At      wire.Text       `json:"TIMESTAMP_X"`
			Message wire.Text       `json:"MESSAGE_ID"`
			Data    json.RawMessage `json:"EVENT_DATA"`
		}]] `json:"events"`
	}]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return portal.Package{}, c.puzzled(methodOfflineGet, "the events", err)
	}
	pack := portal.Package{ProcessID: string(got.V.ProcessID)}
	for _, item := range got.V.Events {
		at, err := wire.Moment(string(item.V.At))
		if err != nil {
			return portal.Package{}, c.puzzled(methodOfflineGet, "the time of an event", err)
		}
		pack.Events = append(pack.Events, portal.OfflineEvent{
			ID: int64(item.V.ID), Name: strings.ToUpper(string(item.V.Name)), At: at, MessageID: string(item.V.Message), Data: item.V.Data,
		})
	}
	return pack, nil
}

// OfflineClear confirms a package, or these of its events, and takes them from the queue. It is idempotent.
func (c *Client) OfflineClear(ctx context.Context, processID string, messageIDs ...string) error {
	p := wire.Params{"process_id": processID}
	if len(messageIDs) > 0 {
		p["message_id"] = messageIDs
	}
	_, err := c.ask(ctx, methodOfflineClear, p)
	return err
}
