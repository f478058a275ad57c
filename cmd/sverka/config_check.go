package main

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"sverka/internal/phone"
	"sverka/internal/secret"
)

var (
	siteName    = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$`)
	tableName   = regexp.MustCompile(`^[\w$-]+(\.[\w$-]+)?$`)
	webhookPath = regexp.MustCompile(`/rest/[1-9][0-9]*/[A-Za-z0-9_-]+/?$`)
	extension   = regexp.MustCompile(`^[0-9A-Za-z_*#.-]+$`)
	responsible = regexp.MustCompile(`^([0-9A-Za-z_*#.-]+|user:[1-9][0-9]*)$`)
	digestTo    = regexp.MustCompile(`^(user|chat):[1-9][0-9]*$`)
)

// complete fills in what depends on other keys and checks what one value alone does not show.
func (r *configReader) complete(cfg *Config) {
	r.variables(cfg)
	r.site(cfg)
	r.cdr(&cfg.CDR)
	r.staging(cfg)
	r.bitrix24(&cfg.Bitrix24)
	r.people(cfg)
	r.ours(cfg.Lines)
	r.services(cfg)
}

// check keeps a problem of one key, unless ok or the key has one already.
func (r *configReader) check(ok bool, path, format string, args ...any) {
	if ok || r.failed[path] {
		return
	}
	r.failed[path] = true
	r.bad(r.line(path), "%s %s", path, fmt.Sprintf(format, args...))
}

// line gives the line of a key, or of the nearest section around it that the file has.
func (r *configReader) line(path string) int {
	for {
		if line, ok := r.lines[path]; ok {
			return line
		}
		dot := strings.LastIndexByte(path, '.')
		if dot < 0 {
			return 0
		}
		path = path[:dot]
	}
}

// variables reports the unset variables of sections in use. Where a section is optional its value is empty instead: the keys of S3 while
// recordings are staged in a directory, the local application beside a webhook, AMI and the dashboard's token, which only the service
// needs and asks for itself.
func (r *configReader) variables(cfg *Config) {
	for _, u := range r.unset {
		section, key, _ := strings.Cut(u.path, ".")
		optional := section == "ami" || u.path == "http.token" || strings.HasPrefix(u.path, "bitrix24.app.") ||
			section == "staging" && cfg.Staging.Driver != "s3" && slices.Contains(s3Keys(), key)
		if !optional {
			r.bad(u.line, "%s: the variable %s is not set", u.path, u.name)
		}
	}
}

func s3Keys() []string {
	return []string{"endpoint", "bucket", "region", "access_key", "secret_key", "session_token", "tls", "ca_file", "style", "public_url"}
}

func (r *configReader) site(cfg *Config) {
	r.check(siteName.MatchString(cfg.Site), "site", "must be a short name of letters, digits, spaces and . _ -")
	cfg.Country = strings.ToUpper(cfg.Country)
	_, err := phone.New(cfg.Country)
	r.check(err == nil, "country", "must be a country of two letters like RU")
}

func (r *configReader) cdr(c *CDRConfig) {
	if _, ok := r.lines["cdr.table"]; !ok && c.Schema == "mikopbx" {
		c.Table = "cdr_general"
	}
	r.check(tableName.MatchString(c.Table), "cdr.table", "must be the name of a table")
	r.check(c.CEL == "" || tableName.MatchString(c.CEL), "cdr.cel", "must be the name of a table, or '' for never")
	r.check(c.Settle > 0, "cdr.settle", "must be above zero")
	r.check(c.Overlap >= c.Settle, "cdr.overlap", "must not be shorter than cdr.settle")
	r.dsn("cdr", c.Driver, c.DSN)
}

// dsn checks the address of a database. What the driver says of it may hold a part of the password, unless it is one of its fixed texts.
func (r *configReader) dsn(section, driver string, dsn secret.Text) {
	path := section + ".dsn"
	switch {
	case dsn == "" && driver == "sqlite":
		r.check(false, path, "is missing: it names the SQLite file")
	case dsn == "":
		r.check(false, path, "is missing: user:password@tcp(127.0.0.1:3306)/database")
	case driver == "mysql":
		parsed, err := mysql.ParseDSN(dsn.Reveal())
		why := ""
		if err != nil {
			why = "it cannot be read"
			if fixed, ok := strings.CutPrefix(err.Error(), "invalid DSN: "); ok {
				why = fixed
			}
		} else if parsed.DBName == "" {
			why = "it names no database"
		}
		r.check(why == "", path, "must look like user:password@tcp(127.0.0.1:3306)/database: %s", why)
	}
}

func (r *configReader) staging(cfg *Config) {
	s := &cfg.Staging
	r.check(cfg.Recordings.Dir != "", "recordings.dir", "must name a directory")
	r.check(cfg.Recordings.Delivery != "link" || s.Driver == "s3", "recordings.delivery",
		"link needs staging.driver s3: the portal cannot reach a directory")
	r.check(s.Keep > 0, "staging.keep", "must be above zero")
	r.check(s.MaxBytes > 0, "staging.max_bytes", "must be above zero")
	r.address("staging.public_url", s.PublicURL, false)
	if s.Driver != "s3" {
		r.check(s.Dir != "", "staging.dir", "must name a directory")
		return
	}
	r.check(s.Endpoint != "" && !strings.ContainsAny(s.Endpoint, "/ "), "staging.endpoint",
		"must be host or host:port, without http:// (staging.tls says which)")
	r.check(s.Bucket != "", "staging.bucket", "is missing")
	r.check(s.AccessKey != "", "staging.access_key", "is missing")
	r.check(s.SecretKey != "", "staging.secret_key", "is missing")
}

func (r *configReader) bitrix24(b *Bitrix24Config) {
	if b.Webhook != "" {
		r.webhook(b.Webhook)
	}
	switch {
	case b.App.ClientID != "":
		r.check(b.App.Portal != "", "bitrix24.app.portal", "is missing: the address of the portal, like https://example.bitrix24.ru")
		r.check(b.App.ClientSecret != "", "bitrix24.app.client_secret", "is missing: Bitrix24 shows it beside the client_id of the local app")
	case b.Webhook == "":
		r.check(false, "bitrix24.webhook", "is missing: make an incoming webhook in Bitrix24 with the scopes telephony, user and crm")
	}
	r.address("bitrix24.app.portal", b.App.Portal, true)
	r.address("bitrix24.app.oauth", b.App.OAuth, true)
	r.check(b.Rate.Burst >= 1, "bitrix24.rate.burst", "must be 1 or more")
	r.check(b.Rate.PerSecond > 0 && b.Rate.PerSecond <= 1000, "bitrix24.rate.per_second", "must be above zero and at most 1000")
}

func (r *configReader) webhook(webhook secret.Text) {
	const path, form = "bitrix24.webhook", "https://example.bitrix24.ru/rest/1/CODE/"
	u, err := url.Parse(webhook.Reveal()) // Its error holds the address.
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && u.Scheme != "http" || !webhookPath.MatchString(u.Path) {
		r.check(false, path, "must look like %s, as Bitrix24 shows it for the webhook", form)
		return
	}
	r.check(safeScheme(u), path, "must begin with https://: plain http:// shows the code to the network, only loopback addresses may have it")
}

// address checks an optional URL. To a portal it must be HTTPS, except on loopback addresses.
func (r *configReader) address(path, text string, toPortal bool) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		r.check(false, path, "must be an address like https://example.ru")
		return
	}
	r.check(!toPortal || safeScheme(u), path, "must begin with https://: only loopback addresses may have plain http://")
}

func safeScheme(u *url.URL) bool {
	return u.Scheme == "https" || u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

func (r *configReader) people(cfg *Config) {
	r.check(cfg.CRM.MissedResponsible == "" || responsible.MatchString(cfg.CRM.MissedResponsible), "crm.missed_responsible",
		"must be an extension, or an employee of the portal like user:17")
	r.check(cfg.Digest.To == "" || digestTo.MatchString(cfg.Digest.To), "digest.to", "must look like user:17 or chat:42")
	r.check(cfg.Employees.Fallback >= 0, "employees.fallback", "must be the id of a user, or 0")
	for _, ext := range slices.Sorted(maps.Keys(cfg.Employees.Map)) {
		path := "employees.map." + ext
		r.check(extension.MatchString(ext), path, "must be named by an extension")
		r.check(cfg.Employees.Map[ext] > 0, path, "must be the id of a user")
	}
	for _, ext := range slices.Sorted(maps.Keys(cfg.Employees.Overrides)) {
		r.check(extension.MatchString(ext), "employees.overrides."+ext, "must be named by an extension")
	}
	r.filled("ignore.phones", cfg.Ignore.Phones)
	r.filled("ignore.dids", cfg.Ignore.DIDs)
}

func (r *configReader) filled(path string, texts []string) {
	for i, text := range texts {
		r.check(strings.TrimSpace(text) != "", fmt.Sprintf("%s[%d]", path, i), "is empty")
	}
}

// ours checks the lines: a number or DID that two lines claim would map by chance.
func (r *configReader) ours(lines []LineConfig) {
	numbers, dids := map[string]int{}, map[string]int{}
	for i, line := range lines {
		path := fmt.Sprintf("lines[%d]", i)
		r.check(line.Number != "", path+".number", "is missing")
		if first, ok := numbers[line.Number]; ok && line.Number != "" {
			r.check(false, path+".number", "is the number of lines[%d] already", first)
		}
		numbers[line.Number] = i
		r.filled(path+".did", line.DID)
		for j, did := range line.DID {
			if first, ok := dids[did]; ok {
				r.check(false, fmt.Sprintf("%s.did[%d]", path, j), "belongs to lines[%d] already", first)
			}
			dids[did] = i
		}
	}
}

func (r *configReader) services(cfg *Config) {
	if cfg.AMI != nil {
		r.hostPort("ami.address", cfg.AMI.Address)
		r.check(cfg.AMI.Username != "", "ami.username", "is missing")
	}
	r.check(cfg.Routing.Ring > 0, "routing.ring", "must be above zero")
	r.check(cfg.Routing.Deadline > 0, "routing.deadline", "must be above zero")
	r.check(strings.Contains(cfg.ClickToCall.Channel, "{extension}"), "click_to_call.channel", "must hold {extension}")
	r.check(cfg.ClickToCall.Ring > 0, "click_to_call.ring", "must be above zero")
	r.dsn("ledger", cfg.Ledger.Driver, cfg.Ledger.DSN)
	r.check(cfg.Ledger.Keep > 0, "ledger.keep", "must be above zero")
	r.hostPort("http.listen", cfg.HTTP.Listen)
	r.address("http.public_url", cfg.HTTP.PublicURL, false)
	jobs := reflect.ValueOf(cfg.Jobs)
	for i := range jobs.NumField() {
		r.check(strings.TrimSpace(jobs.Field(i).String()) != "", "jobs."+jobs.Type().Field(i).Tag.Get("yaml"), "must be a cron expression or @every")
	}
}

func (r *configReader) hostPort(path, address string) {
	_, port, err := net.SplitHostPort(address)
	_, portErr := strconv.ParseUint(port, 10, 16)
	r.check(err == nil && portErr == nil, path, "must look like 127.0.0.1:8025")
}
