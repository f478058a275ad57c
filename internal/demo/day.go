package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options say what day to write.
type Options struct {
	Dir   string    // gets cdr.db and monitor/; must not hold a cdr.db yet
	Day   time.Time // any moment of the day wanted; its zone is that of the PBX's clock
	Calls int
	Seed  uint64    // the same seed gives the same day
	Now   time.Time // every call ended minutes before
}

// Summary is the truth about a day: what the PBX did, and what must stand in the portal.
type Summary struct {
	Calls      int
	Internal   int // of them between two employees: never sent
	Parts      int // that belong in the portal
	Recordings int // that belong in the portal
	CDR        string
	Monitor    string    // directory of the recordings
	From, To   time.Time // the day, To exclusive
	Sent       []Part    // the parts, in order of their call's start
}

// Part is one part of a call as it must stand in the portal.
type Part struct {
	ExternalID string
	Kind       string // what happened, in English words
	Type       int    // 1 outbound, 2 inbound, 3 after a transfer
	Status     string // 200, 304, 486, 480
	UserID     int
	Phone      string // E.164
	Line       string // E.164
	Start      time.Time
	Talk       int    // seconds
	Held       int    // seconds for which the client may have been on hold while the employee asked a colleague: part of the talk, or not
	Recording  string // path of the file, "" if there is none
}

const (
	opens   = 9 * time.Hour
	closes  = 18 * time.Hour
	settled = 5 * time.Minute // between the end of the last call and Options.Now
	longest = 90 * time.Second
)

// Write writes a day of calls: Dir/cdr.db with the rows, and the recordings below Dir/monitor.
func Write(ctx context.Context, o Options) (Summary, error) {
	if o.Calls < 1 {
		return Summary{}, fmt.Errorf("a day of %d calls: want one at least", o.Calls)
	}
	d := newDay(o)
	calls, err := d.calls(o.Calls)
	if err != nil {
		return Summary{}, err
	}
	sum := Summary{
		Calls: len(calls), CDR: filepath.Join(o.Dir, "cdr.db"), Monitor: filepath.Join(o.Dir, "monitor"),
		From: d.midnight, To: d.midnight.AddDate(0, 0, 1),
	}
	for i, c := range calls {
		if err := c.writeSounds(ctx, sum.Monitor, o.Seed+uint64(i)); err != nil {
			return Summary{}, err
		}
		if len(c.parts) == 0 {
			sum.Internal++
		}
		for _, p := range c.parts {
			if p.Recording != "" {
				p.Recording = filepath.Join(sum.Monitor, filepath.FromSlash(p.Recording))
				sum.Recordings++
			}
			sum.Sent = append(sum.Sent, p)
		}
	}
	sum.Parts = len(sum.Sent)
	// MikoPBX writes all rows of a call together, some seconds after its last channel ended.
	slices.SortStableFunc(calls, func(a, b *call) int { return a.end.Compare(b.end) })
	if err := writeTable(ctx, sum.CDR, calls); err != nil {
		return Summary{}, err
	}
	return sum, nil
}

// day is a PBX while it makes the calls of one day. Its counters go on from call to call.
type day struct {
	random   *rand.Rand
	midnight time.Time
	now      time.Time
	seq      int // of uniqueids
	channel  int
	verbose  int
	clients  []client
	free     []time.Time // by client: when the last call ended
}

func newDay(o Options) *day {
	y, m, dd := o.Day.Date()
	return &day{
		random:   rand.New(rand.NewPCG(o.Seed, 0x5eed)),
		midnight: time.Date(y, m, dd, 0, 0, 0, 0, o.Day.Location()),
		now:      o.Now,
		seq:      190, channel: 0x20, verbose: 0x12b,
		clients: clients(),
		free:    make([]time.Time, len(clients())),
	}
}

// calls makes n calls, spread over the office's hours: each kind once as far as n goes, the others as often as they happen in real life.
func (d *day) calls(n int) ([]*call, error) {
	from, to := d.midnight.Add(opens), d.midnight.Add(closes)
	if last := d.now.Add(-settled); to.After(last) {
		to = last
	}
	if to.Sub(from) < time.Hour {
		from = d.midnight
	}
	room := to.Sub(from) - longest
	if room < time.Minute {
		return nil, errors.New("the day is too young for calls that ended minutes ago: take the day before")
	}
	kinds := d.kinds(n)
	slot := room / time.Duration(n)
	calls := make([]*call, 0, n)
	for i, k := range kinds {
		start := from.Add(time.Duration(i) * slot).Add(time.Duration(d.random.Int64N(int64(slot) + 1)))
		c := d.begin(k.name, start.Truncate(time.Millisecond))
		k.play(c)
		d.free[c.client] = c.end
		calls = append(calls, c)
	}
	return calls, nil
}

// kinds gives the kinds of n calls in the order in which they happen.
func (d *day) kinds(n int) []kind {
	all := kinds()
	var often []kind
	for _, k := range all {
		for range k.often {
			often = append(often, k)
		}
	}
	list := slices.Clone(all[:min(n, len(all))])
	for len(list) < n {
		list = append(list, often[d.random.IntN(len(often))])
	}
	d.random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// pick chooses a client: of three at random the one who called longest ago, who is hardly talking to the office at that moment.
func (d *day) pick() int {
	best := d.random.IntN(len(d.clients))
	for range 2 {
		if c := d.random.IntN(len(d.clients)); d.free[c].Before(d.free[best]) {
			best = c
		}
	}
	return best
}

// writeSounds writes the recordings of a call.
func (c *call) writeSounds(ctx context.Context, monitor string, seed uint64) error {
	for i, s := range c.sounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(monitor, filepath.FromSlash(s.file))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("write recording of call %s: %w", c.linkedID, err)
		}
		if err := writeWAV(path, s.length, seed*31+uint64(i)); err != nil {
			return fmt.Errorf("write recording of call %s: %w", c.linkedID, err)
		}
		// The file is as old as the conversation: Sverka waits for files that changed just now.
		if err := os.Chtimes(path, s.closed, s.closed); err != nil {
			return fmt.Errorf("write recording of call %s: %w", c.linkedID, err)
		}
	}
	return nil
}
