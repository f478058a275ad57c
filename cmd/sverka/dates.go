package main

import (
	"context"
	"regexp"
	"strconv"
	"time"

	"sverka/jobs"
)

const datesHelp = `Dates are 2006-01-02, 2006-01-02T15:04:05, RFC 3339, or a time back from now like 24h or 7d. A date without a zone is in the PBX's zone
(timezone in the configuration). --to is exclusive, by default now.`

var daysBack = regexp.MustCompile(`^(\d{1,5})d$`)

// parseDate reads a date as people write it.
func parseDate(text string, now time.Time, zone *time.Location) (time.Time, error) {
	if m := daysBack.FindStringSubmatch(text); m != nil {
		days, err := strconv.Atoi(m[1])
		if err != nil {
			return time.Time{}, err
		}
		return now.AddDate(0, 0, -days), nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return now.Add(-back), nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.In(zone), nil
	}
	return time.Time{}, usagef("%q is no date: write 2006-01-02, 2006-01-02T15:04:05, RFC 3339, or a time back from now like 24h or 7d", text)
}

// openPeriod reads --from and --to and opens the site: a mistake of usage is told before anything is connected to.
func (a *app) openPeriod(ctx context.Context, from, to string) (*site, jobs.Period, error) {
	config, err := a.readSite()
	if err != nil {
		return nil, jobs.Period{}, err
	}
	span, err := period(from, to, a.now(), config.Timezone)
	if err != nil {
		return nil, span, err
	}
	s, err := a.openSite(ctx)
	return s, span, err
}

// period reads --from and --to.
func period(from, to string, now time.Time, zone *time.Location) (jobs.Period, error) {
	if from == "" {
		return jobs.Period{}, usagef("--from is missing: say from when, for example --from 7d or --from 2026-11-01")
	}
	p := jobs.Period{To: now.In(zone)}
	var err error
	if p.From, err = parseDate(from, now.In(zone), zone); err != nil {
		return p, err
	}
	if to != "" {
		if p.To, err = parseDate(to, now.In(zone), zone); err != nil {
			return p, err
		}
	}
	if !p.From.Before(p.To) {
		return p, usagef("--from %s does not lie before --to %s", p.From.Format(time.RFC3339), p.To.Format(time.RFC3339))
	}
	return p, nil
}
