package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/reconcile"
	"sverka/internal/web"
	"sverka/jobs"
)

// serveCommand is the service.
type serveCommand struct{ *app }

func newServeCommand(a *app) *cobra.Command {
	c := &serveCommand{app: a}
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the service: calls and recordings reach Bitrix24 by schedule, events of the portal are taken",
		Long: `Runs until it is stopped. By schedule it delivers what Bitrix24 lacks of the last cdr.overlap, and of the time that it was down; it reads the
employees anew; it takes events of the portal over HTTP or from its queue. A portal or a database that is away is waited for.

SIGTERM or Ctrl-C stops it in good order: requests that have begun are finished, the exit code is 0.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
}

// service is the running service.
type service struct {
	*app
	config *Config
	log    *logrus.Entry
	web    *web.Server
	events *jobs.Events
	memory *memory
	state  atomic.Pointer[error] // why the service does not work; nil: it does
}

func (c *serveCommand) run(ctx context.Context) (err error) {
	config, err := c.readSite()
	if err != nil {
		return err
	}
	s := &service{app: c.app, config: config, log: c.log()}
	if _, err := s.schedule(nil); err != nil {
		return usageError{err}
	}
	s.is(errors.New("starting"))
	kept, err := openLedger(ctx, config, c.now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	s.memory = &memory{path: config.Ledger.DSN.Reveal() + ".service.json"}
	s.events = jobs.NewEvents(noLivePath{s.log}, c.now, s.log)
	wc := web.Config{Token: config.HTTP.Token, Healthy: s.healthy, Now: c.now, Log: s.log}
	if config.Bitrix24.App.ClientID != "" {
		tokens := kept.Access(config.Site)
		client, err := bitrix24.New(bitrix24.Config{
			App: bitrix24.AppConfig(config.Bitrix24.App), Tokens: tokens, Log: s.log, UserAgent: "sverka/" + version,
		})
		if err != nil {
			return usageError{err}
		}
		wc.Portal, wc.Tokens, wc.Receiver = client, tokens, s.events
	}
	s.web = web.New(wc)
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", config.HTTP.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; set http.listen to a free address", config.HTTP.Listen, err)
	}
	s.log.WithField("address", listener.Addr().String()).Info("sverka serves")
	group, working := errgroup.WithContext(ctx)
	group.Go(func() error { return s.web.Serve(working, listener) })
	group.Go(func() error { return s.work(working) })
	err = group.Wait()
	if ctx.Err() != nil && err == nil {
		s.log.Info("sverka has stopped")
	}
	return err
}

// is says how the service is; nil: it works.
func (s *service) is(state error) { s.state.Store(&state) }

func (s *service) healthy() error { return *s.state.Load() }

// work opens the site and works, until ctx is done. What cannot be reached is waited for; new tokens are taken up at once.
func (s *service) work(ctx context.Context) error {
	const first, most = 5 * time.Second, time.Minute
	pause := first
	for ctx.Err() == nil {
		site, err := s.openSite(ctx)
		var usage usageError
		switch {
		case err == nil:
			pause = first
			s.is(nil)
			s.live(ctx, site)
			if err := site.Close(); err != nil {
				s.log.WithError(err).Warn("site could not be closed")
			}
			continue
		case ctx.Err() != nil:
			continue
		case errors.As(err, &usage):
			return err
		}
		s.is(errors.New("the portal or the database cannot be used; see the log of sverka"))
		s.log.WithError(err).WithField("again_in", pause.String()).Warn("the service cannot begin to work yet")
		select {
		case <-ctx.Done():
		case <-s.web.Changed():
			pause = first
		case <-time.After(pause):
			pause = min(2*pause, most)
		}
	}
	return nil
}

// live works with an open site until ctx is done or the tokens of the portal have changed.
func (s *service) live(ctx context.Context, site *site) {
	working, stop := context.WithCancel(ctx)
	defer stop()
	r := newReconciler(s, site)
	schedule, err := s.schedule(r)
	if err != nil {
		s.log.WithError(err).Error("jobs cannot run") // was read before
		return
	}
	var group errgroup.Group
	group.Go(func() error {
		schedule.Run(working)
		return nil
	})
	if s.offline() && site.portal.ThroughApp() {
		poller := &jobs.Poller{Queue: site.portal.Lane(bitrix24.Live), Events: s.events, Memory: s.memory, Every: 5 * time.Second, Now: s.now, Log: s.log}
		group.Go(func() error { return poller.Run(working) })
	}
	select {
	case <-ctx.Done():
	case <-s.web.Changed():
		s.log.Info("the tokens of the portal have changed, beginning anew")
	}
	stop()
	_ = group.Wait() // neither gives an error
}

func (s *service) offline() bool {
	return s.config.Bitrix24.App.ClientID != "" && s.config.Bitrix24.Events == "offline"
}

// schedule gives the jobs of the configuration. Without a reconciler it only reads them.
func (s *service) schedule(r *reconciler) (*jobs.Schedule, error) {
	list := []jobs.Job{{Name: "employees", When: s.config.Jobs.Employees, Run: func(ctx context.Context) error { return r.refresh(ctx) }}}
	if s.config.Bitrix24.App.ClientID != "" {
		// By the same clock as the employees: both follow what people change in the portal.
		list = append(list, jobs.Job{Name: "bindings", When: s.config.Jobs.Employees, AtStart: true, Run: func(ctx context.Context) error { return r.bind(ctx) }})
	}
	if s.config.History {
		list = append(list, jobs.Job{Name: "reconcile", When: s.config.Jobs.Reconcile, AtStart: true, Run: func(ctx context.Context) error { return r.run(ctx) }})
	}
	return jobs.NewSchedule(s.config.Timezone, s.log, list...)
}

// noLivePath takes events while nothing can dial.
type noLivePath struct{ log *logrus.Entry }

func (n noLivePath) ClickToCall(_ context.Context, c portal.ClickToCall) error {
	n.log.WithFields(logrus.Fields{"call": c.CallID, "user": c.UserID}).Warn("click-to-call needs the live path (AMI), which is not configured")
	return nil
}

func (n noLivePath) CallbackRequest(_ context.Context, c portal.CallbackRequest) error {
	n.log.WithField("phone", c.Phone).Warn("callback needs the live path (AMI), which is not configured")
	return nil
}

// reconciler is the jobs of one open site.
type reconciler struct {
	*service
	site     *site
	backfill *jobs.Backfill
	policy   atomic.Pointer[reconcile.Policy]

	// Of reconcile, which never runs twice at once.
	last  jobs.Counts // of the run before
	lines bool        // the portal knows our lines
}

func newReconciler(s *service, site *site) *reconciler {
	site.survey.Records = site.staged
	r := &reconciler{service: s, site: site, backfill: site.backfill(s.app)}
	r.policy.Store(&site.survey.Policy)
	return r
}

// refresh reads the employees anew and goes on by them.
func (r *reconciler) refresh(ctx context.Context) error {
	employees, err := jobs.Directory(ctx, r.config.Site, r.site.portal, r.site.ledger, r.log)
	if err != nil {
		return fmt.Errorf("read employees of the portal: %w", err)
	}
	policy, err := r.site.policy(employees)
	if err != nil {
		return err
	}
	r.policy.Store(&policy)
	return jobs.Lines(ctx, r.site.portal, r.config.lines(), r.log)
}

// bind keeps the events that the portal tells us in step with the configuration.
func (r *reconciler) bind(ctx context.Context) error {
	if !r.site.portal.ThroughApp() {
		return nil // until the app is installed: events are told to an application, never to a webhook
	}
	var want []portal.Binding
	handler := web.Address(r.config.HTTP.PublicURL, web.PathEvent)
	switch {
	case r.offline():
		want = jobs.OfflineBindings()
	case handler != "":
		want = jobs.OnlineBindings(handler)
	default:
		return errors.New("the portal has no way to tell of events: set http.public_url, or bitrix24.events: offline")
	}
	return jobs.KeepBindings(ctx, r.site.portal, r.memory, want, r.log)
}

const reconciledKey = "reconciled"

// run delivers what the portal lacks since the last run, and of cdr.overlap before: rows arrive late.
func (r *reconciler) run(ctx context.Context) error {
	now := r.now()
	from, err := r.from(ctx, now)
	if err != nil {
		return err
	}
	release, err := r.site.ledger.Lock(ctx, func() { r.log.Debug("another sverka is delivering from this ledger, waiting for it") })
	if err != nil {
		return err
	}
	defer release()
	if !r.lines {
		if err := jobs.Lines(ctx, r.site.portal, r.config.lines(), r.log); err != nil {
			return err
		}
		r.lines = true
	}
	survey, backfill := *r.backfill.Survey, *r.backfill
	survey.Policy = *r.policy.Load()
	backfill.Survey = &survey
	counts, err := backfill.Apply(ctx, jobs.Period{From: from, To: now}, jobs.Filter{}, jobs.Scope{Calls: true, Recordings: true}, silent{})
	r.tell(counts)
	if err != nil {
		return err
	}
	return r.memory.Remember(ctx, reconciledKey, now.UTC().Format(time.RFC3339))
}

// from gives where a run begins: the service may have been down for longer than the overlap.
func (r *reconciler) from(ctx context.Context, now time.Time) (time.Time, error) {
	from := now.Add(-r.config.CDR.Overlap)
	text, err := r.memory.Recall(ctx, reconciledKey)
	if err != nil || text == "" {
		return from, err
	}
	last, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return from, fmt.Errorf("recall when calls were compared last: %w; remove %s", err, r.memory.path)
	}
	if last = last.Add(-r.config.CDR.Overlap); last.Before(from) {
		return last, nil
	}
	return from, nil
}

// tell writes one line of figures when something was done, or what is missing has changed.
func (r *reconciler) tell(c jobs.Counts) {
	changed := c.Failed != r.last.Failed || c.Recordings.Failed != r.last.Recordings.Failed
	r.last = c
	if c.Delivered == 0 && c.Recordings.Attached == 0 && !changed {
		return
	}
	log := r.log.WithFields(logrus.Fields{
		"calls": c.Calls, "delivered": c.Delivered, "recordings": c.Recordings.Attached, "failed": c.Failed, "recordings_failed": c.Recordings.Failed,
	})
	if c.Missing() {
		log.Warn("calls reconciled; sverka gaps tells what is missing")
		return
	}
	log.Info("calls reconciled")
}

// silent is a progress that nobody watches.
type silent struct{}

func (silent) Call(bool)      {}
func (silent) Recording(bool) {}
