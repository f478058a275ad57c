package jobs

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
	"github.com/sirupsen/logrus"
)

// Job is one kind of work that is done again and again.
type Job struct {
	Name    string
	When    string // cron expression, seconds allowed, or @every
	AtStart bool   // done once when the schedule begins, too
	Run     func(ctx context.Context) error
}

// Schedule runs jobs by the clock of a zone. A job that is still running is not started again, and a panic stays in its job.
type Schedule struct {
	jobs []Job
	when []cron.Schedule
	zone *time.Location
	log  *logrus.Entry
}

// NewSchedule makes a schedule. An expression that cannot be read is an error that names its job.
func NewSchedule(zone *time.Location, log *logrus.Entry, jobs ...Job) (*Schedule, error) {
	s := &Schedule{jobs: jobs, zone: zone, log: log}
	for _, job := range jobs {
		when, err := parseWhen(job.When)
		if err != nil {
			return nil, fmt.Errorf("jobs.%s %q: %w; write a cron expression like */5 * * * *, with seconds in front if need be, or @every 30s",
				job.Name, job.When, err)
		}
		s.when = append(s.when, when)
	}
	return s, nil
}

func parseWhen(text string) (cron.Schedule, error) {
	if strings.Contains(text, "TZ=") {
		return nil, fmt.Errorf("the zone is that of the site, set timezone") // and the parser panics on a zone alone
	}
	parser := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	when, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("no cron expression: %w", err)
	}
	return when, nil
}

// Run runs the jobs until ctx is done, and comes back when none is running any more.
func (s *Schedule) Run(ctx context.Context) {
	c := cron.New(cron.WithLocation(s.zone), cron.WithLogger(cronLog{s.log}))
	var first sync.WaitGroup
	for i, job := range s.jobs {
		log := s.log.WithField("job", job.Name)
		// Recover is the innermost: a panic that passed SkipIfStillRunning would leave the job running for ever in its eyes.
		chain := cron.NewChain(cron.SkipIfStillRunning(cronLog{log}), cron.Recover(cronLog{log}))
		r := &run{job: job, log: log}
		wrapped := chain.Then(cron.FuncJob(func() { r.once(ctx) }))
		c.Schedule(s.when[i], wrapped)
		if job.AtStart {
			first.Go(wrapped.Run)
		}
	}
	c.Start()
	<-ctx.Done()
	<-c.Stop().Done()
	first.Wait()
}

// run is one job. It tells of trouble when it begins, changes or ends, not every time.
type run struct {
	job     Job
	log     *logrus.Entry
	trouble string
}

// once does the job. Never two at once, so trouble needs no lock.
func (r *run) once(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	err := r.job.Run(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil && err.Error() != r.trouble:
		r.log.WithError(err).Error("job failed; it is tried again by its schedule")
		r.trouble = err.Error()
	case err == nil && r.trouble != "":
		r.log.Info("job works again")
		r.trouble = ""
	}
}

// cronLog writes what the scheduler has to say: its routine for those who debug, trouble for all.
type cronLog struct{ log *logrus.Entry }

func (l cronLog) Info(msg string, pairs ...any) { l.log.WithFields(fieldsOf(pairs)).Debug(msg) }

func (l cronLog) Error(err error, msg string, pairs ...any) {
	l.log.WithFields(fieldsOf(pairs)).WithError(err).Error("job stopped: " + msg)
}

func fieldsOf(pairs []any) logrus.Fields {
	fields := make(logrus.Fields, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		fields[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return fields
}
