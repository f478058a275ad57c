package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells on stderr how delivering goes on: a bar on a terminal, a line now and then elsewhere.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	now   func() time.Time
	bar   *progressbar.ProgressBar // nil: lines
	told  time.Time
	calls tally
	files tally
}

type tally struct{ planned, done, failed int }

// every is how often a line is written where there is no bar.
const every = 5 * time.Second

func newProgress(out io.Writer, terminal bool, calls, recordings int, now func() time.Time) *progress {
	p := &progress{out: out, now: now, told: now(), calls: tally{planned: calls}, files: tally{planned: recordings}}
	if terminal && calls+recordings > 0 {
		p.bar = progressbar.NewOptions(calls+recordings,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetWidth(30),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	return p
}

// Call counts a call whose fate is known.
func (p *progress) Call(ok bool) { p.count(&p.calls, ok) }

// Recording counts a recording whose fate is known.
func (p *progress) Recording(ok bool) { p.count(&p.files, ok) }

func (p *progress) count(t *tally, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.done++
	if !ok {
		t.failed++
	}
	if p.bar != nil {
		p.bar.Describe(p.words())
		_ = p.bar.Add(1) // a terminal that cannot be written to is no reason to stop delivering
		return
	}
	if now := p.now(); now.Sub(p.told) >= every {
		p.told = now
		fmt.Fprintln(p.out, p.words())
	}
}

func (p *progress) words() string {
	s := fmt.Sprintf("%s of %s, %s of %s", number(p.calls.done), count(p.calls.planned, "call"), number(p.files.done), count(p.files.planned, "recording"))
	if failed := p.calls.failed + p.files.failed; failed > 0 {
		s += fmt.Sprintf(", %s failed", number(failed))
	}
	return s
}

// done takes the bar away, or writes the last line where there is none.
func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear() // a terminal that cannot be written to is no reason to fail
		return
	}
	if p.calls.planned+p.files.planned > 0 {
		fmt.Fprintln(p.out, p.words())
	}
}
