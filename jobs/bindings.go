package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
)

// Binder is where the portal keeps which events it tells to whom. All of its methods are idempotent.
type Binder interface {
	EventGet(ctx context.Context) ([]portal.Binding, error)
	EventBind(ctx context.Context, b portal.Binding) error
	EventUnbind(ctx context.Context, b portal.Binding) (int, error)
}

// OnlineBindings are the events that the portal is to tell to a handler.
func OnlineBindings(handler string) []portal.Binding {
	return []portal.Binding{
		{Event: portal.EventClickToCall, Handler: handler},
		{Event: portal.EventCallback, Handler: handler},
		{Event: portal.EventUninstall, Handler: handler},
	}
}

// OfflineBindings are the events that the portal is to keep in its queue.
func OfflineBindings() []portal.Binding {
	return []portal.Binding{{Event: portal.EventClickToCall, Offline: true}, {Event: portal.EventCallback, Offline: true}}
}

const bindingsKey = "bindings"

// KeepBindings brings the portal's bindings in step with what is wanted. What it binds it remembers, and it takes away only what it bound,
// or what leads to the handler of a wanted binding: an application may have others, and they are left alone. It is idempotent.
func KeepBindings(ctx context.Context, p Binder, m Memory, want []portal.Binding, log *logrus.Entry) error {
	made, err := recallBindings(ctx, m)
	if err != nil {
		return err
	}
	have, err := p.EventGet(ctx)
	if err != nil {
		return fmt.Errorf("read which events the portal tells: %w", err)
	}
	// Remembered before they are bound: a crash in between leaves none that nobody knows.
	// An event of the queue that is there already may be somebody else's.
	kept := slices.DeleteFunc(slices.Clone(want), func(b portal.Binding) bool { return b.Offline && hasBinding(have, b) && !hasBinding(made, b) })
	if err := rememberBindings(ctx, m, append(slices.Clone(made), kept...)); err != nil {
		return err
	}
	var failed error
	for _, b := range want {
		if hasBinding(have, b) {
			continue
		}
		if err := p.EventBind(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("have the portal tell of %s: %w", b.Event, err))
			continue
		}
		log.WithFields(bindingFields(b)).Info("the portal tells of this event from now on")
	}
	for _, b := range have {
		ours := hasBinding(made, b) || !b.Offline && slices.ContainsFunc(want, func(w portal.Binding) bool { return w.Handler == b.Handler })
		if !ours || hasBinding(want, b) {
			continue
		}
		if _, err := p.EventUnbind(ctx, b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("have the portal tell no more of %s: %w", b.Event, err))
			kept = append(kept, b)
			continue
		}
		log.WithFields(bindingFields(b)).Info("the portal no longer tells of this event")
	}
	return errors.Join(failed, rememberBindings(ctx, m, kept))
}

func bindingFields(b portal.Binding) logrus.Fields {
	f := logrus.Fields{"event": b.Event}
	if b.Offline {
		f["queue"] = true
	} else {
		f["handler"] = b.Handler
	}
	return f
}

// hasBinding reports whether a binding is among others. Offline ones have no handler, whatever the portal keeps there.
func hasBinding(list []portal.Binding, b portal.Binding) bool {
	return slices.ContainsFunc(list, func(x portal.Binding) bool {
		return strings.EqualFold(x.Event, b.Event) && x.Offline == b.Offline && (b.Offline || x.Handler == b.Handler)
	})
}

func recallBindings(ctx context.Context, m Memory) ([]portal.Binding, error) {
	text, err := m.Recall(ctx, bindingsKey)
	if err != nil {
		return nil, fmt.Errorf("recall which events were bound: %w", err)
	}
	var list []portal.Binding
	if text == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("recall which events were bound: %w", err)
	}
	return list, nil
}

func rememberBindings(ctx context.Context, m Memory, list []portal.Binding) error {
	text, err := json.Marshal(list)
	if err == nil {
		err = m.Remember(ctx, bindingsKey, string(text))
	}
	if err != nil {
		return fmt.Errorf("remember which events are bound: %w", err)
	}
	return nil
}
