package uploader_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
	"sverka/uploader"
)

// answers is a portal that gives the errors in turn, and takes the recording when there are none left. A nil among them takes it, too.
type answers struct {
	errs  []error
	taken bool // the portal has the recording, whatever it answered
	sent  int
}

func (a *answers) AttachFile(_ context.Context, _ portal.CallID, _ string, _ int64, open func() (io.ReadCloser, error)) (int64, error) {
	a.sent++
	body, err := open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	if _, err := io.Copy(io.Discard, body); err != nil {
		return 0, err
	}
	if len(a.errs) > 0 {
		err, a.errs = a.errs[0], a.errs[1:]
		if err != nil {
			return 0, err
		}
	}
	a.taken = true
	return 77, nil
}

func (a *answers) StatisticsByCallID(_ context.Context, ids []portal.CallID) ([]portal.Row, error) {
	row := portal.Row{ID: 7, CallID: ids[0]}
	if a.taken {
		row.RecordFileID = 77
	}
	return []portal.Row{row}, nil
}

// journal is a ledger that remembers each state of a part.
type journal struct{ parts []ledger.Part }

func (j *journal) Save(_ context.Context, changes ...ledger.Change) error {
	for _, c := range changes {
		j.parts = append(j.parts, c.Part)
	}
	return nil
}

func (j *journal) steps() []ledger.Step {
	var steps []ledger.Step
	for _, p := range j.parts {
		steps = append(steps, p.Step)
	}
	return slices.Compact(steps)
}

func recordedCall(names ...string) (reconcile.Want, ledger.Part) {
	key := ledger.Key{Site: "office", LinkedID: linked, N: 1}
	want := reconcile.Want{
		Key: key, Call: portal.Call{ExternalID: linked, Start: start, Duration: 8, Status: portal.StatusOK},
		Record: &reconcile.Record{Names: names, Start: start, End: ended, Talk: 8},
	}
	return want, ledger.Part{Key: key, ExternalID: linked, Step: ledger.Finished, CallID: "externalCall.a.1", StatID: 7}
}

func TestBring(t *testing.T) {
	t.Parallel()
	problem := func(class portal.Class) error {
		return &portal.Error{Class: class, Method: "telephony.externalCall.attachRecord"}
	}
	tests := []struct {
		name  string
		errs  []error
		lost  bool // the portal took the recording although it said no
		step  ledger.Step
		class string // of the failure
		ok    bool
		sent  int
	}{
		{name: "at once", step: ledger.RecordAttached, ok: true, sent: 1},
		{name: "put off twice", errs: []error{problem(portal.RateLimited), problem(portal.Retryable)}, step: ledger.RecordAttached, ok: true, sent: 3},
		{name: "answer lost, recording there", errs: []error{problem(portal.Unknown)}, lost: true, step: ledger.RecordAttached, ok: true, sent: 1},
		{name: "answer lost, recording not there", errs: []error{problem(portal.Unknown)}, step: ledger.RecordAttached, ok: true, sent: 2},
		{name: "refused", errs: []error{problem(portal.Refused)}, step: ledger.RecordStaged, class: "refused", ok: true, sent: 1},
		{name: "the portal's disk is full", errs: []error{problem(portal.DiskFull)}, step: ledger.RecordStaged, class: "portal_disk_full", ok: true, sent: 1},
		{name: "the webhook is wrong", errs: []error{problem(portal.Access)}, step: ledger.RecordStaged, class: "access", sent: 1},
		{
			name: "the portal is gone", errs: slices.Repeat([]error{problem(portal.Unreachable)}, 20),
			step: ledger.RecordStaged, class: "unreachable", sent: 6,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := setup(t, func(c *uploader.Config) { c.Format = uploader.FormatKeep })
				b.sound(day+named, 8)
				p, l := &answers{errs: tt.errs, taken: tt.lost}, &journal{}
				quiet := logrus.New()
				quiet.SetOutput(io.Discard)
				want, part := recordedCall(named)
				got, ok, err := uploader.NewBringer(b.Uploader, p, l, time.Now, logrus.NewEntry(quiet)).Bring(t.Context(), want, part)
				if (err == nil) != (tt.step == ledger.RecordAttached) || ok != tt.ok {
					t.Errorf("got %v, go on %t; want step %s, go on %t", err, ok, tt.step, tt.ok)
				}
				if got.Step != tt.step || got.InDoubt() || got.Failure.Class != tt.class || got.Staged == "" {
					t.Errorf("got %+v, want step %s and failure %q", got, tt.step, tt.class)
				}
				if tt.step == ledger.RecordAttached && got.FileID != 77 {
					t.Errorf("got file %d, want 77", got.FileID)
				}
				if p.sent != tt.sent {
					t.Errorf("sent %d times, want %d", p.sent, tt.sent)
				}
				// The intent stands in the ledger before the portal hears of anything.
				if first := l.parts[0]; first.Step != ledger.RecordStaged || first.Intent != ledger.ToAttach {
					t.Errorf("first write: got %+v, want the recording staged and the intent to attach", first)
				}
				if last := l.parts[len(l.parts)-1]; !cmp.Equal(last, got) {
					t.Errorf("the ledger holds another state than the one given:\n%s", cmp.Diff(last, got))
				}
			})
		})
	}
}

func TestBringStopped(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *uploader.Config) { c.Format = uploader.FormatKeep })
	b.sound(day+named, 8)
	ctx, cancel := context.WithCancel(context.Background())
	p, l := &stopping{stop: cancel}, &journal{}
	want, part := recordedCall(named)
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	_, ok, err := uploader.NewBringer(b.Uploader, p, l, time.Now, logrus.NewEntry(quiet)).Bring(ctx, want, part)
	if ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, go on %t; want to be stopped", err, ok)
	}
	if last := l.parts[len(l.parts)-1]; !last.InDoubt() {
		t.Errorf("the ledger does not say that a request is in doubt: %+v", last)
	}
}

// stopping is a portal that is asked to stop while it works.
type stopping struct {
	answers
	stop func()
}

func (s *stopping) AttachFile(context.Context, portal.CallID, string, int64, func() (io.ReadCloser, error)) (int64, error) {
	s.stop()
	return 0, &portal.Error{Class: portal.Unknown, InFlight: true, Err: context.Canceled}
}

func TestBringWhatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		hours int // after the call
		class string
		retry bool
	}{
		{"may still come", 1, string(uploader.Absent), true},
		{"lost", 30, string(uploader.Lost), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.now = ended.Add(time.Duration(tt.hours) * time.Hour)
			p, l := &answers{}, &journal{}
			want, part := recordedCall(named)
			quiet := logrus.New()
			quiet.SetOutput(io.Discard)
			got, ok, err := uploader.NewBringer(b.Uploader, p, l, func() time.Time { return b.now }, logrus.NewEntry(quiet)).Bring(t.Context(), want, part)
			if err == nil || !ok || p.sent != 0 {
				t.Errorf("got %v, go on %t, sent %d times; want a problem of this recording alone", err, ok, p.sent)
			}
			if got.Step != ledger.Finished || got.Failure.Class != tt.class || got.Failure.Next.IsZero() == tt.retry {
				t.Errorf("got %+v, want failure %s, another try: %t", got, tt.class, tt.retry)
			}
			if d := cmp.Diff(l.steps(), []ledger.Step{ledger.Finished}); d != "" {
				t.Errorf("steps: got -, want +\n%s", d)
			}
		})
	}
}

// TestState is what the gap report says of a recording on the PBX's side.
func TestState(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		there func(b *bench)
		hours int
		want  reconcile.RecordState // Detail is compared for being empty
	}{
		{"on the PBX", func(b *bench) { b.sound(day+named, 8) }, 1, reconcile.RecordState{There: true}},
		{"may still come", func(*bench) {}, 1, reconcile.RecordState{Wait: true, Detail: "x"}},
		{"lost", func(*bench) {}, 30, reconcile.RecordState{Detail: "x"}},
		{"no sound in it", func(b *bench) { b.file(day+named, "RIFF") }, 30, reconcile.RecordState{Detail: "x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.now = ended.Add(time.Duration(tt.hours) * time.Hour)
			tt.there(b)
			want, _ := recordedCall(named)
			got := b.State(want)
			if got.There != tt.want.There || got.Wait != tt.want.Wait || (got.Detail == "") != (tt.want.Detail == "") {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
