package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"sverka/internal/ledger"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
)

// lastWord is how long a request that writes may go on when sverka is asked to stop.
const lastWord = 6 * time.Second

// steadyPortal finishes a request that writes even when sverka is asked to stop, so that its outcome is known; after the stop it begins none.
type steadyPortal struct{ *bitrix24.Client }

func (p steadyPortal) RegisterFinish(ctx context.Context, calls []portal.Call) ([]portal.Outcome, error) {
	return steady(ctx, func(ctx context.Context) ([]portal.Outcome, error) { return p.Client.RegisterFinish(ctx, calls) })
}

func (p steadyPortal) FinishAll(ctx context.Context, endings []portal.Ending) ([]portal.Outcome, error) {
	return steady(ctx, func(ctx context.Context) ([]portal.Outcome, error) { return p.Client.FinishAll(ctx, endings) })
}

func (p steadyPortal) AttachFile(ctx context.Context, id portal.CallID, name string, size int64, open func() (io.ReadCloser, error)) (int64, error) {
	return steady(ctx, func(ctx context.Context) (int64, error) { return p.Client.AttachFile(ctx, id, name, size, open) })
}

// steady makes a request that is not cut off at once when ctx ends. One that has not begun by then did nothing, and says so.
func steady[T any](ctx context.Context, request func(context.Context) (T, error)) (result T, err error) {
	if err := ctx.Err(); err != nil {
		return result, &portal.Error{Class: portal.Unreachable, Method: "request", Err: fmt.Errorf("not sent: %w", err)}
	}
	going, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWord, cancel) })
	defer stop()
	return request(going)
}

// steadyLedger writes down what was done even when sverka is asked to stop.
type steadyLedger struct{ *sqlite.Ledger }

func (l steadyLedger) Save(ctx context.Context, changes ...ledger.Change) error {
	return l.Ledger.Save(context.WithoutCancel(ctx), changes...)
}
