package ledger

import (
	"time"

	"sverka/internal/portal"
)

// Key names one part of one call of one site.
type Key struct {
	Site     string
	LinkedID string
	N        int // 1, 2, 3…
}

// Failure is why the next step has not been taken yet.
type Failure struct {
	Attempts int
	Class    string    // stable word: a portal.Class or a kind of recording problem
	Text     string    // the portal's or the file's words
	Next     time.Time // not before; zero: at once
	Dead     bool      // failed for good: only `sverka retry` brings it back
}

// Part is what the ledger holds of one part of a call.
type Part struct {
	Key
	ExternalID string
	Phone      string
	Start      time.Time
	Hash       string // row set of the call that the part was delivered from
	Step       Step
	Intent     Intent
	IntentAt   time.Time
	CallID     portal.CallID
	StatID     int64
	ActivityID int64
	FileID     int64 // attached recording
	Staged     string
	Adopted    bool // found in the portal, not delivered by this ledger
	Failure    Failure
	UpdatedAt  time.Time
}

// Apply moves the part by e and forgets the failure that kept it from moving.
func (p *Part) Apply(e Event) error {
	next, err := Advance(p.Step, e)
	if err != nil {
		return err
	}
	if next != p.Step {
		p.Failure = Failure{}
	}
	p.Step = next
	return nil
}

// Intend notes a request that is about to be sent.
func (p *Part) Intend(i Intent, now time.Time) {
	p.Intent, p.IntentAt = i, now
}

// Settle says that the outcome of the intended request is known.
func (p *Part) Settle() {
	p.Intent, p.IntentAt = Nothing, time.Time{}
}

// InDoubt reports whether a request of this part may have been worked on without our knowing.
func (p *Part) InDoubt() bool { return p.Intent != Nothing }

// Fail notes a failed attempt. A zero next leaves the time of the next try open.
func (p *Part) Fail(class, text string, next time.Time) {
	p.Failure.Attempts++
	p.Failure.Class, p.Failure.Text, p.Failure.Next = class, text, next
}

// Bury notes a failure for good.
func (p *Part) Bury(class, text string) {
	p.Fail(class, text, time.Time{})
	p.Failure.Dead = true
}

// Revive puts a part that failed for good, or that waits, back to be tried at once.
func (p *Part) Revive() { p.Failure = Failure{} }

// Entry is one line of a part's history: what was done and what came of it, for people.
type Entry struct {
	At   time.Time
	Text string
}

// Change is a new state of a part with the line of history that explains it. An empty Note writes no history.
type Change struct {
	Part Part
	Note string
}
