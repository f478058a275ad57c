package bitrix24_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24"
	"sverka/internal/secret"
)

// raw serves one way of treating a connection on which a whole request has come in. It gives the webhook for it.
func raw(t *testing.T, treat func(net.Conn)) secret.Text {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if req, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, req.Body)
					treat(conn)
				}
			}()
		}
	}()
	return secret.Text("http://" + l.Addr().String() + "/rest/7/" + code + "/")
}

// TestNoAnswer breaks a request that writes, at every place where it can break.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	write := func(s string) func(net.Conn) {
		return func(c net.Conn) { _, _ = io.WriteString(c, s) }
	}
	for _, test := range []struct {
		name  string
		treat func(net.Conn)
	}{
		{"closed", func(net.Conn) {}},
		{"reset", func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		{"half a status line", write("HTTP/1.1 20")},
		{"half a header", write("HTTP/1.1 200 OK\r\nContent-Le")},
		{"no HTTP", write("SSH-2.0-OpenSSH_9.2\r\n\r\n")},
		{"truncated JSON", write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":")},
		{"truncated chunks", write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{\"result\":")},
		{"quotes the address", write("HTTP/1.1 /rest/7/" + code + "/ " + code + "\r\n\r\n")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := portalError(t, registerOne(setup(t, bitrix24.Config{Webhook: raw(t, test.treat)})))
			if e.Class != portal.Unknown || !e.InFlight {
				t.Errorf("got class %s, in flight %t (%v); want %s, in flight", e.Class, e.InFlight, e, portal.Unknown)
			}
		})
	}
}

func TestSlowPortal(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	e := portalError(t, registerOne(setup(t, bitrix24.Config{
		Webhook: raw(t, func(net.Conn) { <-done }), Timeout: 50 * time.Millisecond,
	})))
	if e.Class != portal.Unknown || !e.InFlight || !strings.Contains(e.Error(), "50ms") || errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("got class %s, in flight %t (%v); want %s, in flight, the time, and no deadline of the caller", e.Class, e.InFlight, e, portal.Unknown)
	}
}

// TestLongAnswer has an answer without an end.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	endless := transportFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(&zeros{1 << 40})}, nil
	})
	e := portalError(t, registerOne(setup(t, bitrix24.Config{Transport: endless})))
	if e.Class != portal.Unknown || !strings.Contains(e.Error(), "64 MiB") {
		t.Errorf("got %s (%v), want %s with the limit", e.Class, e, portal.Unknown)
	}
}

// failingDial is a transport whose connections are never made.
func failingDial(err error) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}
}

type brokenTransport struct{ err error }

func (b brokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: b.err}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	unknown := &net.DNSError{Err: "no such host", Name: "portal.example", IsNotFound: true}
	for _, test := range []struct {
		name      string
		transport http.RoundTripper
		class     portal.Class
		hint      string
		least     time.Duration // for how long it was tried
	}{
		{"refused", failingDial(refused), portal.Unreachable, "firewall", 5 * time.Second},
		{"no such host", failingDial(unknown), portal.Unreachable, "DNS", 0},
		{"refused, transport without trace", brokenTransport{refused}, portal.Unreachable, "firewall", 5 * time.Second},
		{"broken, transport without trace", brokenTransport{errors.New("broken pipe")}, portal.Unknown, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				e := portalError(t, registerOne(setup(t, bitrix24.Config{Transport: test.transport})))
				if e.Class != test.class || !strings.Contains(e.Hint, test.hint) || e.InFlight != (test.class == portal.Unknown) {
					t.Errorf("got %s, hint %q, in flight %t; want %s, %q", e.Class, e.Hint, e.InFlight, test.class, test.hint)
				}
				if took := time.Since(began); took < test.least || took > time.Minute {
					t.Errorf("tried for %s, want at least %s and below a minute", took, test.least)
				}
			})
		})
	}
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c := setup(t, bitrix24.Config{Webhook: secret.Text(server.URL + "/rest/7/" + code + "/")})
	e := portalError(t, registerOne(c))
	if e.Class != portal.Unreachable || !strings.Contains(e.Hint, "certificate") {
		t.Errorf("got %s, hint %q; want %s and the certificate", e.Class, e.Hint, portal.Unreachable)
	}
	if tries := c.Counters().Requests; tries != 1 {
		t.Errorf("tried %d times, want once: a certificate does not mend itself within seconds", tries)
	}
}

// TestCancelled tells a request that was never sent from one that was.
func TestCancelled(t *testing.T) {
	t.Parallel()
	t.Run("before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s := script(ok(`{"result":{"ID":1}}`))
		_, err := setup(t, bitrix24.Config{Transport: s}).RegisterFinish(ctx, []portal.Call{call("1")})
		if e := portalError(t, err); e.Class != portal.Unreachable || !errors.Is(err, context.Canceled) || len(s.requests()) != 0 {
			t.Errorf("got %s (%v) after %d requests; want %s, canceled, none", e.Class, err, len(s.requests()), portal.Unreachable)
		}
	})
	t.Run("in flight", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		t.Cleanup(func() { close(done) })
		hook := raw(t, func(net.Conn) { cancel(); <-done })
		_, err := setup(t, bitrix24.Config{Webhook: hook}).RegisterFinish(ctx, []portal.Call{call("1")})
		if e := portalError(t, err); e.Class != portal.Unknown || !e.InFlight || !errors.Is(err, context.Canceled) {
			t.Errorf("got %s (%v), in flight %t; want %s, canceled, in flight", e.Class, err, e.InFlight, portal.Unknown)
		}
	})
	t.Run("while waiting to repeat", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			s := script(failing(503, `{"error":"QUERY_LIMIT_EXCEEDED"}`))
			_, err := setup(t, bitrix24.Config{Transport: s}).RegisterFinish(ctx, []portal.Call{call("1")})
			if e := portalError(t, err); e.Class != portal.RateLimited || len(s.requests()) != 1 {
				t.Errorf("got %s after %d requests; want %s after one", e.Class, len(s.requests()), portal.RateLimited)
			}
		})
	})
}

// TestKeptConnectionIsLost has a portal that closes a kept connection just when the next request comes. A request that writes must not be
// repeated by the transport behind the client's back.
func TestKeptConnectionIsLost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	requests := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				r := bufio.NewReader(conn)
				for n := range 2 {
					req, err := http.ReadRequest(r)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					requests <- req.URL.Path
					if n == 0 {
						body := `{"result":{"ID":1}}`
						_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					}
				}
			}()
		}
	}()
	c := setup(t, bitrix24.Config{Webhook: secret.Text("http://" + l.Addr().String() + "/rest/7/" + code + "/")})
	if err := profile(c); err != nil {
		t.Fatal(err)
	}
	e := portalError(t, registerOne(c))
	if e.Class != portal.Unknown || !e.InFlight || len(requests) != 2 {
		t.Errorf("got %s, in flight %t after %d requests; want %s, in flight, two", e.Class, e.InFlight, len(requests), portal.Unknown)
	}
}
