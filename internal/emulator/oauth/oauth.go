// Package oauth keeps the tokens that a portal has given to one application: codes, access tokens and refresh tokens, with their lives.
package oauth

import (
	"crypto/rand"
	"sync"
	"time"
)

// How long what is given out lives.
const (
	CodeLife    = 30 * time.Second
	AccessLife  = time.Hour
	RefreshLife = 180 * 24 * time.Hour
)

// Grant is a pair of tokens.
type Grant struct {
	Access  string
	Refresh string
	User    int
	Expires time.Time // of the access token
}

// State says what an access token is good for.
type State int

// States of an access token.
const (
	Valid   State = iota + 1
	Expired       // was good once
	Unknown       // never given out, or taken back
)

type given struct {
	user  int
	until time.Time
}

// Tokens are those of one application. All methods may be used at once by several goroutines.
type Tokens struct {
	now func() time.Time

	mu      sync.Mutex
	codes   map[string]given
	access  map[string]given
	refresh map[string]given
	swept   time.Time
}

// New makes an empty set on a clock.
func New(now func() time.Time) *Tokens {
	return &Tokens{now: now, codes: map[string]given{}, access: map[string]given{}, refresh: map[string]given{}, swept: now()}
}

// keepExpired is how long an access token is remembered as expired; after that it is unknown.
const keepExpired = 24 * time.Hour

// Issue gives a pair for a user.
func (t *Tokens) Issue(user int) Grant {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issue(user)
}

func (t *Tokens) issue(user int) Grant {
	now := t.now()
	t.sweep(now)
	g := Grant{Access: rand.Text() + rand.Text(), Refresh: rand.Text() + rand.Text(), User: user, Expires: now.Add(AccessLife).Truncate(time.Second)}
	t.access[g.Access] = given{user, g.Expires}
	t.refresh[g.Refresh] = given{user, now.Add(RefreshLife)}
	return g
}

// sweep forgets once an hour what nobody can use any more, so that a portal that sends events for weeks does not grow.
func (t *Tokens) sweep(now time.Time) {
	if now.Sub(t.swept) < AccessLife {
		return
	}
	t.swept = now
	for _, old := range []struct {
		of   map[string]given
		keep time.Duration
	}{{t.codes, 0}, {t.access, keepExpired}, {t.refresh, 0}} {
		for k, g := range old.of {
			if g.until.Add(old.keep).Before(now) {
				delete(old.of, k)
			}
		}
	}
}

// Code gives an authorization code for a user.
func (t *Tokens) Code(user int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := rand.Text()
	t.codes[c] = given{user, t.now().Add(CodeLife)}
	return c
}

// Redeem changes a code for a pair, once and in time.
func (t *Tokens) Redeem(code string) (Grant, bool) { return t.change(t.codes, code) }

// Refresh changes a refresh token for a new pair. The old refresh token is used up, the old access token lives on.
func (t *Tokens) Refresh(token string) (Grant, bool) { return t.change(t.refresh, token) }

func (t *Tokens) change(of map[string]given, key string) (Grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := of[key]
	delete(of, key)
	if !ok || !t.now().Before(g.until) {
		return Grant{}, false
	}
	return t.issue(g.user), true
}

// User tells whose an access token is.
func (t *Tokens) User(access string) (int, State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, ok := t.access[access]
	switch {
	case !ok:
		return 0, Unknown
	case !t.now().Before(g.until):
		return g.user, Expired
	}
	return g.user, Valid
}

// Expire ends the life of every access token now.
func (t *Tokens) Expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for k, g := range t.access {
		if g.until.After(now) {
			g.until = now
			t.access[k] = g
		}
	}
}

// Revoke takes everything back.
func (t *Tokens) Revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.codes)
	clear(t.access)
	clear(t.refresh)
}
