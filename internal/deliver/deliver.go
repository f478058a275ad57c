package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// Portal is what a Deliverer needs of the portal.
type Portal interface {
	// RegisterFinish registers and finishes calls in one request, with an outcome for each. An error says that the request as a whole failed.
	RegisterFinish(ctx context.Context, calls []portal.Call) ([]portal.Outcome, error)
	// FinishAll finishes calls that are registered, in one request.
	FinishAll(ctx context.Context, endings []portal.Ending) ([]portal.Outcome, error)
	// StatisticsByExternalID gives the finished calls that carry one of these ids.
	StatisticsByExternalID(ctx context.Context, ids []string) ([]portal.Row, error)
}

// Ledger is what a Deliverer needs of the ledger.
type Ledger interface {
	Parts(ctx context.Context, site string, linkedIDs []string) ([]ledger.Part, error)
	Save(ctx context.Context, changes ...ledger.Change) error
}

// BatchSize is how many parts travel in one request: register and finish of 25 parts are the 50 commands that a batch may hold.
const BatchSize = 25

// Options are the bounds of a Deliverer. Zero values take the defaults.
type Options struct {
	// Grace is how long the portal may go on working on a request after its connection broke. A request whose outcome stays unknown is not
	// repeated before. A request may take 60 s in the cloud; a batch of ours takes a few. Default 20 s.
	Grace time.Duration
	// Attempts is how often a part that fails for the moment is tried in one run. Default 6.
	Attempts int
	// Backoff is the wait after the first failure for the moment; it doubles up to an hour. Default 1 s.
	Backoff time.Duration
	// Fallback is the user who takes the calls of an employee whom the portal refuses; 0 refuses them too.
	Fallback int
	// BatchCalls tells before each request how many parts it should carry, when the portal's speed is known; at most BatchSize, which is
	// the default.
	BatchCalls func() int
}

// Deliverer writes calls to the portal.
type Deliverer struct {
	portal Portal
	ledger Ledger
	opts   Options
	now    func() time.Time
	log    *logrus.Entry
}

// New makes a Deliverer.
func New(p Portal, l Ledger, opts Options, now func() time.Time, log *logrus.Entry) *Deliverer {
	if opts.Grace == 0 {
		opts.Grace = 20 * time.Second
	}
	if opts.Attempts == 0 {
		opts.Attempts = 6
	}
	if opts.Backoff == 0 {
		opts.Backoff = time.Second
	}
	size := opts.BatchCalls
	opts.BatchCalls = func() int {
		if size == nil {
			return BatchSize
		}
		return min(BatchSize, max(1, size()))
	}
	return &Deliverer{portal: p, ledger: l, opts: opts, now: now, log: log}
}

// Result tells what became of one part.
type Result struct {
	Want    reconcile.Want
	Part    ledger.Part
	Adopted bool // it was in the portal already
	Err     error
}

// Deliver brings the wanted parts into the portal, oldest first for each phone number, and tells of each part once when its fate is
// known. It returns nil when every part's fate is known, be it a failure; an error says that going on makes no sense: the portal cannot
// be reached, the ledger cannot be written, ctx is done. What was not delivered then is in the ledger, to be gone on with.
func (d *Deliverer) Deliver(ctx context.Context, wants []reconcile.Want, tell func(Result)) error {
	q, err := d.load(ctx, wants, tell)
	if err != nil {
		return err
	}
	for {
		batch := q.ready(d.now(), d.opts.BatchCalls())
		if len(batch) == 0 {
			wake, waiting := q.nextTry()
			if !waiting {
				return nil
			}
			if err := d.sleep(ctx, wake.Sub(d.now())); err != nil {
				return err
			}
			continue
		}
		if err := d.step(ctx, q, batch); err != nil {
			return err
		}
	}
}

// load puts each wanted part beside what the ledger holds of it, and looks up in the portal those that the ledger does not know: a lost
// ledger must not double a call.
func (d *Deliverer) load(ctx context.Context, wants []reconcile.Want, tell func(Result)) (*queue, error) {
	ids := make(map[string][]string) // site → linkedids
	for _, w := range wants {
		ids[w.Key.Site] = append(ids[w.Key.Site], w.Key.LinkedID)
	}
	known := make(map[ledger.Key]ledger.Part)
	for site, linkedIDs := range ids {
		parts, err := d.ledger.Parts(ctx, site, linkedIDs)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			known[p.Key] = p
		}
	}
	q := newQueue(tell)
	var unknown []*item
	for _, w := range wants {
		part, ok := known[w.Key]
		if !ok {
			part = ledger.Part{Key: w.Key, Step: ledger.Seen}
		}
		part.ExternalID, part.Phone, part.Start, part.Hash = w.Call.ExternalID, w.Call.Phone, w.Call.Start, w.Hash
		it := &item{want: w, part: part}
		switch {
		case part.Step >= ledger.Finished:
			q.tell(Result{Want: w, Part: part, Adopted: part.Adopted})
			continue
		case w.Blocked != "":
			q.tell(Result{Want: w, Part: part, Err: errors.New(w.Blocked)})
			continue
		case part.Failure.Dead:
			q.tell(Result{Want: w, Part: part, Err: failure(part)})
			continue
		case !ok || part.InDoubt():
			unknown = append(unknown, it)
		}
		// A new run tries at once; only a request that the portal may still be working on is left alone.
		part.Failure.Next = time.Time{}
		q.add(it)
	}
	const chunk = 2500 // one batch of the client
	for start := 0; start < len(unknown); start += chunk {
		if err := d.look(ctx, q, unknown[start:min(start+chunk, len(unknown))]); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// look finds out in the portal what became of parts whose outcome is not known. What is there is adopted; what is not goes on, at once
// when the portal has surely done with the request, else after the grace.
func (d *Deliverer) look(ctx context.Context, q *queue, items []*item) error {
	ids := make([]string, len(items))
	for i, it := range items {
		ids[i] = it.want.Call.ExternalID
	}
	rows, err := d.portal.StatisticsByExternalID(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up %d calls in the portal: %w", len(items), err)
	}
	found := make(map[string]portal.Row, len(rows))
	for _, row := range rows {
		if had, ok := found[row.ExternalID]; !ok || row.ID < had.ID {
			found[row.ExternalID] = row
		}
	}
	var changes []ledger.Change
	var done []*item
	for _, it := range items {
		row, there := found[it.want.Call.ExternalID]
		switch {
		case there:
			doubt := it.part.InDoubt()
			it.part.Settle()
			it.part.CallID, it.part.StatID, it.part.ActivityID, it.part.FileID = row.CallID, row.ID, row.ActivityID, row.RecordFileID
			it.part.Adopted = !doubt
			if err := it.part.Apply(ledger.Adopt); err != nil {
				return fmt.Errorf("adopt call %s: %w", it.part.ExternalID, err)
			}
			note := "found in the portal as " + string(row.CallID)
			if doubt {
				note = "the answer was lost; " + note
			}
			changes = append(changes, ledger.Change{Part: it.part, Note: note})
			done = append(done, it)
		case !it.part.InDoubt():
		case !it.answered && d.now().Before(it.part.IntentAt.Add(d.opts.Grace)):
			// The portal may still be at it: look again when it must have ended.
			it.part.Failure.Next = it.part.IntentAt.Add(d.opts.Grace)
			it.look = true
			changes = append(changes, ledger.Change{Part: it.part})
		default:
			it.part.Settle()
			it.part.Failure.Next = time.Time{}
			it.look = false
			changes = append(changes, ledger.Change{Part: it.part, Note: "the answer was lost; the portal does not have the call, sending again"})
		}
	}
	if err := d.ledger.Save(ctx, changes...); err != nil {
		return err
	}
	for _, it := range done {
		q.finish(it, Result{Want: it.want, Part: it.part, Adopted: it.part.Adopted})
	}
	return nil
}

// step takes one request's worth of work: a look at what is in doubt, or a batch of finishes, or of registers with finishes.
func (d *Deliverer) step(ctx context.Context, q *queue, batch []*item) error {
	var doubtful, registered, fresh []*item
	for _, it := range batch {
		switch {
		case it.look:
			doubtful = append(doubtful, it)
		case it.part.Step == ledger.Registered:
			registered = append(registered, it)
		default:
			fresh = append(fresh, it)
		}
	}
	if len(doubtful) > 0 {
		if err := d.look(ctx, q, doubtful); err != nil {
			return err
		}
	}
	if len(registered) > 0 {
		err := d.send(ctx, q, registered, ledger.ToFinish, func(ctx context.Context) ([]portal.Outcome, error) {
			endings := make([]portal.Ending, len(registered))
			for i, it := range registered {
				endings[i] = portal.Ending{CallID: it.part.CallID, Call: it.want.Call}
			}
			return d.portal.FinishAll(ctx, endings)
		})
		if err != nil {
			return err
		}
	}
	if len(fresh) > 0 {
		return d.send(ctx, q, fresh, ledger.ToRegister, func(ctx context.Context) ([]portal.Outcome, error) {
			calls := make([]portal.Call, len(fresh))
			for i, it := range fresh {
				calls[i] = it.want.Call
			}
			return d.portal.RegisterFinish(ctx, calls)
		})
	}
	return nil
}

// send writes the intent, sends the request and writes down what came of it.
func (d *Deliverer) send(ctx context.Context, q *queue, items []*item, intent ledger.Intent,
	request func(context.Context) ([]portal.Outcome, error),
) error {
	changes := make([]ledger.Change, len(items))
	for i, it := range items {
		it.answered = false
		it.part.Intend(intent, d.now())
		changes[i] = ledger.Change{Part: it.part}
	}
	if err := d.ledger.Save(ctx, changes...); err != nil {
		return err
	}
	outcomes, err := request(ctx)
	if err == nil && len(outcomes) != len(items) {
		err = &portal.Error{Class: portal.Unknown, Method: "batch", Text: fmt.Sprintf("%d outcomes for %d calls", len(outcomes), len(items))}
	}
	if err != nil {
		return d.failed(ctx, q, items, err)
	}
	q.troubles = 0
	return d.settle(ctx, q, items, outcomes)
}

// settle writes down the outcome of each call of a request that was answered.
func (d *Deliverer) settle(ctx context.Context, q *queue, items []*item, outcomes []portal.Outcome) error {
	changes := make([]ledger.Change, 0, len(items))
	var known, doubtful []*item
	var stop error
	for i, it := range items {
		it.err = outcomes[i].Err
		note, sure, err := d.take(it, outcomes[i])
		if err != nil {
			return err
		}
		if !sure {
			doubtful = append(doubtful, it)
			continue
		}
		known = append(known, it)
		changes = append(changes, ledger.Change{Part: it.part, Note: note})
		if portal.ClassOf(it.err) == portal.Access {
			stop = fmt.Errorf("deliver call %s: %w", it.part.ExternalID, it.err)
		}
	}
	if err := d.ledger.Save(ctx, changes...); err != nil {
		return err
	}
	for _, it := range known {
		if it.err == nil || d.over(it) {
			q.finish(it, Result{Want: it.want, Part: it.part, Err: it.err})
		}
	}
	if stop != nil {
		return stop
	}
	if len(doubtful) > 0 {
		return d.lookLost(ctx, q, doubtful)
	}
	return nil
}

// take moves a part by its outcome and gives the line of history. sure is false when only the statistics can tell what became of it.
func (d *Deliverer) take(it *item, out portal.Outcome) (note string, sure bool, err error) {
	if out.Registered || out.Err == nil {
		it.part.CallID = out.Finished.CallID
		if it.part.Step == ledger.Seen {
			if err := it.part.Apply(ledger.Register); err != nil {
				return "", false, fmt.Errorf("register call %s: %w", it.part.ExternalID, err)
			}
		}
	}
	class := portal.ClassOf(out.Err)
	if class == portal.Unknown || class == portal.NotFound {
		// Not found at finish: finished by an earlier try of ours, or the live call is gone.
		it.answered, it.lostLive = true, class == portal.NotFound
		it.part.Fail(string(class), out.Err.Error(), time.Time{})
		return "", false, nil
	}
	it.part.Settle()
	switch {
	case out.Err == nil:
		it.part.StatID, it.part.ActivityID = out.Finished.StatID, out.Finished.ActivityID
		if err := it.part.Apply(ledger.Finish); err != nil {
			return "", false, fmt.Errorf("finish call %s: %w", it.part.ExternalID, err)
		}
		note = "finished as " + string(it.part.CallID)
		if out.Finished.CRMNote != "" {
			note += "; no CRM activity: " + out.Finished.CRMNote
		}
	case class == portal.Access:
		note = out.Err.Error()
	case class == portal.NoUser && !out.Registered && it.want.Call.RegisterUserID != 0:
		note = fmt.Sprintf("the portal knows no active user %d, who was rung first; the call is registered for user %d, who finishes it",
			it.want.Call.RegisterUserID, it.want.Call.UserID)
		it.want.Call.RegisterUserID = 0
	case class == portal.NoUser && d.opts.Fallback != 0 && it.want.Call.UserID != d.opts.Fallback:
		note = fmt.Sprintf("the portal knows no active user %d; the call goes to user %d (employees.fallback)", it.want.Call.UserID, d.opts.Fallback)
		it.want.Call.UserID = d.opts.Fallback
	default:
		note = d.fail(it, out.Err)
	}
	return note, true, nil
}

// lookLost looks up calls whose own outcome is unknown or that the portal says it does not know at finish, and starts those anew that it
// has not finished either.
func (d *Deliverer) lookLost(ctx context.Context, q *queue, items []*item) error {
	if err := d.look(ctx, q, items); err != nil {
		return err
	}
	var changes []ledger.Change
	for _, it := range items {
		if it.done {
			continue
		}
		note := ""
		if it.lostLive && it.part.Step == ledger.Registered {
			failure := it.part.Failure // a step back is no success
			if err := it.part.Apply(ledger.Vanish); err != nil {
				return fmt.Errorf("register call %s anew: %w", it.part.ExternalID, err)
			}
			it.part.CallID, it.part.Failure = "", failure
			note = "the registered call is gone from the portal, registering anew"
		}
		it.lostLive = false
		it.part.Failure.Next = d.later(it.part.Failure.Attempts)
		changes = append(changes, ledger.Change{Part: it.part, Note: note})
	}
	if err := d.ledger.Save(ctx, changes...); err != nil {
		return err
	}
	for _, it := range items {
		if !it.done && d.over(it) {
			q.finish(it, Result{Want: it.want, Part: it.part, Err: failure(it.part)})
		}
	}
	return nil
}

// failed settles a request that failed as a whole.
func (d *Deliverer) failed(ctx context.Context, q *queue, items []*item, cause error) error {
	// What was intended must be known again after a stop, so the ledger is written even when ctx is done.
	save := context.WithoutCancel(ctx)
	var pe *portal.Error
	if !errors.As(cause, &pe) {
		pe = &portal.Error{Class: portal.Unknown, Text: cause.Error(), InFlight: true, Err: cause}
	}
	if pe.Class == portal.Unknown {
		if ctx.Err() != nil {
			return fmt.Errorf("deliver %d calls: %w", len(items), ctx.Err()) // the intent stays in the ledger
		}
		q.troubles++
		d.log.WithError(cause).Warn("answer of the portal lost, looking up what became of the calls")
		for _, it := range items {
			it.answered = !pe.InFlight
			it.part.Failure.Attempts++
			it.part.Failure.Class, it.part.Failure.Text = string(pe.Class), pe.Error()
		}
		if err := d.look(ctx, q, items); err != nil {
			return err
		}
		return d.tired(q, items, cause)
	}
	changes := make([]ledger.Change, len(items))
	q.troubles++
	for i, it := range items {
		it.part.Settle()
		note := ""
		if pe.Class == portal.Refused {
			// The batch as such was refused, not this call: nothing was done, and a person must see it.
			note = pe.Error()
		}
		it.part.Fail(string(pe.Class), pe.Error(), d.until(pe, q.troubles))
		changes[i] = ledger.Change{Part: it.part, Note: note}
	}
	if err := d.ledger.Save(save, changes...); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("deliver %d calls: %w", len(items), ctx.Err())
	}
	if !pe.Retryable() {
		return fmt.Errorf("deliver %d calls: %w", len(items), cause)
	}
	return d.tired(q, items, cause)
}

// tired gives up for this run when request after request failed: the portal is down, and the queue must not be worn out against it.
func (d *Deliverer) tired(q *queue, items []*item, cause error) error {
	if q.troubles < d.opts.Attempts {
		return nil
	}
	return fmt.Errorf("deliver %d calls: %w", len(items), cause)
}

// fail notes that one call was refused, for the moment or for good, and gives the line of history.
func (d *Deliverer) fail(it *item, cause error) string {
	var pe *portal.Error
	if !errors.As(cause, &pe) {
		pe = &portal.Error{Class: portal.Refused, Text: cause.Error(), Err: cause}
	}
	if pe.Retryable() {
		it.part.Fail(string(pe.Class), pe.Error(), d.until(pe, it.part.Failure.Attempts+1))
		return ""
	}
	it.part.Bury(string(pe.Class), pe.Error())
	return "failed for good: " + pe.Error()
}

// over reports whether a part has had its tries of this run.
func (d *Deliverer) over(it *item) bool {
	return it.part.Failure.Dead || it.part.Failure.Attempts >= d.opts.Attempts
}

// until gives the time before which a request is not repeated.
func (d *Deliverer) until(pe *portal.Error, attempts int) time.Time {
	if !pe.Until.IsZero() {
		return pe.Until
	}
	return d.later(attempts)
}

// later gives the time of the next try after some failures in a row: doubling, with jitter, an hour at most.
func (d *Deliverer) later(attempts int) time.Time {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.Multiplier, b.MaxInterval = d.opts.Backoff, 2, time.Hour
	wait := b.NextBackOff()
	for range min(attempts-1, 20) {
		wait = b.NextBackOff()
	}
	return d.now().Add(wait)
}

func (d *Deliverer) sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// failure gives the error that the ledger remembers of a part.
func failure(p ledger.Part) error {
	return &portal.Error{Class: portal.Class(p.Failure.Class), Method: "earlier run", Text: p.Failure.Text}
}
