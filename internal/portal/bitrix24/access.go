package bitrix24

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/internal/secret"
)

// AppConfig is a local application of the portal.
type AppConfig struct {
	Portal       string // https://HOST
	ClientID     string
	ClientSecret secret.Text
	OAuth        string // https://oauth.bitrix.info; plain http for loopback addresses only
}

// Token is the right of a local application to ask.
type Token = portal.Token

// TokenStore keeps the tokens of the local application of one site, for all processes that share them.
type TokenStore interface {
	// Token gives the tokens; ok is false when there are none yet.
	Token(ctx context.Context) (t Token, ok bool, err error)
	// SaveToken keeps them on the disk before it comes back.
	SaveToken(ctx context.Context, t Token) error
	// LockTokens waits until no other goroutine or process renews the tokens.
	LockTokens(ctx context.Context) (release func(), err error)
}

// HostStore remembers that a portal was renamed.
type HostStore interface {
	// MovedTo gives the address, https://HOST, that the host of a configuration leads to by now; "" when it has not moved.
	MovedTo(ctx context.Context, host string) (address string, err error)
	SaveMove(ctx context.Context, host, address string) error
}

// access is how the client gets in: where the portal is, and what proves who asks.
type access struct {
	app    *AppConfig // nil: by webhook alone
	oauth  *url.URL
	host   string // of the webhook as configured
	tokens TokenStore
	hosts  HostStore
	log    *logrus.Entry

	renewing sync.Mutex // one renewal at a time in this process; the store's lock does it for all processes

	mu      sync.Mutex
	hook    *url.URL // ends in /rest/USER/CODE/; nil: no webhook
	base    *url.URL // of the app, ends in /rest/
	read    bool     // it was asked where the webhook's portal is now
	told    bool     // that the webhook stands in for the app
	token   Token
	unsaved Token // renewed, but the store could not be written: not used before it is
	hidden  []string
	redact  redactor
}

func newAccess(cfg Config, log *logrus.Entry) (*access, error) {
	a := &access{tokens: cfg.Tokens, hosts: cfg.Hosts, log: log}
	if cfg.App.ClientID == "" || cfg.Webhook != "" {
		hook, err := parseWebhook(cfg.Webhook)
		if err != nil {
			return nil, err
		}
		a.hook, a.host = hook.base, hook.base.Host
		a.hide(hook.secrets...)
	}
	if cfg.App.ClientID == "" {
		return a, nil
	}
	if cfg.App.ClientSecret == "" {
		return nil, errors.New("bitrix24.app.client_secret: it is empty; Bitrix24 shows it beside the client_id of the local app")
	}
	if cfg.Tokens == nil {
		return nil, errors.New("bitrix24.app: there is no place to keep its tokens")
	}
	base, err := secure("bitrix24.app.portal", cfg.App.Portal)
	if err != nil {
		return nil, err
	}
	if a.oauth, err = secure("bitrix24.app.oauth", cmp.Or(cfg.App.OAuth, DefaultOAuth)); err != nil {
		return nil, err
	}
	base.Path = strings.TrimSuffix(base.Path, "/") + "/rest/"
	app := cfg.App
	a.app, a.base = &app, base
	a.hide(app.ClientSecret.Reveal())
	return a, nil
}

// secure reads an address that secrets are sent to.
func secure(key, text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("%s: it must look like https://example.bitrix24.ru", key)
	}
	return u, nil
}

// hide adds texts that must not be shown. Those of earlier tokens stay: an answer on its way may still quote them. The caller holds mu, or
// is alone.
func (a *access) hide(secrets ...string) {
	for _, s := range secrets {
		if s != "" && !slices.Contains(a.hidden, s) {
			a.hidden = append(a.hidden, s)
			if escaped := url.QueryEscape(s); escaped != s && a.app != nil {
				a.hidden = append(a.hidden, escaped)
			}
		}
	}
	const ours, most = 10, 64 // the first ones are the configuration's; behind them are some days of tokens
	if extra := len(a.hidden) - most; extra > 0 {
		a.hidden = slices.Delete(a.hidden, ours, ours+extra)
	}
	a.redact = newRedactor(a.hidden...)
}

func (a *access) redactor() redactor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.redact
}

func (a *access) secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.hidden)
}

// byApp reports whether requests go through the app: as soon as it has tokens, or when there is no webhook. The caller holds mu.
func (a *access) byApp() bool { return a.app != nil && (a.token.AccessToken != "" || a.hook == nil) }

func (a *access) throughApp() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byApp()
}

// address gives where the portal is by now.
func (a *access) address() *url.URL {
	a.mu.Lock()
	defer a.mu.Unlock()
	return *a.current()
}

// current is the address in use. The caller holds mu.
func (a *access) current() **url.URL {
	if a.byApp() {
		return &a.base
	}
	return &a.hook
}

// enter gives where to ask and with which token, "" for a webhook. Until the app has tokens a webhook stands in for it, if there is one, and
// that is told: lines and events belong to an application alone.
func (a *access) enter(ctx context.Context, method string) (*url.URL, secret.Text, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.app != nil && a.token.AccessToken == "" {
		t, ok, err := a.tokens.Token(ctx)
		switch {
		case err != nil:
			return nil, "", fmt.Errorf("%s: read the tokens of the local app: %w", method, err)
		case ok && t.AccessToken != "":
			a.take(t)
		case a.hook == nil:
			return nil, "", &portal.Error{
				Class: portal.Access, Method: method, Text: "the local app is not installed yet: Sverka has no tokens of it", Hint: hintInstall,
			}
		case !a.told:
			a.told = true
			a.log.Warn("the local app of bitrix24.app is not installed yet: the portal is asked through bitrix24.webhook until it is")
		}
	}
	if a.byApp() {
		return a.base, a.token.AccessToken, nil
	}
	if !a.read && a.hosts != nil {
		moved, err := a.hosts.MovedTo(ctx, a.host)
		if err != nil {
			return nil, "", fmt.Errorf("%s: read where the portal %s is now: %w", method, a.host, err)
		}
		if to, err := url.Parse(moved); err == nil && moved != "" {
			a.hook = at(a.hook, to)
		}
	}
	a.read = true
	return a.hook, "", nil
}

// take uses tokens from now on. The caller holds mu.
func (a *access) take(t Token) {
	a.token = t
	a.hide(t.AccessToken.Reveal(), t.RefreshToken.Reveal(), t.ApplicationToken.Reveal())
	if u, err := secure("client_endpoint", t.Endpoint); err == nil {
		a.base = u.JoinPath("/")
	}
}

// at gives an address at another host.
func at(u, host *url.URL) *url.URL {
	moved := *u
	moved.Scheme, moved.Host = host.Scheme, host.Host
	return &moved
}

// renamed gives where the redirect of a renamed portal leads: the same path at another host, as safe as before. Anything else, which leads to
// a login page, a proxy or somebody else, gives nil.
func renamed(asked *url.URL, status int, location string) *url.URL {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	to, err := asked.Parse(location)
	if err != nil || to.Host == "" || to.Host == asked.Host || to.Path != asked.Path || to.User != nil {
		return nil
	}
	if to.Scheme != "https" && (to.Scheme != "http" || !loopback(to.Hostname()) || asked.Scheme == "https") {
		return nil
	}
	return at(asked, to)
}

// moved remembers where a renamed portal is now, and tells it once.
func (a *access) moved(ctx context.Context, asked, to *url.URL) error {
	a.mu.Lock()
	byApp, current := a.byApp(), a.current()
	known := (*current).Host == to.Host
	if !known {
		*current = at(*current, to)
	}
	base := *current
	a.mu.Unlock()
	if known {
		return nil
	}
	a.log.WithFields(logrus.Fields{"was": asked.Host, "host": to.Host}).
		Warn("the portal was renamed: it is asked at its new address, which should be written into bitrix24 of the configuration")
	var err error
	switch {
	case byApp:
		err = a.saveEndpoint(ctx, base)
	case a.hosts != nil:
		err = a.hosts.SaveMove(ctx, a.host, to.Scheme+"://"+to.Host)
	}
	if err != nil {
		return fmt.Errorf("remember that the portal %s is now %s: %w", asked.Host, to.Host, err)
	}
	return nil
}

// saveEndpoint keeps the portal's new address with the tokens, which another process may have renewed meanwhile.
func (a *access) saveEndpoint(ctx context.Context, base *url.URL) error {
	release, err := a.tokens.LockTokens(ctx)
	if err != nil {
		return err
	}
	defer release()
	t, ok, err := a.tokens.Token(ctx)
	if err != nil || !ok {
		return err
	}
	t.Endpoint = base.String()
	return a.tokens.SaveToken(ctx, t)
}

// mend says the same to whoever works with a local app.
func (a *access) mend(hint string) string {
	if !a.throughApp() {
		return hint
	}
	switch hint {
	case hintWebhook:
		return hintAppGone
	case hintScope:
		return hintAppScope
	case hintRight:
		return hintAppRight
	case hintStats:
		return hintAppStats
	case hintConfirm:
		return "an administrator of the portal must confirm this method for the local app"
	}
	return hint
}
