package web

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/secret"
)

// Paths below http.public_url.
const (
	PathEvent     = "/b24/event"
	PathInstall   = "/b24/install"
	PathOAuth     = "/b24/oauth"
	PathAuthorize = "/b24/authorize"
	pathHealth    = "/healthz"
)

// Portal lets the local app in.
type Portal interface {
	// AuthorizeURL gives the page where the portal asks whether to let the app in.
	AuthorizeURL(state string) string
	// Authorize keeps the tokens that a code of that page is good for.
	Authorize(ctx context.Context, code string) error
	// Adopt keeps tokens that somebody sent, if the portal takes them.
	Adopt(ctx context.Context, t portal.Token) error
}

// Tokens are what the portal granted.
type Tokens interface {
	Token(ctx context.Context) (t portal.Token, ok bool, err error)
	SaveToken(ctx context.Context, t portal.Token) error
}

// Receiver works on one event. It is given them one after the other.
type Receiver interface {
	Receive(ctx context.Context, e portal.Event) error
}

// Config is what a Server is made of.
type Config struct {
	Portal   Portal      // nil: no local app, so the portal has nothing to say here
	Tokens   Tokens      // with Portal
	Receiver Receiver    // with Portal
	Token    secret.Text // http.token: who knows it may authorize the portal
	// Healthy gives nil when the service works, else what is wrong, in words that anybody may read.
	Healthy func() error
	Now     func() time.Time
	Log     *logrus.Entry
}

// queueLength is how many events may wait for the Receiver: more than all employees of a large office press at once.
const queueLength = 256

// Server answers over HTTP.
type Server struct {
	portal   Portal
	tokens   Tokens
	receiver Receiver
	token    secret.Text
	healthy  func() error
	now      func() time.Time
	log      *logrus.Entry

	states  states
	queue   chan portal.Event
	changed chan struct{}
}

// New makes a Server. It listens to nothing yet.
func New(c Config) *Server {
	return &Server{
		portal: c.Portal, tokens: c.Tokens, receiver: c.Receiver, token: c.Token, healthy: c.Healthy, now: c.Now, log: c.Log,
		queue: make(chan portal.Event, queueLength), changed: make(chan struct{}, 1),
	}
}

// Changed tells when the portal gave new tokens, or took them back.
func (s *Server) Changed() <-chan struct{} { return s.changed }

// Handler answers all addresses of the service.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathHealth, s.health)
	if s.portal != nil {
		mux.HandleFunc("POST "+PathEvent, s.event)
		mux.HandleFunc("POST "+PathInstall, s.install)
		mux.HandleFunc("GET "+PathOAuth, s.authorized)
		mux.HandleFunc("GET "+PathAuthorize, s.authorize)
	} else {
		mux.HandleFunc("/b24/", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "there is no local app in the configuration of sverka: set bitrix24.app", http.StatusNotFound)
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer") // the address of /b24/oauth holds a code
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	})
}

// drain is how long requests that are being answered get when the service stops.
const drain = 3 * time.Second

// Serve answers on a listener and works on events until ctx is done; then it answers what has begun, works on what waits, and returns nil.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      2 * time.Minute, // an installation waits for the portal,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	quiet := s.log.WriterLevel(logrus.DebugLevel)
	defer quiet.Close() //nolint:errcheck // a pipe into the log
	server.ErrorLog = log.New(quiet, "", 0)
	working, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	last, worked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(worked)
		s.work(working, last)
	}()
	// No more events come in: what waits is worked on, for a bounded time.
	finish := func() {
		close(last)
		defer time.AfterFunc(drain, abort).Stop()
		<-worked
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		finish()
		return fmt.Errorf("answer on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := server.Shutdown(limited)
	if err != nil {
		s.log.WithError(err).Warn("requests were still being answered when the service stopped")
		_ = server.Close()
	}
	finish()
	return nil
}

// work hands events to the Receiver, one after the other, until the last one came in and all are worked on, or ctx is done.
func (s *Server) work(ctx context.Context, last <-chan struct{}) {
	for {
		select {
		case e := <-s.queue:
			s.receive(ctx, e)
			continue
		case <-last:
		}
		for ctx.Err() == nil && len(s.queue) > 0 {
			s.receive(ctx, <-s.queue)
		}
		if left := len(s.queue); left > 0 {
			s.log.WithField("events", left).Error("events of the portal were not worked on before the service stopped")
		}
		return
	}
}

// receive keeps what goes wrong with one event to that event.
func (s *Server) receive(ctx context.Context, e portal.Event) {
	defer func() {
		if p := recover(); p != nil {
			s.log.WithFields(logrus.Fields{"event": e.Name, "panic": fmt.Sprint(p)}).Error("event of the portal could not be worked on")
		}
	}()
	if err := s.receiver.Receive(ctx, e); err != nil {
		s.log.WithField("event", e.Name).WithError(err).Warn("event of the portal could not be worked on")
	}
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := s.healthy(); err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// event takes an event of the portal: proves the sender, puts it into the queue and answers. The portal calls slow handlers less often.
func (s *Server) event(w http.ResponseWriter, r *http.Request) {
	f, ok := s.form(w, r)
	if !ok {
		return
	}
	e := f.event()
	log := s.log.WithFields(logrus.Fields{"event": e.Name, "from": r.RemoteAddr})
	if e.Name == "" {
		log.Warn("refused what is no event")
		http.Error(w, "no event", http.StatusBadRequest)
		return
	}
	if e.Name == portal.EventInstall {
		s.installed(w, r, f)
		return
	}
	known, ok, err := s.tokens.Token(r.Context())
	switch {
	case err != nil:
		log.WithError(err).Error("event cannot be proven: the tokens of the local app cannot be read")
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	case !ok || known.ApplicationToken == "":
		log.Warn("event refused: no application_token is known; save the local app in the portal once more, so that it is installed here")
		http.Error(w, "the local app is not installed here", http.StatusForbidden)
		return
	case !same(f["auth.application_token"], known.ApplicationToken):
		log.Warn("event refused: its application_token is not the one of the installation")
		http.Error(w, "wrong application_token", http.StatusForbidden)
		return
	}
	if e.Name == portal.EventUninstall {
		s.uninstalled(w, r, log)
		return
	}
	select {
	case s.queue <- e:
		w.WriteHeader(http.StatusOK)
	default:
		log.Errorf("event lost: %d are waiting already", queueLength)
		http.Error(w, "too many events", http.StatusServiceUnavailable)
	}
}

// uninstalled makes an end of tokens that the portal takes back.
func (s *Server) uninstalled(w http.ResponseWriter, r *http.Request, log *logrus.Entry) {
	if err := s.tokens.SaveToken(context.WithoutCancel(r.Context()), portal.Token{}); err != nil {
		log.WithError(err).Error("the local app was removed from the portal, and its tokens cannot be removed here")
		http.Error(w, "try again later", http.StatusServiceUnavailable)
		return
	}
	log.Warn("the local app was removed from the portal: it gets no more events and, without a webhook, no calls; install it again to go on")
	s.tell()
	w.WriteHeader(http.StatusOK)
}

// same compares a token in a time that tells nothing about it.
func same(given string, want secret.Text) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(want.Reveal())) == 1
}

// form reads the body of a request; when it cannot, the request is answered.
func (s *Server) form(w http.ResponseWriter, r *http.Request) (form, bool) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		http.Error(w, "send a form (application/x-www-form-urlencoded)", http.StatusUnsupportedMediaType)
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &tooLong):
		http.Error(w, "more than any event has to say", http.StatusRequestEntityTooLarge)
		return nil, false
	case err != nil:
		http.Error(w, "the request broke off", http.StatusBadRequest)
		return nil, false
	}
	f, err := readForm(string(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return nil, false
	}
	return f, true
}

// Address gives the address of a path below http.public_url, "" when there is no public address.
func Address(publicURL, path string) string {
	u, err := url.Parse(publicURL)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.TrimRight(u.String(), "/") + path
}
