package bitrix24

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal/bitrix24/limit"
	"sverka/internal/secret"
)

// What a Config that says nothing gets. The portal stops a request after 60 s, so an answer that has not come after 75 s will not come.
const (
	DefaultBurst     = 50
	DefaultPerSecond = 2
	enterpriseBurst  = 250
	enterpriseRate   = 5
	DefaultTimeout   = 75 * time.Second
	DefaultRetryFor  = 2 * time.Minute
)

// Config says which portal to speak to, and how fast.
type Config struct {
	Webhook   secret.Text       // https://HOST/rest/USER/CODE/; plain http for loopback addresses only
	App       AppConfig         // a local app, when it has a ClientID; a webhook beside it serves until the app has tokens
	Tokens    TokenStore        // for an app
	Hosts     HostStore         // for a webhook; nil: a renamed portal is remembered in memory only
	Burst     int               // requests at once, 50 on all plans but Enterprise (250)
	PerSecond float64           // requests per second after the burst, 2 (5 on Enterprise)
	Timeout   time.Duration     // for one request; uploads get more, by size
	RetryFor  time.Duration     // how long a request that the portal puts off is repeated before its error goes to the caller
	Transport http.RoundTripper // nil: HTTP/1.1 with timeouts and the proxy of the environment
	Log       *logrus.Entry     // nil: none
	UserAgent string            // "sverka" if empty
}

// Lane is how urgent a request is.
type Lane int

// Lanes. A new client is in the bulk lane.
const (
	Bulk Lane = iota + 1 // backfill, reconciliation: leaves a part of the bucket to live requests
	Live                 // somebody is on the phone: goes before bulk
)

// Client speaks to one portal. It is safe for concurrent use; all its lanes share one bucket.
type Client struct {
	*connection
	lane Lane
}

type connection struct {
	access    *access
	usual     bool // the limits are those of all plans but Enterprise
	batches   pace
	transport http.RoundTripper // not an http.Client: that would follow the redirect of a renamed portal with a GET
	timeout   time.Duration
	retryFor  time.Duration
	userAgent string
	log       *logrus.Entry
	bucket    *limit.Bucket
	operating *limit.Operating

	mu       sync.Mutex
	counters Counters
}

// Counters say what a client has asked of its portal so far.
type Counters struct {
	Requests  int64              // HTTP requests sent
	Refused   int64              // of these, put off by the portal: bucket full or operating time used up
	Methods   map[string]int64   // calls of each method, those inside a batch too
	Waited    time.Duration      // for a place in the bucket and for operating time, summed over all requests
	Operating map[string]float64 // seconds of execution in the portal's ten-minute window, as it last reported them
}

// New makes a client. It sends nothing. Its errors name what is wrong with the config, never the webhook itself.
func New(cfg Config) (*Client, error) {
	if cfg.Burst < 0 || cfg.PerSecond < 0 || cfg.Timeout < 0 || cfg.RetryFor < 0 {
		return nil, errors.New("bitrix24: burst, rate and times cannot be negative")
	}
	c := &connection{
		timeout:   orDefault(cfg.Timeout, DefaultTimeout),
		retryFor:  orDefault(cfg.RetryFor, DefaultRetryFor),
		userAgent: orDefault(cfg.UserAgent, "sverka"),
		log:       cfg.Log,
		bucket:    limit.NewBucket(orDefault(cfg.Burst, DefaultBurst), orDefault(cfg.PerSecond, DefaultPerSecond)),
		operating: limit.NewOperating(),
		counters:  Counters{Methods: map[string]int64{}},
	}
	c.usual = orDefault(cfg.Burst, DefaultBurst) == DefaultBurst && orDefault(cfg.PerSecond, DefaultPerSecond) == DefaultPerSecond
	if c.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		c.log = logrus.NewEntry(quiet)
	}
	var err error
	if c.access, err = newAccess(cfg, c.log); err != nil {
		return nil, err
	}
	if c.transport = cfg.Transport; c.transport == nil {
		c.transport = newTransport()
	}
	return &Client{connection: c, lane: Bulk}, nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// newTransport speaks HTTP/1.1 only: at two requests a second another version gains nothing, and one connection for each request in
// flight keeps a dead connection from taking other requests with it. Idle connections are dropped before a portal would drop them.
func newTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		ExpectContinueTimeout: time.Second,
		Protocols:             &protocols,
	}
}

// Lane gives a view on the same client whose requests go in that lane.
func (c *Client) Lane(l Lane) *Client { return &Client{connection: c.connection, lane: l} }

// Counters gives what was asked of the portal so far, over all lanes.
func (c *Client) Counters() Counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.counters
	got.Methods = maps.Clone(got.Methods)
	got.Operating = c.operating.Seconds()
	return got
}

// Host names the portal, for people.
func (c *Client) Host() string { return c.access.address().Host }

func (c *connection) count(f func(*Counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.counters)
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// redactor takes secrets out of texts that others wrote: a server may quote the address it was asked for.
type redactor struct{ *strings.Replacer }

func newRedactor(secrets ...string) redactor {
	var pairs []string
	for _, s := range secrets {
		if s != "" {
			pairs = append(pairs, s, "***")
		}
	}
	return redactor{strings.NewReplacer(pairs...)}
}

// cause gives err without what it should not show. The chain of errors is kept where it shows nothing.
func (r redactor) cause(err error) error {
	if shown := err.Error(); r.Replace(shown) != shown {
		return errors.New(r.Replace(shown))
	}
	return err
}

func badWebhook(why string) error {
	return fmt.Errorf("bitrix24.webhook: %s; it looks like https://example.bitrix24.ru/rest/1/CODE/", why)
}
