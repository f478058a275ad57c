package emulator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Faults are what goes wrong on purpose with requests to REST and with uploads: probabilities from 0 to 1, together at most 1.
type Faults struct {
	Lost       float64       // the work is done, then the connection is cut without an answer
	Error      float64       // 500 INTERNAL_SERVER_ERROR before any work
	ErrorAfter float64       // the same after the work
	Reset      float64       // the connection is reset, before or after the work at random
	Slow       time.Duration // the work is done, the answer waits this long
}

// ParseFaults reads a comma list like "lost=0.05,error=0.05,error_after=0.05,reset=0.05,slow=200ms". An empty list has no faults.
func ParseFaults(list string) (Faults, error) {
	var f Faults
	seen := map[string]bool{}
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		if seen[name] {
			return Faults{}, fmt.Errorf("fault %s is given twice", name)
		}
		seen[name] = true
		if name == "slow" {
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return Faults{}, fmt.Errorf("fault slow=%s: want a duration like 200ms", value)
			}
			f.Slow = d
			continue
		}
		part, ok := map[string]*float64{"lost": &f.Lost, "error": &f.Error, "error_after": &f.ErrorAfter, "reset": &f.Reset}[name]
		if !ok {
			return Faults{}, fmt.Errorf("no fault is called %q: there are lost, error, error_after, reset and slow", name)
		}
		x, err := strconv.ParseFloat(value, 64)
		if err != nil || !(x >= 0 && x <= 1) {
			return Faults{}, fmt.Errorf("fault %s=%s: want a probability from 0 to 1", name, value)
		}
		*part = x
	}
	return f, f.check()
}

func (f Faults) check() error {
	const rounding = 1e-9
	if f.Lost+f.Error+f.ErrorAfter+f.Reset > 1+rounding {
		return errors.New("the probabilities of the faults are more than 1 together")
	}
	return nil
}

// fault is the one that a request meets.
type fault string

const (
	noFault     fault = ""
	lost        fault = "lost"
	errorBefore fault = "error"
	errorAfter  fault = "error_after"
	resetBefore fault = "reset before"
	resetAfter  fault = "reset after"
)

// draw chooses the fault of one request, and counts it.
func (p *Portal) draw() (fault, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.faults
	if f.Slow > 0 {
		p.count.Faults["slow"]++
	}
	x := p.random.Float64()
	for _, c := range []struct {
		chance float64
		name   string
		fault  fault
	}{
		{f.Lost, "lost", lost},
		{f.Error, "error", errorBefore},
		{f.ErrorAfter, "error_after", errorAfter},
		{f.Reset / 2, "reset", resetBefore},
		{f.Reset / 2, "reset", resetAfter},
	} {
		if x < c.chance {
			p.count.Faults[c.name]++
			return c.fault, f.Slow
		}
		x -= c.chance
	}
	return noFault, f.Slow
}
