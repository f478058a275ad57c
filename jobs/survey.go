package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/cdr"
	"sverka/internal/ledger"
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// Source is where the rows of the PBX are read.
type Source interface {
	// Rows yields the rows that start in [from, to), ordered by start.
	Rows(ctx context.Context, from, to time.Time, yield func(cdr.Row) error) error
	// Call gives all rows of one linkedid; none if there is no such call.
	Call(ctx context.Context, linkedID string) ([]cdr.Row, error)
	// Events gives the channel events of calls, where the PBX keeps them.
	Events(ctx context.Context, linkedIDs []string) (map[string][]cdr.Event, error)
}

// Statistics is where the calls of the portal are read.
type Statistics interface {
	// Statistics yields the calls that start in [from, to).
	Statistics(ctx context.Context, from, to time.Time, yield func(portal.Row) error) error
	StatisticsByExternalID(ctx context.Context, ids []string) ([]portal.Row, error)
	StatisticsByCallID(ctx context.Context, ids []portal.CallID) ([]portal.Row, error)
}

// Ledger is where it is written how far each part has come.
type Ledger interface {
	Parts(ctx context.Context, site string, linkedIDs []string) ([]ledger.Part, error)
	Save(ctx context.Context, changes ...ledger.Change) error
}

// RecordLooker tells what there is of a recording on the PBX's side, without touching it.
type RecordLooker interface {
	State(want reconcile.Want) reconcile.RecordState
}

// Period is a stretch of time, To excluded.
type Period struct{ From, To time.Time }

// Filter narrows a survey. The zero value takes every call.
type Filter struct {
	Extension string // took part in the call
	Phone     string // the outside party, E.164
}

func (f Filter) takes(call cdr.Call) bool {
	if f.Phone != "" && f.Phone != call.Phone && f.Phone != call.RawPhone {
		return false
	}
	if f.Extension == "" {
		return true
	}
	for _, leg := range call.Legs {
		if leg.Extension == f.Extension || leg.Via == f.Extension {
			return true
		}
	}
	for _, part := range call.Parts {
		if part.Extension == f.Extension {
			return true
		}
	}
	return false
}

// Survey compares both sides of a period. It changes nothing on either.
type Survey struct {
	Site       string
	Source     Source
	Rules      cdr.Rules
	Policy     reconcile.Policy
	Statistics Statistics
	Ledger     Ledger
	Records    RecordLooker  // nil: recordings are not compared
	Settle     time.Duration // a call is over when its last row is this old
	Overlap    time.Duration // how long a call may last: rows of one call lie this far apart at most
	Together   bool          // the PBX writes all rows of a call at once, when it is over (MikoPBX)
	Zone       *time.Location
	Now        func() time.Time
	Log        *logrus.Entry
}

// window is how much of a period is held in memory at once.
const window = 72 * time.Hour

// chunk is how many calls are assembled at once, so that their channel events are read together.
const chunk = 200

// Extras makes a survey look for calls of the portal that the PBX does not have, too.
type Extras bool

// Run compares both sides of the period and yields a plan for each stretch of it, oldest first.
func (s *Survey) Run(ctx context.Context, period Period, filter Filter, extras Extras, yield func(reconcile.Plan) error) error {
	w := &surveyor{Survey: s, filter: filter, extras: extras, yield: yield, period: period, now: s.Now(), systems: make(map[string]bool)}
	w.open(period.From)
	err := s.calls(ctx, period, w.now, func(call cdr.Call, over bool) error { return w.add(ctx, call, over) })
	if err != nil {
		return err
	}
	return w.close(ctx, period.To)
}

// calls yields the calls of the PBX that began in the period, oldest first, and whether each is over.
func (s *Survey) calls(ctx context.Context, period Period, now time.Time, yield func(call cdr.Call, over bool) error) error {
	a := &assembler{survey: s, period: period, now: now, yield: yield}
	groups := cdr.NewGrouper(s.Overlap)
	// Rows of a call that began in the period may come after it, and a call that began before it may reach into it.
	err := s.Source.Rows(ctx, period.From.Add(-s.Overlap), period.To.Add(s.Overlap), func(row cdr.Row) error {
		for _, rows := range groups.Add(row) {
			if err := a.add(ctx, rows); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read calls of the PBX: %w", err)
	}
	for _, rows := range groups.Flush() {
		if err := a.add(ctx, rows); err != nil {
			return err
		}
	}
	return a.flush(ctx)
}

// assembler turns groups of rows into calls, some at a time.
type assembler struct {
	survey *Survey
	period Period
	now    time.Time
	groups [][]cdr.Row
	yield  func(call cdr.Call, over bool) error
}

func (a *assembler) add(ctx context.Context, rows []cdr.Row) error {
	a.groups = append(a.groups, rows)
	if len(a.groups) < chunk {
		return nil
	}
	return a.flush(ctx)
}

func (a *assembler) flush(ctx context.Context) error {
	if len(a.groups) == 0 {
		return nil
	}
	ids := make([]string, 0, len(a.groups))
	seen := make(map[string]bool)
	for _, rows := range a.groups {
		for _, row := range rows {
			if !seen[row.LinkedID] {
				seen[row.LinkedID] = true
				ids = append(ids, row.LinkedID)
			}
		}
	}
	events, err := a.survey.Source.Events(ctx, ids)
	if err != nil {
		return fmt.Errorf("read channel events of %d calls: %w", len(ids), err)
	}
	for _, rows := range a.groups {
		call := a.survey.assemble(rows, events)
		if call.Start.Before(a.period.From) || !call.Start.Before(a.period.To) {
			continue
		}
		if err := a.yield(call, a.survey.over(call, rows, events, a.now)); err != nil {
			return err
		}
	}
	a.groups = a.groups[:0]
	return nil
}

// assemble makes one call of its rows, with the events of every linkedid among them.
func (s *Survey) assemble(rows []cdr.Row, events map[string][]cdr.Event) cdr.Call {
	var own []cdr.Event
	done := make(map[string]bool)
	for _, row := range rows {
		if !done[row.LinkedID] {
			done[row.LinkedID] = true
			own = append(own, events[row.LinkedID]...)
		}
	}
	return cdr.Assemble(rows, own, s.Rules)
}

// over reports whether no more rows of a call are to be expected. The rows of an Asterisk channel are written when it hangs up, and the
// channel that gave the call its linkedid is there from the start: as long as its own row is missing, the call may still be going on.
func (s *Survey) over(call cdr.Call, rows []cdr.Row, events map[string][]cdr.Event, now time.Time) bool {
	quiet := now.Sub(call.LastRow)
	if quiet < s.Settle {
		return false
	}
	if s.Together || quiet >= s.Overlap {
		return true
	}
	for _, row := range rows {
		if row.UniqueID == row.LinkedID {
			return true
		}
		for _, event := range events[row.LinkedID] {
			if event.Type == "LINKEDID_END" {
				return true
			}
		}
	}
	return false
}

// Call reads one call of the PBX and assembles it. ok is false when the CDR has none of that linkedid.
func (s *Survey) Call(ctx context.Context, linkedID string) (call cdr.Call, rows []cdr.Row, ok bool, err error) {
	rows, err = s.Source.Call(ctx, linkedID)
	if err != nil {
		return cdr.Call{}, nil, false, fmt.Errorf("read call %s of the PBX: %w", linkedID, err)
	}
	if len(rows) == 0 {
		return cdr.Call{}, nil, false, nil
	}
	events, err := s.Source.Events(ctx, []string{linkedID})
	if err != nil {
		return cdr.Call{}, nil, false, fmt.Errorf("read channel events of call %s: %w", linkedID, err)
	}
	return s.assemble(rows, events), rows, true, nil
}

// surveyor collects the calls of one window and compares them with the portal.
type surveyor struct {
	*Survey
	filter Filter
	extras Extras
	period Period
	now    time.Time
	yield  func(reconcile.Plan) error

	systems map[string]bool // names of the Asterisk systems that the PBX's calls came from
	from    time.Time
	calls   int
	ongoing int
	known   map[string]int // linkedid → parts, of the calls in the window
	wants   []reconcile.Want
	ids     []string // linkedids of wants
	ignored []reconcile.Ignored
	nobody  map[string]int // extensions without an employee → calls
}

func (w *surveyor) open(from time.Time) {
	w.from, w.calls, w.ongoing = from, 0, 0
	w.known = make(map[string]int)
	w.wants, w.ids, w.ignored = nil, nil, nil
	w.nobody = make(map[string]int)
}

func (w *surveyor) add(ctx context.Context, call cdr.Call, over bool) error {
	for !call.Start.Before(w.from.Add(window)) {
		to := w.from.Add(window)
		if err := w.close(ctx, to); err != nil {
			return err
		}
		w.open(to)
	}
	w.known[call.LinkedID] = max(1, len(call.Parts))
	w.systems[cdr.SystemName(call.LinkedID)] = true
	switch {
	case !w.filter.takes(call):
		return nil
	case !over:
		w.ongoing++
		return nil
	}
	w.calls++
	wants, ignored := w.Policy.Want(call, w.now)
	if ignored != "" {
		w.ignored = append(w.ignored, reconcile.Ignored{LinkedID: call.LinkedID, Phone: call.Phone, Start: call.Start, Reason: ignored})
		return nil
	}
	for _, extension := range w.Policy.Strangers(call) {
		w.nobody[extension]++
	}
	w.wants = append(w.wants, wants...)
	w.ids = append(w.ids, call.LinkedID)
	return nil
}

// close compares what the window holds and yields the plan for it.
func (w *surveyor) close(ctx context.Context, to time.Time) error {
	if w.calls+w.ongoing == 0 && !bool(w.extras) {
		return nil
	}
	held, err := w.Ledger.Parts(ctx, w.Site, w.ids)
	if err != nil {
		return err
	}
	in := reconcile.Input{Wants: w.wants, Ledger: make(map[ledger.Key]ledger.Part, len(held)), From: w.from, To: to, Zone: w.Zone, Known: w.known}
	for _, part := range held {
		in.Ledger[part.Key] = part
	}
	if in.Rows, err = w.rows(ctx, in); err != nil {
		return err
	}
	if err := w.unknown(ctx, in); err != nil {
		return err
	}
	in.Records = w.records(in)
	plan := reconcile.Diff(in)
	plan.PBXCalls, plan.Ongoing, plan.Ignored = w.calls, w.ongoing, w.ignored
	plan.Strangers = w.nobody
	return w.yield(plan)
}

// rows reads the portal's side: all calls of the window when extras are wanted, and by their keys those that this did not find.
func (w *surveyor) rows(ctx context.Context, in reconcile.Input) ([]portal.Row, error) {
	var rows []portal.Row
	external := make(map[string]bool)
	calls := make(map[portal.CallID]bool)
	take := func(row portal.Row) {
		external[row.ExternalID], calls[row.CallID] = true, true
		rows = append(rows, row)
	}
	ours := make(map[portal.CallID]bool)
	for _, part := range in.Ledger {
		ours[part.CallID] = part.CallID != ""
	}
	if w.extras {
		err := w.Statistics.Statistics(ctx, in.From, in.To, func(row portal.Row) error {
			if _, _, ok := cdr.ParseExternalID(row.ExternalID); ok || ours[row.CallID] {
				take(row)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read calls of the portal: %w", err)
		}
	}
	var ids []string
	for _, want := range in.Wants {
		if !external[want.Call.ExternalID] {
			ids = append(ids, want.Call.ExternalID)
		}
	}
	found, err := w.Statistics.StatisticsByExternalID(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up %d calls in the portal: %w", len(ids), err)
	}
	for _, row := range found {
		take(row)
	}
	// A call that the portal registered itself (click-to-call) carries no id of ours.
	var rest []portal.CallID
	for _, want := range in.Wants {
		if id := in.Ledger[want.Key].CallID; id != "" && !calls[id] {
			rest = append(rest, id)
		}
	}
	found, err = w.Statistics.StatisticsByCallID(ctx, rest)
	if err != nil {
		return nil, fmt.Errorf("look up %d calls in the portal: %w", len(rest), err)
	}
	for _, row := range found {
		take(row)
	}
	return rows, nil
}

// unknown asks the CDR for the calls of rows that none of the window's calls explains: they may have begun just outside of it. Rows in the
// name of another Asterisk are left alone: several may write into one portal.
func (w *surveyor) unknown(ctx context.Context, in reconcile.Input) error {
	if !w.extras {
		return nil
	}
	for _, row := range in.Rows {
		linkedID, _, ok := cdr.ParseExternalID(row.ExternalID)
		if !ok || len(w.systems) > 0 && !w.systems[cdr.SystemName(linkedID)] {
			continue
		}
		if _, done := in.Known[linkedID]; done {
			continue
		}
		call, _, there, err := w.Call(ctx, linkedID)
		if err != nil {
			return err
		}
		if there {
			in.Known[linkedID] = max(1, len(call.Parts))
		} else {
			in.Known[linkedID] = 0
		}
	}
	return nil
}

// records looks at the PBX's disk for the recordings that the portal lacks.
func (w *surveyor) records(in reconcile.Input) map[ledger.Key]reconcile.RecordState {
	if w.Records == nil {
		return nil
	}
	attached := make(map[string]bool)
	for _, row := range in.Rows {
		attached[row.ExternalID] = attached[row.ExternalID] || row.RecordFileID != 0
	}
	states := make(map[ledger.Key]reconcile.RecordState)
	for _, want := range in.Wants {
		if want.Record != nil && !attached[want.Call.ExternalID] {
			states[want.Key] = w.Records.State(want)
		}
	}
	return states
}

// Directory reads the portal's employees and keeps them in the ledger; when the portal cannot tell them, the ones kept last serve.
func Directory(ctx context.Context, site string, p interface {
	Employees(ctx context.Context) ([]portal.Employee, error)
}, l EmployeeLedger, log *logrus.Entry,
) ([]portal.Employee, error) {
	employees, err := p.Employees(ctx)
	if err == nil && len(employees) == 0 {
		err = errors.New("the portal named no employees")
	}
	if err == nil {
		return employees, l.SaveEmployees(ctx, site, employees)
	}
	if class := portal.ClassOf(err); class == portal.Unreachable || ctx.Err() != nil {
		return nil, err
	}
	kept, at, keptErr := l.Employees(ctx, site)
	if keptErr != nil {
		return nil, errors.Join(err, keptErr)
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("read employees of the portal: %w", err)
	}
	log.WithError(err).WithField("kept_at", at.Format(time.RFC3339)).Warn("the portal cannot name its employees, going on with those kept last")
	return kept, nil
}

// EmployeeLedger keeps the employees that the portal named last.
type EmployeeLedger interface {
	SaveEmployees(ctx context.Context, site string, employees []portal.Employee) error
	Employees(ctx context.Context, site string) ([]portal.Employee, time.Time, error)
}
