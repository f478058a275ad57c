package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sverka/internal/deliver"
	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// Deliverer brings parts into the portal.
type Deliverer interface {
	Deliver(ctx context.Context, wants []reconcile.Want, tell func(deliver.Result)) error
}

// RecordBringer brings recordings to calls that are in the portal.
type RecordBringer interface {
	// Bring stages and attaches the recording of one part and gives the part as it stands then. A problem of this recording alone is in the
	// part's Failure and in the error; ok reports whether going on with other recordings makes sense.
	Bring(ctx context.Context, want reconcile.Want, part ledger.Part) (after ledger.Part, ok bool, err error)
}

// Scope says what a backfill does of all that a survey finds missing.
type Scope struct {
	Calls      bool // deliver missing calls
	Recordings bool // bring missing recordings
	Limit      int  // at most this many calls are touched; 0: all
}

// Backfill delivers what the portal lacks of a period.
type Backfill struct {
	Survey   *Survey
	Deliver  Deliverer
	Records  RecordBringer
	Parallel int // recordings on their way at once
}

// Problem is why one part, or its recording, is not in the portal after a backfill.
type Problem struct {
	LinkedID string `json:"linkedid"`
	Class    string `json:"class"`
	Message  string `json:"message"`
}

// Counts is what a backfill found and did. Calls and Ignored are calls; the others are parts, or recordings of parts.
type Counts struct {
	Calls, Parts, Planned, Delivered, Already, Ignored, Failed int

	Recordings struct{ Planned, Attached, Already, Failed int }

	Problems []Problem
}

// Missing reports whether something that belongs in the portal is not there.
func (c Counts) Missing() bool { return c.Failed > 0 || c.Recordings.Failed > 0 }

// Progress hears how a backfill goes on. Calls come from several goroutines.
type Progress interface {
	Call(ok bool)
	Recording(ok bool)
}

// Plan surveys the period and counts what Apply would do. preview, if not nil, is shown each change.
func (b *Backfill) Plan(ctx context.Context, period Period, filter Filter, scope Scope, preview func(reconcile.Change)) (Counts, error) {
	var counts Counts
	limit := newLimiter(scope.Limit)
	err := b.Survey.Run(ctx, period, filter, false, func(plan reconcile.Plan) error {
		counts.found(plan, scope)
		for _, change := range plan.Changes {
			if !scope.takes(change) || !limit.takes(change) {
				continue
			}
			counts.planned(change, scope)
			if preview != nil {
				preview(change)
			}
		}
		return nil
	})
	return counts, err
}

// Apply surveys the period again, stretch by stretch, and delivers what is missing. What it could not do is counted and, in the ledger,
// goes on with the next run. An error says that going on made no sense; the counts tell how far it came.
func (b *Backfill) Apply(ctx context.Context, period Period, filter Filter, scope Scope, progress Progress) (Counts, error) {
	run := &backfill{Backfill: b, scope: scope, limit: newLimiter(scope.Limit), progress: progress}
	err := b.Survey.Run(ctx, period, filter, false, func(plan reconcile.Plan) error { return run.apply(ctx, plan) })
	slices.SortStableFunc(run.counts.Problems, func(x, y Problem) int { return strings.Compare(x.LinkedID, y.LinkedID) })
	return run.counts, err
}

// takes reports whether a change lies in the scope.
func (s Scope) takes(change reconcile.Change) bool {
	switch change.Verb {
	case reconcile.Deliver:
		return s.Calls
	case reconcile.Attach:
		return s.Recordings
	}
	return true
}

// found counts what both sides have.
func (c *Counts) found(plan reconcile.Plan, scope Scope) {
	c.Calls += plan.PBXCalls
	c.Parts += plan.Parts
	c.Already += plan.Already
	c.Ignored += len(plan.Ignored)
	if scope.Calls {
		c.Failed += len(plan.Stuck)
		c.tell(plan.Stuck)
	}
	if scope.Recordings {
		c.Recordings.Already += plan.Recorded
		c.Recordings.Failed += len(plan.Lost)
		c.tell(plan.Lost)
	}
}

// tell notes gaps that this run cannot close.
func (c *Counts) tell(gaps []reconcile.Gap) {
	for _, gap := range gaps {
		c.Problems = append(c.Problems, Problem{LinkedID: gap.LinkedID, Class: string(gap.Kind), Message: gap.Detail})
	}
}

// planned counts a change that is going to be made.
func (c *Counts) planned(change reconcile.Change, scope Scope) {
	if change.Verb == reconcile.Deliver {
		c.Planned++
	}
	if scope.Recordings && change.Want.Record != nil && (change.Verb == reconcile.Deliver || change.Verb == reconcile.Attach) {
		c.Recordings.Planned++
	}
}

// limiter lets through the changes of a number of calls.
type limiter struct {
	max   int
	calls map[string]bool
}

func newLimiter(n int) *limiter { return &limiter{max: n, calls: make(map[string]bool)} }

func (l *limiter) takes(change reconcile.Change) bool {
	if l.max == 0 || change.Verb == reconcile.Adopt || change.Verb == reconcile.Settle {
		return true
	}
	id := change.Want.Key.LinkedID
	if !l.calls[id] && len(l.calls) >= l.max {
		return false
	}
	l.calls[id] = true
	return true
}

// backfill is one run of Apply.
type backfill struct {
	*Backfill
	scope    Scope
	limit    *limiter
	progress Progress

	mu     sync.Mutex
	counts Counts
}

// apply carries out the plan for one stretch of the period: what the portal has is written down, what it lacks is delivered, and
// recordings follow their calls while other calls are still on their way.
func (b *backfill) apply(ctx context.Context, plan reconcile.Plan) error {
	b.counts.found(plan, b.scope)
	var wants []reconcile.Want
	var attach []errand
	var settled []ledger.Change
	for _, change := range plan.Changes {
		if !b.scope.takes(change) || !b.limit.takes(change) {
			continue
		}
		b.counts.planned(change, b.scope)
		switch change.Verb {
		case reconcile.Deliver:
			wants = append(wants, change.Want)
		case reconcile.Attach:
			part := adopted(change)
			if err := b.toFinished(&part); err != nil {
				return err
			}
			attach = append(attach, errand{want: change.Want, part: part})
		case reconcile.Adopt, reconcile.Settle:
			part := adopted(change)
			note := ""
			switch {
			case change.Part.Intent == ledger.ToAttach:
				note = fmt.Sprintf("the answer was lost; the recording is in the portal as file %d", part.FileID)
			case change.Verb == reconcile.Adopt:
				note = "found in the portal as " + string(part.CallID)
			}
			if change.Want.Record == nil || part.FileID != 0 {
				if err := part.Apply(ledger.Verify); err != nil {
					return fmt.Errorf("verify call %s: %w", part.ExternalID, err)
				}
			}
			settled = append(settled, ledger.Change{Part: part, Note: note})
		}
	}
	if err := b.Survey.Ledger.Save(ctx, settled...); err != nil {
		return err
	}
	return b.carryOut(ctx, wants, attach)
}

// adopted gives the ledger's part with what the portal's row tells of it.
func adopted(change reconcile.Change) ledger.Part {
	part, want, row := change.Part, change.Want, change.Row
	if part.Step == 0 {
		part = ledger.Part{Key: want.Key, Step: ledger.Seen, Adopted: true}
	}
	part.ExternalID, part.Phone, part.Start, part.Hash = want.Call.ExternalID, want.Call.Phone, want.Call.Start, want.Hash
	part.CallID, part.StatID, part.ActivityID, part.FileID = row.CallID, row.ID, row.ActivityID, row.RecordFileID
	part.Settle()
	if part.Step < ledger.Finished {
		// Both steps lead there: the statistics hold finished calls only.
		part.Step, part.Failure = ledger.Finished, ledger.Failure{}
	}
	return part
}

// toFinished takes a part back whose recording the portal turned out to lack.
func (b *backfill) toFinished(part *ledger.Part) error {
	if part.Step < ledger.RecordAttached {
		return nil
	}
	part.FileID = 0
	return part.Apply(ledger.Reopen)
}

// errand is one recording to bring.
type errand struct {
	want reconcile.Want
	part ledger.Part
}

// carryOut delivers the calls, and brings recordings as soon as their call is there.
func (b *backfill) carryOut(ctx context.Context, wants []reconcile.Want, attach []errand) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	queue := newErrands()
	var workers sync.WaitGroup
	done := &verifyList{}
	for range max(1, b.Parallel) {
		workers.Go(func() {
			for {
				e, ok := queue.take()
				if !ok {
					return
				}
				b.bring(ctx, e, done, cancel)
			}
		})
	}
	for _, e := range attach {
		queue.put(e)
	}
	err := b.Deliver.Deliver(ctx, wants, func(r deliver.Result) { b.delivered(r, queue, done) })
	if err != nil {
		cancel(err)
	}
	queue.close()
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = cause
	}
	if err != nil {
		return err
	}
	return b.verify(ctx, done.list)
}

// delivered counts one delivered part and sends its recording on its way.
func (b *backfill) delivered(r deliver.Result, queue *errands, done *verifyList) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.progress.Call(r.Err == nil)
	if r.Err != nil {
		b.counts.Failed++
		class := r.Part.Failure.Class
		if class == "" {
			class = string(portal.ClassOf(r.Err))
		}
		b.problem(r.Want, class, r.Err)
		if b.scope.Recordings && r.Want.Record != nil {
			b.counts.Recordings.Failed++
			b.progress.Recording(false)
		}
		return
	}
	b.counts.Delivered++
	switch {
	case r.Want.Record == nil, r.Part.FileID != 0:
		done.add(errand{want: r.Want, part: r.Part})
	case b.scope.Recordings:
		queue.put(errand{want: r.Want, part: r.Part})
	}
}

// bring brings one recording and counts it.
func (b *backfill) bring(ctx context.Context, e errand, done *verifyList, stop func(error)) {
	if ctx.Err() != nil {
		return
	}
	part, ok, err := b.Records.Bring(ctx, e.want, e.part)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !ok {
		stop(err)
		return
	}
	b.progress.Recording(err == nil)
	if err != nil {
		b.counts.Recordings.Failed++
		b.problem(e.want, part.Failure.Class, err)
		return
	}
	b.counts.Recordings.Attached++
	done.add(errand{want: e.want, part: part})
}

func (b *backfill) problem(want reconcile.Want, class string, err error) {
	b.counts.Problems = append(b.counts.Problems, Problem{LinkedID: want.Key.LinkedID, Class: class, Message: err.Error()})
}

// verify reads back what was done: the portal's statistics have the last word.
func (b *backfill) verify(ctx context.Context, done []errand) error {
	ids := make([]portal.CallID, len(done))
	for i, e := range done {
		ids[i] = e.part.CallID
	}
	rows, err := b.Survey.Statistics.StatisticsByCallID(ctx, ids)
	if err != nil {
		return fmt.Errorf("verify %d calls in the portal: %w", len(ids), err)
	}
	found := make(map[portal.CallID]portal.Row, len(rows))
	for _, row := range rows {
		found[row.CallID] = row
	}
	var changes []ledger.Change
	for _, e := range done {
		row, ok := found[e.part.CallID]
		if !ok || e.want.Record != nil && row.RecordFileID == 0 {
			b.unconfirmed(e, ok)
			continue
		}
		e.part.StatID, e.part.ActivityID, e.part.FileID = row.ID, row.ActivityID, row.RecordFileID
		if err := e.part.Apply(ledger.Verify); err != nil {
			return fmt.Errorf("verify call %s: %w", e.part.ExternalID, err)
		}
		changes = append(changes, ledger.Change{Part: e.part, Note: "verified in the portal's statistics"})
	}
	return b.Survey.Ledger.Save(ctx, changes...)
}

// unconfirmed counts a part that the portal said it took and does not show.
func (b *backfill) unconfirmed(e errand, row bool) {
	if row {
		b.counts.Recordings.Attached--
		b.counts.Recordings.Failed++
		b.problem(e.want, "unconfirmed", fmt.Errorf("attach recording of call %s: the portal took it and does not show it; run backfill again", e.part.CallID))
		return
	}
	b.counts.Delivered--
	b.counts.Failed++
	b.problem(e.want, "unconfirmed", fmt.Errorf("deliver call %s: the portal took it and does not show it: check that the webhook's user may see the calls of all employees",
		e.part.CallID))
}

// verifyList collects parts that are to be read back.
type verifyList struct {
	mu   sync.Mutex
	list []errand
}

func (v *verifyList) add(e errand) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.list = append(v.list, e)
}

// errands is a queue of recordings without a bound: delivering calls never waits for a slow disk.
type errands struct {
	mu     sync.Mutex
	some   *sync.Cond
	list   []errand
	closed bool
}

func newErrands() *errands {
	q := &errands{}
	q.some = sync.NewCond(&q.mu)
	return q
}

func (q *errands) put(e errand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, e)
	q.some.Signal()
}

func (q *errands) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.some.Broadcast()
}

// take gives the oldest recording; ok is false when there is none left and none will come.
func (q *errands) take() (e errand, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.some.Wait()
	}
	if len(q.list) == 0 {
		return errand{}, false
	}
	e, q.list = q.list[0], q.list[1:]
	return e, true
}
