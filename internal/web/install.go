package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/secret"
)

// install takes the tokens of an installation. Anybody can post tokens here, and who got his own kept would be sent our calls: the portal of
// the configuration is asked whether they are its own before they are kept.
func (s *Server) install(w http.ResponseWriter, r *http.Request) {
	f, ok := s.form(w, r)
	if !ok {
		return
	}
	if eventName(f["event"]) != portal.EventInstall {
		http.Error(w, "this address takes the installation of the local app only: enter it as its initial installation path", http.StatusBadRequest)
		return
	}
	s.installed(w, r, f)
}

func (s *Server) installed(w http.ResponseWriter, r *http.Request, f form) {
	log := s.log.WithField("from", r.RemoteAddr)
	t := portal.Token{
		AccessToken: secret.Text(f["auth.access_token"]), RefreshToken: secret.Text(f["auth.refresh_token"]),
		ApplicationToken: secret.Text(f["auth.application_token"]), MemberID: f["auth.member_id"],
		Endpoint: f["auth.client_endpoint"], Server: f["auth.server_endpoint"], Scope: f["auth.scope"],
	}
	seconds, err := strconv.ParseUint(f["auth.expires_in"], 10, 31)
	if err != nil {
		seconds = tokenLife
	}
	t.Expires = s.now().Add(time.Duration(seconds) * time.Second)
	if t.AccessToken == "" || t.RefreshToken == "" || t.ApplicationToken == "" {
		log.Warn("installation refused: it lacks access_token, refresh_token or application_token")
		http.Error(w, "no tokens", http.StatusBadRequest)
		return
	}
	// It goes on when the portal hangs up: no other installation is sent.
	if err := s.portal.Adopt(context.WithoutCancel(r.Context()), t); err != nil {
		s.denied(w, log, "installation refused", err)
		return
	}
	log.Info("the local app is installed")
	s.tell()
}

// tokenLife is how long an access token lives, as documented, in seconds.
const tokenLife = 3600

// denied answers when the portal was not let in.
func (s *Server) denied(w http.ResponseWriter, log *logrus.Entry, what string, err error) {
	log.WithError(err).Warn(what)
	if portal.ClassOf(err) == portal.Access {
		http.Error(w, "the portal does not take these as tokens of its local app; see the log of sverka", http.StatusForbidden)
		return
	}
	http.Error(w, "whether the portal takes these tokens could not be found out; see the log of sverka", http.StatusBadGateway)
}

// tell says that there are other tokens than before.
func (s *Server) tell() {
	select {
	case s.changed <- struct{}{}:
	default: // somebody is told already
	}
}

// authorize begins the authorization by code. Who comes back from it decides as whom sverka acts in the portal, so only who knows
// http.token may begin; it travels as the password of HTTP's own sign-in, never in an address.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request) {
	if s.token == "" {
		http.Error(w, "set http.token in the configuration and start sverka again: only who knows it may authorize the portal", http.StatusForbidden)
		return
	}
	_, given, ok := r.BasicAuth()
	if bearer, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); isBearer {
		given, ok = bearer, true
	}
	if !ok || !same(given, s.token) {
		w.Header().Set("WWW-Authenticate", `Basic realm="sverka: any name, http.token as the password", charset="UTF-8"`)
		http.Error(w, "any name, and http.token of the configuration as the password", http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, s.portal.AuthorizeURL(s.states.add(s.now())), http.StatusFound)
}

// authorized takes the code that the portal sends the browser back with. It is good for 30 s, and exchanged at once.
func (s *Server) authorized(w http.ResponseWriter, r *http.Request) {
	log := s.log.WithField("from", r.RemoteAddr)
	query := r.URL.Query()
	if !s.states.take(query.Get("state"), s.now()) {
		log.Warn("authorization refused: it was not begun here within the last 10 minutes")
		http.Error(w, "this authorization was not begun here within the last 10 minutes: begin again at "+PathAuthorize, http.StatusForbidden)
		return
	}
	code := query.Get("code")
	if code == "" || len(code) > 512 {
		http.Error(w, "the portal gave no code: begin again at "+PathAuthorize, http.StatusBadRequest)
		return
	}
	if err := s.portal.Authorize(context.WithoutCancel(r.Context()), code); err != nil {
		s.denied(w, log, "authorization refused", err)
		return
	}
	log.Info("the portal has let the local app in")
	s.tell()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "Sverka may act in the portal now. This page can be closed.")
}

// States of authorizations that were begun.
const (
	stateLife = 10 * time.Minute
	maxStates = 100
)

// states are the authorizations that were begun here and are not over. Each is good once.
type states struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// add gives a new state that nobody can guess.
func (s *states) add(now time.Time) string {
	state := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := ""
	for had, until := range s.until {
		if !until.After(now) {
			delete(s.until, had)
		} else if oldest == "" || until.Before(s.until[oldest]) {
			oldest = had
		}
	}
	if len(s.until) >= maxStates {
		delete(s.until, oldest)
	}
	if s.until == nil {
		s.until = make(map[string]time.Time)
	}
	s.until[state] = now.Add(stateLife)
	return state
}

// take reports whether a state was given out and is still good, and makes an end of it.
func (s *states) take(state string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.until[state]
	delete(s.until, state)
	return ok && until.After(now)
}
