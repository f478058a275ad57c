package ledger_test

import (
	"testing"
	"time"

	"sverka/internal/ledger"
)

// TestWay walks the ways that the drawing in doc.go shows.
func TestWay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events []ledger.Event
		want   ledger.Step
	}{
		{"with a recording", []ledger.Event{ledger.Register, ledger.Finish, ledger.Stage, ledger.Attach, ledger.Verify}, ledger.Verified},
		{"without a recording", []ledger.Event{ledger.Register, ledger.Finish, ledger.Verify}, ledger.Verified},
		{"found in the portal", []ledger.Event{ledger.Adopt, ledger.Verify}, ledger.Verified},
		{"live call lost and made again", []ledger.Event{ledger.Register, ledger.Vanish, ledger.Register, ledger.Finish}, ledger.Finished},
		{"staged object gone", []ledger.Event{ledger.Adopt, ledger.Stage, ledger.Unstage, ledger.Stage}, ledger.RecordStaged},
		{"recording gone from the portal", []ledger.Event{ledger.Adopt, ledger.Stage, ledger.Attach, ledger.Verify, ledger.Reopen}, ledger.Finished},
		{"register twice", []ledger.Event{ledger.Register, ledger.Register}, ledger.Registered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ledger.Seen
			for _, e := range tt.events {
				next, err := ledger.Advance(got, e)
				if err != nil {
					t.Fatalf("%s by %s: %v", got, e, err)
				}
				got = next
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestNoWay holds the promises of the machine: nothing skips finish, and nothing is verified that was not finished.
func TestNoWay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		from ledger.Step
		by   ledger.Event
	}{
		{ledger.Seen, ledger.Finish},
		{ledger.Seen, ledger.Stage},
		{ledger.Seen, ledger.Verify},
		{ledger.Registered, ledger.Stage},
		{ledger.Registered, ledger.Verify},
		{ledger.Finished, ledger.Register},
		{ledger.Finished, ledger.Attach},
		{ledger.Verified, ledger.Register},
		{0, ledger.Register},
	} {
		if got, err := ledger.Advance(tt.from, tt.by); err == nil {
			t.Errorf("%s by %s: got %s, want an error", tt.from, tt.by, got)
		}
	}
}

// TestEventsRepeat: an event that moved a part moves it nowhere else the second time, or is refused; it never goes on by itself.
func TestEventsRepeat(t *testing.T) {
	t.Parallel()
	for s := ledger.Seen; s <= ledger.Verified; s++ {
		for e := ledger.Register; e <= ledger.Reopen; e++ {
			once, err := ledger.Advance(s, e)
			if err != nil {
				continue
			}
			twice, err := ledger.Advance(once, e)
			if err == nil && twice != once {
				t.Errorf("%s by %s twice: got %s, want %s", s, e, twice, once)
			}
		}
	}
}

func TestFailureStaysUntilAStepIsTaken(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	p := ledger.Part{Step: ledger.Seen}
	p.Fail("retryable", "overloaded", at)
	p.Fail("retryable", "overloaded", at.Add(time.Minute))
	if p.Failure.Attempts != 2 || !p.Failure.Next.Equal(at.Add(time.Minute)) {
		t.Errorf("got %+v, want 2 attempts and the later try", p.Failure)
	}
	p.Bury("refused", "Unknown TYPE")
	if !p.Failure.Dead {
		t.Error("a buried part is not dead")
	}
	if err := p.Apply(ledger.Adopt); err != nil {
		t.Fatal(err)
	}
	if p.Failure != (ledger.Failure{}) {
		t.Errorf("got %+v after a step, want no failure", p.Failure)
	}
}
