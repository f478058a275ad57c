package jobs

import (
	"context"
	"fmt"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// LinePortal keeps the external lines of our application.
type LinePortal interface {
	Lines(ctx context.Context) ([]portal.Line, error)
	// PutLines makes lines, or gives those that are there already their name and setting, and tells what became of each.
	PutLines(ctx context.Context, lines []portal.Line) ([]error, error)
}

// Lines brings the wanted lines into the portal and gives those that it has the wanted name and setting. It deletes none: calls hang on
// them. It is idempotent, and asks one question when both sides agree.
//
// Lines are for the portal's analytics, calls do without: what the portal refuses is warned of, not returned. An error says that the portal
// cannot be reached, or that ctx is done.
func Lines(ctx context.Context, p LinePortal, want []portal.Line, log *logrus.Entry) error {
	if len(want) == 0 {
		return nil
	}
	have, err := p.Lines(ctx)
	if err != nil {
		return linesRefused(ctx, log, fmt.Errorf("read lines of the portal: %w", err))
	}
	changes := reconcile.DiffLines(want, have)
	if len(changes) == 0 {
		return nil
	}
	lines := make([]portal.Line, len(changes))
	for i, change := range changes {
		lines[i] = change.Line
	}
	refused, err := p.PutLines(ctx, lines)
	if err != nil {
		return linesRefused(ctx, log, fmt.Errorf("put %d lines into the portal: %w", len(lines), err))
	}
	for i, change := range changes {
		entry := log.WithField("line", change.Line.Number)
		if refused[i] != nil {
			entry.WithError(refused[i]).Warn("the portal does not take a line; calls go on without it")
			continue
		}
		entry.WithFields(logrus.Fields{"name": change.Line.Name, "reason": change.Reason}).Info("line brought into the portal")
	}
	return nil
}

// linesRefused warns of what the portal does not allow; errors that no call would survive either are given back.
func linesRefused(ctx context.Context, log *logrus.Entry, err error) error {
	if ctx.Err() != nil || portal.ClassOf(err) == portal.Unreachable {
		return err
	}
	log.WithError(err).Warn("lines of the configuration are not kept in step with the portal, which needs a local application (bitrix24.app); calls go on without")
	return nil
}
