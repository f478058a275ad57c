package uploader

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

// RecordPortal is what a Bringer needs of the portal.
type RecordPortal interface {
	Portal
	StatisticsByCallID(ctx context.Context, ids []portal.CallID) ([]portal.Row, error)
}

// RecordLedger is what a Bringer needs of the ledger.
type RecordLedger interface {
	Save(ctx context.Context, changes ...ledger.Change) error
}

// tries is how often one recording is sent in one run when the portal fails for the moment.
const tries = 6

// Bringer takes a recording all the way, from the PBX's disk to its call in the portal, and writes each step into the ledger.
type Bringer struct {
	uploader *Uploader
	portal   RecordPortal
	ledger   RecordLedger
	now      func() time.Time
	log      *logrus.Entry
}

// NewBringer makes a Bringer.
func NewBringer(u *Uploader, p RecordPortal, l RecordLedger, now func() time.Time, log *logrus.Entry) *Bringer {
	return &Bringer{uploader: u, portal: p, ledger: l, now: now, log: log}
}

// JobOf gives the recording of a wanted part as this package knows it.
func JobOf(want reconcile.Want) Job {
	return Job{
		ExternalID: want.Call.ExternalID, LinkedID: want.Key.LinkedID, Part: want.Key.N,
		Names: want.Record.Names, Start: want.Record.Start, End: want.Record.End, Talk: want.Record.Talk,
	}
}

// State tells what there is of a wanted recording on this side, without touching it.
func (u *Uploader) State(want reconcile.Want) reconcile.RecordState {
	found, err := u.Look(JobOf(want))
	var p *Problem
	switch {
	case err == nil && found.Staged:
		return reconcile.RecordState{There: true, Detail: "staged, not attached yet"}
	case err == nil:
		return reconcile.RecordState{There: true}
	case !errors.As(err, &p):
		return reconcile.RecordState{There: true, Detail: err.Error()}
	}
	state := reconcile.RecordState{Detail: p.Text, Wait: p.Retryable()}
	switch p.Kind {
	case Growing, NoConverter, StagingFull, Unreadable:
		state.There = true
	}
	return state
}

// Bring stages and attaches the recording of a part that is finished. It gives the part as it stands then. err is why the recording is not
// in the portal; ok is false when going on with other recordings makes no sense either. Repeating it is harmless: what is staged is not
// staged again, and the portal keeps one recording for a call.
func (b *Bringer) Bring(ctx context.Context, want reconcile.Want, part ledger.Part) (after ledger.Part, ok bool, err error) {
	job := JobOf(want)
	obj, err := b.uploader.Stage(ctx, job)
	if err != nil {
		if ctx.Err() != nil {
			return part, false, ctx.Err()
		}
		return b.unstaged(ctx, part, err)
	}
	if err := part.Apply(ledger.Stage); err != nil {
		return part, false, fmt.Errorf("stage recording of %s: %w", job.ExternalID, err)
	}
	part.Staged = obj.Name
	part.Intend(ledger.ToAttach, b.now())
	if err := b.ledger.Save(ctx, ledger.Change{Part: part, Note: fmt.Sprintf("recording staged as %s, %d bytes", obj.Name, obj.Size)}); err != nil {
		return part, false, err
	}
	file, err := b.attach(ctx, part, obj, job)
	if err != nil {
		return b.unattached(ctx, part, err)
	}
	part.Settle()
	part.FileID = file
	if err := part.Apply(ledger.Attach); err != nil {
		return part, false, fmt.Errorf("attach recording of %s: %w", job.ExternalID, err)
	}
	err = b.ledger.Save(ctx, ledger.Change{Part: part, Note: fmt.Sprintf("recording attached as file %d", file)})
	return part, err == nil, err
}

// unstaged notes why a recording cannot be staged. It concerns this recording only.
func (b *Bringer) unstaged(ctx context.Context, part ledger.Part, cause error) (after ledger.Part, ok bool, err error) {
	class, text, next := "staging", cause.Error(), b.now().Add(mendPause)
	var p *Problem
	if errors.As(cause, &p) {
		class, text, next = string(p.Kind), p.Text, p.RetryAt
	}
	part.Fail(class, text, next)
	if err := b.ledger.Save(ctx, ledger.Change{Part: part, Note: "recording not staged: " + text}); err != nil {
		return part, false, err
	}
	return part, true, cause
}

// attach sends the recording, again and again while the portal fails for the moment. An answer that was lost is looked up first: sending
// a recording twice is harmless but not free.
func (b *Bringer) attach(ctx context.Context, part ledger.Part, obj Object, job Job) (int64, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = time.Second, time.Minute
	for try := 1; ; try++ {
		file, err := b.uploader.Attach(ctx, b.portal, part.CallID, obj, job)
		if err == nil {
			return file, nil
		}
		var pe *portal.Error
		if !errors.As(err, &pe) || ctx.Err() != nil {
			return 0, err
		}
		if pe.Class == portal.Unknown {
			rows, lookErr := b.portal.StatisticsByCallID(ctx, []portal.CallID{part.CallID})
			if lookErr != nil {
				return 0, fmt.Errorf("look whether the recording of %s arrived: %w", job.ExternalID, lookErr)
			}
			if len(rows) > 0 && rows[0].RecordFileID != 0 {
				return rows[0].RecordFileID, nil
			}
		} else if !pe.Retryable() {
			return 0, err
		}
		if try == tries {
			return 0, err
		}
		pause := wait.NextBackOff()
		if left := pe.Until.Sub(b.now()); left > pause {
			pause = left
		}
		b.log.WithError(err).WithField("call", job.ExternalID).Debug("recording not attached yet, trying again")
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// unattached notes why a staged recording is not attached.
func (b *Bringer) unattached(ctx context.Context, part ledger.Part, cause error) (after ledger.Part, ok bool, err error) {
	if ctx.Err() != nil {
		return part, false, ctx.Err() // the intent stays in the ledger
	}
	class, next := portal.ClassOf(cause), b.now().Add(mendPause)
	ok = class != portal.Unreachable && class != portal.Access
	part.Settle()
	if errors.Is(cause, ErrNoObject) {
		class, next = "staging", time.Time{}
		if err := part.Apply(ledger.Unstage); err != nil {
			return part, false, err
		}
	}
	part.Fail(string(class), cause.Error(), next)
	if err := b.ledger.Save(ctx, ledger.Change{Part: part, Note: "recording not attached: " + cause.Error()}); err != nil {
		return part, false, err
	}
	return part, ok, cause
}
