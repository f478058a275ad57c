package bitrix24

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/limit"
	"sverka/internal/portal/bitrix24/wire"
	"sverka/internal/secret"
)

// kind says what a request may do at the portal.
type kind int

const (
	reading kind = iota + 1 // changes nothing: may be repeated after any passing fault
	writing                 // may be repeated only when the error says that nothing was done
)

const (
	maxAnswer = 64 << 20 // bytes; the longest answer, a batch of 50 pages, is some 3 MiB
	// faultTries is how often a request is sent at most when it meets network faults or server faults. Being put off is bounded by time.
	faultTries = 5
)

// exchange is one HTTP request, ready to be sent any number of times.
type exchange struct {
	method  string           // for errors
	uses    map[string]int64 // REST methods that spend execution time in it, and how often
	url     *url.URL         // nil: where the method is asked is known when the request goes out, and with which token
	media   string
	body    []byte // of a method: a JSON object
	length  int64
	open    func() (io.ReadCloser, error)
	timeout time.Duration
	redact  *redactor // nil: what the client itself hides
}

func (c *connection) exchange(method string, uses map[string]int64, body []byte) exchange {
	return exchange{
		method: method, uses: uses, media: "application/json", timeout: c.timeout, body: body,
	}.filled(body)
}

// filled gives the exchange another body.
func (x exchange) filled(body []byte) exchange {
	x.length = int64(len(body))
	x.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return x
}

func (c *connection) redactor(x exchange) redactor {
	if x.redact != nil {
		return *x.redact
	}
	return c.access.redactor()
}

// ask calls one method that changes nothing, or nothing more when it is called again.
func (c *Client) ask(ctx context.Context, method string, p wire.Params) (wire.Answer, error) {
	return c.call(ctx, reading, method, p)
}

// call calls one method.
func (c *Client) call(ctx context.Context, k kind, method string, p wire.Params) (wire.Answer, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return wire.Answer{}, fmt.Errorf("%s: encode the request: %w", method, err)
	}
	x := c.exchange(method, map[string]int64{method: 1}, body)
	var a wire.Answer
	err = c.repeat(ctx, k, faultTries, func() error {
		var err error
		a, err = c.send(ctx, x)
		return err
	})
	return a, err
}

// repeat does op until it succeeds, or fails in a way that another try would not mend, or has been put off for too long. Op gives
// *portal.Error for all faults of a request.
func (c *Client) repeat(ctx context.Context, k kind, tries int, op func() error) error {
	pauses := backoff.NewExponentialBackOff()
	pauses.InitialInterval, pauses.Multiplier, pauses.MaxInterval, pauses.RandomizationFactor = 500*time.Millisecond, 2, 15*time.Second, 0.3
	pauses.Reset()
	var putOff time.Time // since when
	for {
		err := op()
		var e *portal.Error
		if err == nil || !errors.As(err, &e) || ctx.Err() != nil {
			return err
		}
		pause := pauses.NextBackOff()
		switch e.Class {
		case portal.Unreachable, portal.Unknown:
			tries--
			if tries <= 0 || e.Class == portal.Unknown && k != reading || lasting(err) {
				return err
			}
		case portal.RateLimited, portal.Retryable, portal.OperatingTime:
			now := time.Now()
			if putOff.IsZero() {
				putOff = now
			}
			if !e.Until.IsZero() {
				pause = e.Until.Sub(now)
			}
			if now.Add(pause).Sub(putOff) > c.retryFor {
				return err
			}
		default:
			return err
		}
		c.log.WithFields(logrus.Fields{"method": e.Method, "class": e.Class, "pause": pause.Round(time.Millisecond)}).
			WithError(err).Debug("request to the portal is repeated")
		c.count(func(n *Counters) { n.Waited += max(0, pause) })
		if sleep(ctx, pause) != nil {
			return err // what happened to the request says more than that we stopped waiting
		}
	}
}

// lasting reports faults of the network that do not pass by themselves within seconds.
func lasting(err error) bool {
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	return errors.As(err, &cert) || errors.As(err, &dns) && dns.IsNotFound
}

// maxHops is how often a request follows the redirect of a renamed portal.
const maxHops = 3

// send sends an exchange and judges the answer. Its errors are *portal.Error, but for faults of the body's source and of the stores.
//
// It is sent again at once where the portal has surely done nothing: when it was renamed, and when the token of the app has expired. A
// token is renewed once for a request: one that the portal refuses straight away has no use.
func (c *Client) send(ctx context.Context, x exchange) (wire.Answer, error) {
	method := x.url == nil
	renewed := false
	for hops := 0; ; {
		var used secret.Text
		if method {
			base, token, err := c.access.enter(ctx, x.method)
			if err != nil {
				return wire.Answer{}, err
			}
			used, x = token, x.filled(withAuth(x.body, token))
			x.url = base.JoinPath(x.method + ".json")
		}
		a, location, err := c.sendOnce(ctx, x)
		var e *portal.Error
		if err == nil || !errors.As(err, &e) {
			return a, err
		}
		switch {
		case location != "" && hops < maxHops:
			hops++
			to := renamed(x.url, e.Status, location)
			if to == nil {
				return a, err
			}
			if err := c.access.moved(ctx, x.url, to); err != nil {
				return a, err
			}
			x.url = to
		case stale(e) && used != "" && !renewed:
			renewed = true
			if err := c.renew(ctx, used); err != nil {
				return a, err
			}
		default:
			return a, err
		}
	}
}

// stale reports whether the portal wants another token.
func stale(e *portal.Error) bool {
	return strings.EqualFold(e.Code, "expired_token") || strings.EqualFold(e.Code, "invalid_token")
}

// sendOnce sends an exchange once. location is where a redirect leads.
func (c *Client) sendOnce(ctx context.Context, x exchange) (a wire.Answer, location string, err error) {
	if err := c.admit(ctx, x); err != nil {
		return wire.Answer{}, "", err
	}
	began := time.Now()
	status, location, body, err := c.post(ctx, x)
	fields := logrus.Fields{"method": x.method, "status": status, "took": time.Since(began).Round(time.Millisecond)}
	if err != nil {
		c.log.WithFields(fields).WithError(err).Debug("portal did not answer")
		return wire.Answer{}, "", err
	}
	c.log.WithFields(fields).Debug("portal answered")
	a, e := c.judge(x, status, location, body)
	if e != nil {
		switch e.Class {
		case portal.RateLimited:
			c.bucket.Fill()
			c.count(func(n *Counters) { n.Refused++ })
		case portal.OperatingTime:
			c.count(func(n *Counters) { n.Refused++ })
		}
		if status < 300 || status >= 400 {
			location = ""
		}
		return a, location, e
	}
	c.operating.Report(x.method, spent(a.Time.V), time.Now())
	return a, "", nil
}

func spent(t wire.Timing) limit.Spent {
	return limit.Spent{Seconds: float64(t.Operating), Took: float64(t.Duration), Reset: t.Reset()}
}

// admit waits until the request may go: by the execution time of its methods, then by the bucket. Nothing was sent when it fails.
func (c *Client) admit(ctx context.Context, x exchange) error {
	began := time.Now()
	defer func() { c.count(func(n *Counters) { n.Waited += time.Since(began) }) }()
	method, blocked, paced := c.operating.Gate(x.uses, began)
	if method != "" {
		return &portal.Error{
			Class: portal.OperatingTime, Method: method, Until: blocked,
			Text: "the portal's limit of execution time for this method is reached",
		}
	}
	var err error
	if c.lane != Live {
		err = sleep(ctx, time.Until(paced))
	}
	if err == nil {
		err = c.bucket.Take(ctx, c.lane == Live)
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return &portal.Error{Class: portal.Unreachable, Method: x.method, Err: fmt.Errorf("not sent: %w", err)}
	}
	return nil
}

// post sends the request and reads the whole response.
func (c *Client) post(ctx context.Context, x exchange) (status int, location string, body []byte, err error) {
	limited, cancel := context.WithTimeoutCause(ctx, x.timeout, errTooSlow)
	defer cancel()
	var asked, connected atomic.Bool
	trace := &httptrace.ClientTrace{
		// Called again when the transport takes another connection, which it does by itself only if it wrote nothing to the first.
		GetConn: func(string) { asked.Store(true); connected.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}
	source, err := x.open()
	if err != nil {
		return 0, "", nil, err
	}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(limited, trace), http.MethodPost, x.url.String(), source)
	if err != nil {
		_ = source.Close()
		return 0, "", nil, &portal.Error{Class: portal.Refused, Method: x.method, Err: errors.New("the address cannot be used")}
	}
	req.ContentLength, req.GetBody = x.length, x.open
	req.Header.Set("Content-Type", x.media)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	c.count(func(n *Counters) {
		n.Requests++
		for m, times := range x.uses {
			n.Methods[m] += times
		}
	})
	resp, err := c.transport.RoundTrip(req)
	var unreadable *sourceError
	if errors.As(err, &unreadable) {
		return 0, "", nil, unreadable // the body stayed shorter than announced: the portal cannot have worked on it
	}
	if err != nil {
		// A transport that was given from outside may not tell of connections: then only a failed dial proves that nothing was sent.
		sent := connected.Load() || !asked.Load() && !dialling(err)
		return 0, "", nil, c.broken(limited, x, err, sent)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d MiB", maxAnswer>>20)
	}
	if err != nil {
		e := c.broken(limited, x, err, true)
		e.Status = resp.StatusCode
		return resp.StatusCode, "", nil, e
	}
	return resp.StatusCode, resp.Header.Get("Location"), body, nil
}

var errTooSlow = errors.New("no complete answer in time")

func dialling(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial"
}

// broken makes the error of a request without a complete answer. sent says that some of it may have reached the portal.
func (c *connection) broken(ctx context.Context, x exchange, err error, sent bool) *portal.Error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // a transport from outside may wrap it, and the wrapping shows the address, and with it the code
	}
	if errors.Is(context.Cause(ctx), errTooSlow) {
		err = fmt.Errorf("%w: waited %s", errTooSlow, x.timeout)
	}
	e := &portal.Error{Class: portal.Unreachable, Method: x.method, Err: c.redactor(x).cause(err)}
	if sent {
		e.Class, e.InFlight = portal.Unknown, true
		return e
	}
	var cert *tls.CertificateVerificationError
	var dns *net.DNSError
	switch {
	case errors.As(err, &cert):
		e.Hint = "the portal's certificate is not trusted here: install the system's CA certificates, or the CA of a self-hosted portal"
	case errors.As(err, &dns):
		e.Hint = "check the portal's name in bitrix24 of the configuration and the DNS of this machine"
	case ctx.Err() == nil:
		e.Hint = "check the network, firewall and proxy between this machine and " + c.access.address().Host
	}
	return e
}

// judge reads a complete response.
func (c *connection) judge(x exchange, status int, location string, body []byte) (wire.Answer, *portal.Error) {
	if status >= 300 && status < 400 {
		e := &portal.Error{Class: portal.Access, Method: x.method, Status: status, Text: "the portal has moved"}
		if to, err := x.url.Parse(location); err == nil && to.Host != "" && to.Host != x.url.Host {
			e.Hint = "its address is now " + to.Host + ": write that host into bitrix24 of the configuration"
		} else {
			e.Text, e.Hint = "the address leads elsewhere", hintNoREST
		}
		return wire.Answer{}, e
	}
	a, err := wire.Decode(body)
	switch {
	case err != nil || a.Error == nil && status >= 400:
		e := c.noAnswer(x.method, status, body)
		e.Text = c.redactor(x).Replace(e.Text)
		return wire.Answer{}, e
	case a.Failed(status):
		e := c.refuse(x.method, status, a.Code(), string(a.Description), a.Time.V, time.Now())
		e.Text, e.Code = c.redactor(x).Replace(e.Text), c.redactor(x).Replace(e.Code)
		return wire.Answer{}, e
	case a.Result == nil:
		e := c.puzzled(x.method, "it has neither a result nor an error", nil)
		e.Status = status
		return wire.Answer{}, e
	}
	return a, nil
}
