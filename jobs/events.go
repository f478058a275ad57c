package jobs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
)

// EventHandler does what the portal asks for. It may be asked for the same once more after a crash: CallID tells a click-to-call apart.
type EventHandler interface {
	ClickToCall(ctx context.Context, c portal.ClickToCall) error
	CallbackRequest(ctx context.Context, c portal.CallbackRequest) error
}

// ErrBadEvent says that an event does not hold what it should. It will not do so later either.
var ErrBadEvent = errors.New("event of the portal refused")

// repeatWindow is how long a happening is remembered, to know it again when it is delivered a second time.
const repeatWindow = 5 * time.Minute

// Events is where all events of the portal come in, by HTTP and from the queue. Each happening is worked on once.
type Events struct {
	handler EventHandler
	now     func() time.Time
	log     *logrus.Entry

	mu   sync.Mutex
	seen map[string]time.Time // by key; when it came in
}

// NewEvents makes the place where events come in.
func NewEvents(handler EventHandler, now func() time.Time, log *logrus.Entry) *Events {
	return &Events{handler: handler, now: now, log: log, seen: make(map[string]time.Time)}
}

// Receive works on one event. One that came in before is left alone, unless the work on it failed. What is not what it should be gives
// ErrBadEvent.
func (e *Events) Receive(ctx context.Context, event portal.Event) error {
	switch event.Name {
	case portal.EventClickToCall, portal.EventCallback:
	default:
		e.log.WithField("event", event.Name).Debug("event of the portal is not for us")
		return nil
	}
	key := event.Key()
	if !e.first(key) {
		e.log.WithField("event", event.Name).Debug("event of the portal was delivered again")
		return nil
	}
	err := e.handle(ctx, event)
	if err != nil {
		e.forget(key)
	}
	return err
}

func (e *Events) handle(ctx context.Context, event portal.Event) error {
	if event.Name == portal.EventClickToCall {
		c, err := event.ClickToCall()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadEvent, err)
		}
		return e.handler.ClickToCall(ctx, c)
	}
	c, err := event.CallbackRequest()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadEvent, err)
	}
	return e.handler.CallbackRequest(ctx, c)
}

// first reports whether a happening is new, and remembers it.
func (e *Events) first(key string) bool {
	now := e.now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for had, at := range e.seen {
		if now.Sub(at) >= repeatWindow {
			delete(e.seen, had)
		}
	}
	if _, ok := e.seen[key]; ok {
		return false
	}
	e.seen[key] = now
	return true
}

func (e *Events) forget(key string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.seen, key)
}

// Memory keeps short texts over a restart.
type Memory interface {
	// Recall gives what was remembered last; "" for nothing.
	Recall(ctx context.Context, key string) (string, error)
	// Remember keeps a text on the disk before it comes back.
	Remember(ctx context.Context, key, text string) error
}

// OfflineQueue is where the portal keeps events for who has no public address.
type OfflineQueue interface {
	// OfflineGet reserves the oldest events and gives them; with the id of a package it gives that package again.
	OfflineGet(ctx context.Context, processID string) (portal.Package, error)
	// OfflineClear takes events of a package from the queue; all of them when none is named.
	OfflineClear(ctx context.Context, processID string, messageIDs ...string) error
}

// EventReceiver works on one event.
type EventReceiver interface {
	Receive(ctx context.Context, e portal.Event) error
}

// Poller fetches events from the portal's queue.
//
// Events are reserved, worked on, and only then cleared, by the id of their package, which is remembered in between: a crash at any moment
// leaves them in the queue, and the next run goes on with that very package.
type Poller struct {
	Queue  OfflineQueue
	Events EventReceiver
	Memory Memory
	Every  time.Duration // between two questions
	Now    func() time.Time
	Log    *logrus.Entry
}

const (
	packageKey = "offline-package"
	// giveUp is how long the work on an event is tried again. Nobody waits any longer for a call that he asked for.
	giveUp = 15 * time.Minute
	// maxPause is the longest wait between two questions when the portal does not answer.
	maxPause = time.Minute
)

// Run asks until ctx is done. It tells of trouble when it begins and when it is over.
func (p *Poller) Run(ctx context.Context) error {
	pause, trouble := p.Every, false
	for ctx.Err() == nil {
		worked, err := p.RunOnce(ctx)
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil:
			if !trouble {
				p.Log.WithError(err).Warn("events of the portal's queue cannot be fetched; trying again")
			}
			trouble, pause = true, min(2*pause, maxPause)
		default:
			if trouble {
				p.Log.Info("events of the portal's queue are fetched again")
			}
			trouble, pause = false, p.Every
		}
		if worked > 0 {
			p.Log.WithField("events", worked).Debug("events of the portal's queue worked on")
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// RunOnce works on all that waits in the queue, and gives how many events that was. It is idempotent.
func (p *Poller) RunOnce(ctx context.Context) (worked int, err error) {
	for {
		held, err := p.Memory.Recall(ctx, packageKey)
		if err != nil {
			return worked, fmt.Errorf("recall the package of events in work: %w", err)
		}
		pack, err := p.Queue.OfflineGet(ctx, held)
		if err != nil {
			return worked, fmt.Errorf("fetch events of the portal's queue: %w", err)
		}
		if held != "" {
			pack.ProcessID = held
		}
		if len(pack.Events) == 0 || pack.ProcessID == "" {
			if held == "" {
				return worked, nil
			}
			// It was cleared, and the crash came before that was written down.
			if err := p.remember(ctx, ""); err != nil {
				return worked, err
			}
			continue
		}
		if err := p.remember(ctx, pack.ProcessID); err != nil {
			return worked, err
		}
		n, err := p.work(ctx, pack)
		worked += n
		if err != nil {
			return worked, err
		}
	}
}

func (p *Poller) remember(ctx context.Context, id string) error {
	if err := p.Memory.Remember(ctx, packageKey, id); err != nil {
		return fmt.Errorf("remember the package of events in work: %w", err)
	}
	return nil
}

// work works on one package and clears what is done. What could not be done stays, and is in the error.
func (p *Poller) work(ctx context.Context, pack portal.Package) (worked int, err error) {
	var done []string
	var failed error
	named := true
	for _, item := range pack.Events {
		if err := ctx.Err(); err != nil {
			failed = errors.Join(failed, err)
			break
		}
		if err := p.receive(ctx, item); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		worked++
		done, named = append(done, item.MessageID), named && item.MessageID != ""
	}
	switch {
	case failed != nil && (!named || len(done) == 0):
		return worked, failed // clearing without ids would take what is not done, too
	case !named:
		done = nil
	}
	// What was worked on is confirmed even when the service stops, so that it need not be done again.
	if err := p.Queue.OfflineClear(context.WithoutCancel(ctx), pack.ProcessID, done...); err != nil {
		return worked, errors.Join(failed, fmt.Errorf("confirm %d events of the portal's queue: %w", worked, err))
	}
	if failed != nil {
		return worked, failed
	}
	return worked, p.remember(context.WithoutCancel(ctx), "")
}

// receive works on one event. nil says that it need not come again: it is done, can never be, or nobody waits for it any more.
func (p *Poller) receive(ctx context.Context, item portal.OfflineEvent) error {
	log := p.Log.WithFields(logrus.Fields{"event": item.Name, "id": item.ID})
	event, err := item.Event()
	if err != nil {
		log.WithError(err).Warn("event of the portal could not be worked on")
		return nil
	}
	err = p.Events.Receive(ctx, event)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrBadEvent), p.Now().Sub(item.At) > giveUp && ctx.Err() == nil:
		log.WithError(err).Warn("event of the portal could not be worked on")
		return nil
	}
	return fmt.Errorf("event %d of the portal's queue, %s: %w", item.ID, item.Name, err)
}
