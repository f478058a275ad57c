package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/cdr"
	"sverka/cdr/cdrdb"
	"sverka/internal/deliver"
	"sverka/internal/ledger/sqlite"
	"sverka/internal/phone"
	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/reconcile"
	"sverka/jobs"
	"sverka/uploader"
	"sverka/uploader/dir"
)

// site is everything that the configuration names, opened and put together.
type site struct {
	config *Config
	log    *logrus.Entry
	phones *phone.Reader
	cdr    *cdrdb.DB
	portal *bitrix24.Client
	ledger *sqlite.Ledger
	staged *uploader.Uploader
	survey *jobs.Survey
	close  []func() error
}

// readSite reads the configuration alone.
func (a *app) readSite() (*Config, error) {
	path, err := findConfig(a.config)
	if err != nil {
		return nil, usageError{err}
	}
	c, err := readConfig(path, a.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// openSite reads the configuration and opens what it names. The portal is asked who its employees are, so a site that opens is reachable.
func (a *app) openSite(ctx context.Context) (s *site, err error) {
	c, err := a.readSite()
	if err != nil {
		return nil, err
	}
	s = &site{config: c, log: a.log()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if s.phones, err = phone.New(c.Country); err != nil {
		return s, usagef("country %s: %w", c.Country, err)
	}
	if err := s.openStores(ctx, a); err != nil {
		return s, err
	}
	if s.portal, err = openPortal(c, s.ledger, s.log); err != nil {
		return s, err
	}
	employees, err := s.employees(ctx)
	if err != nil {
		return s, err
	}
	policy, err := s.policy(employees)
	if err != nil {
		return s, err
	}
	s.survey = &jobs.Survey{
		Site:       c.Site,
		Source:     s.cdr,
		Rules:      s.rules(),
		Policy:     policy,
		Statistics: s.portal,
		Ledger:     s.ledger,
		Settle:     c.CDR.Settle,
		Overlap:    c.CDR.Overlap,
		Together:   c.CDR.Schema == cdrdb.SchemaMikoPBX,
		Zone:       c.Timezone,
		Now:        a.now,
		Log:        s.log,
	}
	return s, nil
}

// openStores opens what lies on this side of the wire: the CDR, the ledger and the staging area.
func (s *site) openStores(ctx context.Context, a *app) error {
	c := s.config
	var err error
	s.cdr, err = cdrdb.Open(ctx, cdrdb.Config{
		Driver: c.CDR.Driver, Schema: c.CDR.Schema, DSN: c.CDR.DSN.Reveal(), Table: c.CDR.Table, CEL: c.CDR.CEL, Zone: c.Timezone,
		OnBad: func(row string, err error) { s.log.WithField("row", row).WithError(err).Warn("CDR row cannot be used") },
	})
	if err != nil {
		return err
	}
	s.close = append(s.close, s.cdr.Close)
	if s.ledger, err = openLedger(ctx, c, a.now); err != nil {
		return err
	}
	s.close = append(s.close, s.ledger.Close)
	store, closeStore, err := openStaging(c, a.now)
	if err != nil {
		return err
	}
	s.close = append(s.close, closeStore)
	s.staged, err = uploader.New(uploader.Config{
		Dir: c.Recordings.Dir, Settle: c.Recordings.Settle, Format: c.Recordings.Format, Zone: c.Timezone, Site: c.Site,
		Now: a.now, Parallel: 2, Log: s.log,
	}, store)
	return err
}

// openPortal makes the client: through the local app where one is configured, else through the webhook.
func openPortal(c *Config, kept *sqlite.Ledger, log *logrus.Entry) (*bitrix24.Client, error) {
	access, b := kept.Access(c.Site), c.Bitrix24
	client, err := bitrix24.New(bitrix24.Config{
		Webhook: b.Webhook, Burst: b.Rate.Burst, PerSecond: b.Rate.PerSecond, Tokens: access, Hosts: access, Log: log, UserAgent: "sverka/" + version,
		App: bitrix24.AppConfig{Portal: b.App.Portal, ClientID: b.App.ClientID, ClientSecret: b.App.ClientSecret, OAuth: b.App.OAuth},
	})
	if err != nil {
		return nil, usageError{err}
	}
	return client, nil
}

// openStaging opens the staging area that the configuration names.
func openStaging(c *Config, now func() time.Time) (store uploader.Store, closeStore func() error, err error) {
	if c.Staging.Driver == "s3" {
		return openBucket(c, now)
	}
	d, err := dir.New(dir.Config{Dir: c.Staging.Dir, MaxBytes: int64(c.Staging.MaxBytes), Now: now})
	if err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}

// openLedger opens the ledger that the configuration names.
func openLedger(ctx context.Context, c *Config, now func() time.Time) (*sqlite.Ledger, error) {
	if c.Ledger.Driver != "sqlite" {
		return nil, usagef("ledger.driver %s is not there yet: use sqlite", c.Ledger.Driver)
	}
	return sqlite.Open(ctx, c.Ledger.DSN.Reveal(), now)
}

// Close closes what is open.
func (s *site) Close() error {
	var errs []error
	for i := len(s.close) - 1; i >= 0; i-- {
		errs = append(errs, s.close[i]())
	}
	return errors.Join(errs...)
}

// employees asks the portal for its employees, and on the way whether the webhook's user sees everybody's calls.
func (s *site) employees(ctx context.Context) ([]portal.Employee, error) {
	if err := s.portal.LearnLimits(ctx); err != nil {
		s.log.WithError(err).Debug("the portal does not tell its plan: the limits of the configuration hold")
	}
	me, admin, err := s.portal.Profile(ctx)
	switch class := portal.ClassOf(err); {
	case class == portal.Unreachable, class == portal.Access, class == portal.Unknown, ctx.Err() != nil:
		return nil, fmt.Errorf("ask the portal who we are: %w", err)
	case err != nil:
		s.log.WithError(err).Debug("the portal does not tell who we are")
	case !admin:
		s.log.WithField("user", me.ID).Warn("the webhook's user is no administrator: calls of employees that it may not see would look missing")
	}
	return jobs.Directory(ctx, s.config.Site, s.portal, s.ledger, s.log)
}

// rules say how rows of this PBX are read.
func (s *site) rules() cdr.Rules {
	numbers := s.lineNumbers()
	return cdr.Rules{
		Internal: s.config.CDR.Internal.MatchString,
		Phone:    s.phones.E164,
		Line: func(did string) string {
			if number, ok := numbers[did]; ok {
				return number
			}
			// A number that the portal never heard of would become a line of its own there: only real ones are told.
			if number := s.phones.E164(did); strings.HasPrefix(number, "+") {
				if line, ok := numbers[number]; ok {
					return line
				}
				return number
			}
			return ""
		},
	}
}

// lineNumbers maps each way a line's number is written to the number.
func (s *site) lineNumbers() map[string]string {
	numbers := make(map[string]string)
	for _, line := range s.config.Lines {
		numbers[line.Number] = line.Number
		if e164 := s.phones.E164(line.Number); e164 != "" {
			numbers[e164] = line.Number
		}
		for _, did := range line.DID {
			numbers[did] = line.Number
		}
	}
	return numbers
}

// policy says what is delivered, and to whom.
func (s *site) policy(employees []portal.Employee) (reconcile.Policy, error) {
	c := s.config
	off := make(map[string]bool)
	for _, line := range c.Lines {
		off[line.Number] = !line.Enabled
	}
	p := reconcile.Policy{
		Site:         c.Site,
		Directory:    portal.NewDirectory(employees, c.Employees.Map, s.phones.E164),
		Fallback:     c.Employees.Fallback,
		Disabled:     make(map[string]bool),
		LineOff:      func(call cdr.Call) bool { return off[call.Line] },
		IgnorePhones: c.Ignore.Phones,
		IgnoreDIDs:   c.Ignore.DIDs,
		Create:       reconcile.Create(c.CRM.Create),
		CreateMaxAge: c.CRM.CreateMaxAge,
	}
	for extension, override := range c.Employees.Overrides {
		p.Disabled[extension] = !override.Enabled
	}
	if user, ok := strings.CutPrefix(c.CRM.MissedResponsible, "user:"); ok {
		id, err := strconv.Atoi(user)
		if err != nil {
			return p, usagef("crm.missed_responsible %s: write user:17 or an extension", c.CRM.MissedResponsible)
		}
		p.MissedUser = id
	} else {
		p.MissedExtension = c.CRM.MissedResponsible
	}
	return p, nil
}

// backfill puts together what delivers.
func (s *site) backfill(a *app) *jobs.Backfill {
	portal, parts := steadyPortal{s.portal}, steadyLedger{s.ledger}
	options := deliver.Options{Fallback: s.config.Employees.Fallback, BatchCalls: s.portal.BatchCalls}
	return &jobs.Backfill{
		Survey:   s.survey,
		Deliver:  deliver.New(portal, parts, options, a.now, s.log),
		Records:  uploader.NewBringer(s.staged, portal, parts, a.now, s.log),
		Parallel: 4,
	}
}
