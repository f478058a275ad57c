package bitrix24

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
	"sverka/internal/secret"
)

// DefaultOAuth is where tokens of local applications come from.
const DefaultOAuth = "https://oauth.bitrix.info"

// methodToken names the OAuth server in errors.
const methodToken = "oauth/token" // #nosec G101 -- a path

// renewal is how long the OAuth server has for its answer. It is not cut short when the caller gives up: the answer holds the only
// pair of tokens that works from then on.
const renewal = 30 * time.Second

// ThroughApp reports whether the portal is asked through the local app, as it was with the last request.
func (c *Client) ThroughApp() bool { return c.access.throughApp() }

// ErrNoApp says that the client works through a webhook, which has no tokens.
var ErrNoApp = errors.New("bitrix24.app.client_id is empty: there is no local app to authorise")

// AuthorizeURL gives the page of the portal where an administrator lets the local app in; the portal then opens the app's own address with
// a code for Authorize, and with state as it is here. "" for a webhook.
func (c *Client) AuthorizeURL(state string) string {
	if c.access.app == nil {
		return ""
	}
	c.access.mu.Lock()
	u := *c.access.base
	c.access.mu.Unlock()
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/rest") + "/oauth/authorize/"
	u.RawQuery = url.Values{"client_id": {c.access.app.ClientID}, "response_type": {"code"}, "state": {state}}.Encode()
	return u.String()
}

// Authorize gets the first tokens for a code, which lives for 30 seconds, and keeps them once the portal has taken them. The application
// token that events are checked by stays as it is known.
func (c *Client) Authorize(ctx context.Context, code string) error {
	if c.access.app == nil {
		return ErrNoApp
	}
	t, err := c.askToken(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	if err != nil {
		return err
	}
	return c.Adopt(ctx, t)
}

// Adopt keeps tokens that came from outside, as with an installation. Anybody can send some, so the configured portal is asked whether
// they are its own; whatever address they name is not believed.
func (c *Client) Adopt(ctx context.Context, t Token) error {
	a := c.access
	if a.app == nil {
		return ErrNoApp
	}
	if t.AccessToken == "" || t.RefreshToken == "" {
		return &portal.Error{Class: portal.Access, Method: methodApp, Text: "the installation brings no tokens", Hint: hintInstall}
	}
	release, err := a.tokens.LockTokens(ctx)
	if err != nil {
		return fmt.Errorf("keep the tokens of the local app: %w", err)
	}
	defer release()
	known, _, err := a.tokens.Token(ctx)
	if err != nil {
		return fmt.Errorf("keep the tokens of the local app: %w", err)
	}
	base, err := c.tried(ctx, t)
	if err != nil {
		return fmt.Errorf("try the tokens of the local app: %w", err)
	}
	t.Endpoint = base.String()
	if t.ApplicationToken == "" {
		t.ApplicationToken = known.ApplicationToken
	}
	if err := a.tokens.SaveToken(ctx, t); err != nil {
		return fmt.Errorf("keep the tokens of the local app: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.take(t)
	a.unsaved = Token{}
	return nil
}

// tried asks the portal with these tokens, and gives the address at which it took them.
func (c *Client) tried(ctx context.Context, t Token) (*url.URL, error) {
	a := c.access
	a.mu.Lock()
	a.hide(t.AccessToken.Reveal(), t.RefreshToken.Reveal(), t.ApplicationToken.Reveal())
	base := a.base
	a.mu.Unlock()
	x := c.exchange(methodApp, map[string]int64{methodApp: 1}, withAuth([]byte("{}"), t.AccessToken))
	x.url = base.JoinPath(methodApp + ".json")
	for hop := 0; ; hop++ {
		status, location, body, err := c.post(ctx, x)
		if err != nil {
			return nil, err
		}
		if to := renamed(x.url, status, location); to != nil && hop < maxHops {
			x.url, base = to, at(base, to)
			continue
		}
		if _, e := c.judge(x, status, location, body); e != nil {
			return nil, e
		}
		return base, nil
	}
}

// renew gets new tokens in place of used ones. Whoever comes second takes what the first one got.
func (c *Client) renew(ctx context.Context, used secret.Text) error {
	a := c.access
	a.renewing.Lock()
	defer a.renewing.Unlock()
	release, err := a.tokens.LockTokens(ctx)
	if err != nil {
		return fmt.Errorf("renew the tokens of the local app: %w", err)
	}
	defer release()
	a.mu.Lock()
	t := a.unsaved
	a.mu.Unlock()
	if t.AccessToken == "" {
		stored, ok, err := a.tokens.Token(ctx)
		if err != nil {
			return fmt.Errorf("renew the tokens of the local app: %w", err)
		}
		if !ok {
			return &portal.Error{Class: portal.Access, Method: methodToken, Text: "the ledger has lost the tokens of the local app", Hint: hintInstall}
		}
		if t = stored; t.AccessToken == used {
			fresh, err := c.askToken(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.RefreshToken.Reveal()}})
			if err != nil {
				return err
			}
			t = inherit(fresh, t)
		} else {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.take(t)
			return nil
		}
	}
	// The old pair is dead by now: the new one is written even when the caller has given up, and before anything is asked with it.
	err = a.tokens.SaveToken(context.WithoutCancel(ctx), t)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		// Kept in memory, so that the next request tries to write it again in place of asking with a dead pair.
		a.unsaved = t
		a.hide(t.AccessToken.Reveal(), t.RefreshToken.Reveal())
		return fmt.Errorf("keep the renewed tokens of the local app: %w; give sverka a ledger that it may write", err)
	}
	a.unsaved = Token{}
	a.take(t)
	c.log.Info("tokens of the local app renewed")
	return nil
}

// inherit keeps what the OAuth server does not say.
func inherit(fresh, old Token) Token {
	if fresh.Endpoint == "" {
		fresh.Endpoint = old.Endpoint
	}
	if fresh.Server == "" {
		fresh.Server = old.Server
	}
	if fresh.MemberID == "" {
		fresh.MemberID = old.MemberID
	}
	if fresh.Scope == "" {
		fresh.Scope = old.Scope
	}
	fresh.ApplicationToken = old.ApplicationToken
	return fresh
}

// askToken asks the OAuth server once. Whatever goes wrong, the portal itself was asked nothing: a fault of the network is
// portal.Unreachable, a refusal portal.Access. The server is always the configured one: it is told the client_secret.
func (c *Client) askToken(ctx context.Context, form url.Values) (Token, error) {
	a := c.access
	form.Set("client_id", a.app.ClientID)
	form.Set("client_secret", a.app.ClientSecret.Reveal())
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewal)
	defer cancel()
	redact := newRedactor(append(a.secrets(), form.Get("code"), form.Encode())...)
	unreachable := func(err error) error {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return &portal.Error{
			Class: portal.Unreachable, Method: methodToken, Err: redact.cause(err),
			Hint: "this machine needs a way to " + a.oauth.Host + " (bitrix24.app.oauth)",
		}
	}
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(limited, http.MethodPost, a.oauth.JoinPath("oauth/token/").String(), bytes.NewReader(body))
	if err != nil {
		return Token{}, unreachable(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	asked := time.Now()
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return Token{}, unreachable(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return Token{}, unreachable(err)
	}
	var got struct {
		Access      wire.Text   `json:"access_token"`
		Refresh     wire.Text   `json:"refresh_token"`
		In          wire.Number `json:"expires_in"`
		Client      wire.Text   `json:"client_endpoint"`
		Server      wire.Text   `json:"server_endpoint"`
		Member      wire.Text   `json:"member_id"`
		Scope       wire.Text   `json:"scope"`
		Code        wire.Text   `json:"error"`
		Description wire.Text   `json:"error_description"`
	}
	err = json.Unmarshal(answer, &got)
	switch {
	case err == nil && got.Code != "" && resp.StatusCode < 500:
		return Token{}, &portal.Error{
			Class: portal.Access, Method: methodToken, Status: resp.StatusCode, Code: redact.Replace(string(got.Code)),
			Text: redact.Replace(string(got.Description)), Hint: oauthHint(string(got.Code)),
		}
	case err != nil || resp.StatusCode >= 300 || got.Access == "" || got.Refresh == "":
		return Token{}, &portal.Error{
			Class: portal.Retryable, Method: methodToken, Status: resp.StatusCode, Text: redact.Replace(wire.Page(answer)),
			Hint: "the OAuth server " + a.oauth.Host + " gave no tokens: check bitrix24.app.oauth and any proxy on the way",
		}
	}
	return Token{
		AccessToken: secret.Text(got.Access), RefreshToken: secret.Text(got.Refresh), Expires: asked.Add(time.Duration(got.In) * time.Second),
		MemberID: string(got.Member), Endpoint: string(got.Client), Server: string(got.Server), Scope: string(got.Scope),
	}, nil
}

// oauthHint says what a person can do about a refusal of the OAuth server.
func oauthHint(code string) string {
	switch strings.ToLower(code) {
	case "invalid_grant":
		return "the authorisation of the local app has ended: " + hintInstall
	case "payment_required":
		return hintPay
	case "invalid_client", "wrong_client":
		return "bitrix24.app.client_id or client_secret is wrong, or the app was deleted: copy both from the local app's page in Bitrix24"
	case "insufficient_scope", "invalid_scope":
		return hintAppScope
	}
	return hintInstall
}

// withAuth puts a token into the body of a request, which is a JSON object.
func withAuth(body []byte, token secret.Text) []byte {
	if token == "" {
		return body
	}
	quoted, err := json.Marshal(token.Reveal())
	if err != nil {
		return body // a string can always be written
	}
	with := append([]byte(`{"auth":`), quoted...)
	if !bytes.Equal(body, []byte("{}")) {
		with = append(with, ',')
	}
	return append(with, body[1:]...)
}
