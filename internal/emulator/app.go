package emulator

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"sverka/internal/emulator/oauth"
	"sverka/internal/emulator/php"
)

// App is the local application of the portal. The zero value is app.demo with the secret demo-secret and every scope.
type App struct {
	ID       string   // client_id; "": app.demo
	Secret   string   // client_secret; "": demo-secret
	Name     string   // REST_APP_NAME; "": Телефония
	Scope    []string // nil: crm, disk, placement, telephony, user
	Redirect string   // where authorization by code returns to; "": the redirect_uri of the request, which a real portal does not read
}

// appNumber is the application's ID in app.info, and REST_APP_ID in the statistics.
const appNumber = "1"

// application is an App and what the portal knows about it.
type application struct {
	App
	tokens    *oauth.Tokens
	member    string // member_id
	token     string // application_token
	installed bool
}

func (p *Portal) newApplication(a App) *application {
	if a.ID == "" {
		a.ID = "app.demo"
	}
	if a.Secret == "" {
		a.Secret = "demo-secret"
	}
	if a.Name == "" {
		a.Name = "Телефония"
	}
	if a.Scope == nil {
		a.Scope = []string{"crm", "disk", "placement", "telephony", "user"}
	}
	return &application{
		App: a, tokens: oauth.New(p.now), member: strings.ToLower(rand.Text()), token: strings.ToLower(rand.Text()), installed: true,
	}
}

// Grant is what an application gets to work with.
type Grant struct {
	AccessToken      string
	RefreshToken     string
	ApplicationToken string
	ClientEndpoint   string // ends in /rest/
	ServerEndpoint   string // of the OAuth server; its tokens are at /oauth/token/ of the same host
	MemberID         string
}

// Grant gives the application a pair of tokens that act as a user, as if he had authorized it.
func (p *Portal) Grant(userID int) (Grant, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users.active(userID) == nil {
		return Grant{}, fmt.Errorf("grant tokens: user %d is not there or not active", userID)
	}
	if !p.app.installed {
		return Grant{}, errors.New("grant tokens: the application is not installed")
	}
	g := p.app.tokens.Issue(userID)
	return Grant{
		AccessToken: g.Access, RefreshToken: g.Refresh, ApplicationToken: p.app.token, ClientEndpoint: p.address + "/rest/",
		ServerEndpoint: p.address + "/rest/", MemberID: p.app.member,
	}, nil
}

// ExpireTokens lets every access token grow old at once: requests with them get expired_token.
func (p *Portal) ExpireTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.app.tokens.Expire()
}

// SetAddress tells the portal under which address, as http://127.0.0.1:8024, clients reach it. Until then it is the one of the first request.
func (p *Portal) SetAddress(base string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = strings.TrimSuffix(base, "/")
}

// Rename gives the portal another host, as changing the address of a cloud portal does: REST under any other host answers 302 to the new one.
func (p *Portal) Rename(newHost string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	scheme, _, ok := strings.Cut(p.address, "://")
	if !ok {
		scheme = "http"
	}
	p.address, p.renamed = scheme+"://"+newHost, newHost
}

// learn notes under which address the portal is reached, and says where a request for the old host has to go.
func (p *Portal) learn(r *http.Request) (moved string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address == "" {
		p.address = origin(r)
	}
	if p.renamed == "" || strings.EqualFold(r.Host, p.renamed) {
		return ""
	}
	return p.address + r.URL.RequestURI()
}

func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func host(address string) string {
	_, h, _ := strings.Cut(address, "://")
	return h
}

// serveAuthorize is what a browser opens: the administrator is logged in and agrees at once.
func (p *Portal) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	p.learn(r)
	in := r.URL.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	target := p.app.Redirect
	if target == "" {
		target = in.Get("redirect_uri")
	}
	to, err := url.Parse(target)
	switch {
	case in.Get("client_id") != p.app.ID || !p.app.installed:
		http.Error(w, "Приложение не найдено", http.StatusNotFound)
		return
	case err != nil || to.Host == "":
		http.Error(w, "У приложения не задан путь обработчика: укажите redirect_uri", http.StatusBadRequest)
		return
	}
	q := to.Query()
	q.Set("code", p.app.tokens.Code(adminID))
	q.Set("state", in.Get("state"))
	q.Set("domain", host(p.address))
	q.Set("member_id", p.app.member)
	q.Set("scope", strings.Join(p.app.Scope, ","))
	q.Set("server_domain", host(p.address))
	to.RawQuery = q.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// serveToken changes a code or a refresh token for a new pair.
func (p *Portal) serveToken(w http.ResponseWriter, r *http.Request) {
	p.learn(r)
	started := p.now()
	p.mu.Lock()
	p.count.Tokens++
	p.mu.Unlock()
	out, err := p.changeTokens(r)
	if err != nil {
		p.write(w, started, "", answer{}, err)
		return
	}
	p.writeJSON(w, http.StatusOK, out)
}

func (p *Portal) changeTokens(r *http.Request) (*php.Array, error) {
	no := func(status int, code, text string) error { return &Error{Status: status, Code: code, Text: text} }
	if err := r.ParseForm(); err != nil {
		return nil, no(http.StatusBadRequest, "invalid_request", "An incorrectly formatted authorization request was provided")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Form.Get("client_id") != p.app.ID || r.Form.Get("client_secret") != p.app.Secret || !p.app.installed {
		return nil, no(http.StatusUnauthorized, "invalid_client", "Invalid client data was provided")
	}
	var g oauth.Grant
	var ok bool
	switch r.Form.Get("grant_type") {
	case "authorization_code":
		g, ok = p.app.tokens.Redeem(r.Form.Get("code"))
	case "refresh_token":
		g, ok = p.app.tokens.Refresh(r.Form.Get("refresh_token"))
	default:
		return nil, no(http.StatusBadRequest, "invalid_request", "An incorrectly formatted authorization request was provided")
	}
	if !ok {
		return nil, no(http.StatusBadRequest, "invalid_grant", "Invalid authorization tokens were provided")
	}
	return php.Map(
		"access_token", g.Access, "expires", g.Expires.Unix(), "expires_in", int64(oauth.AccessLife.Seconds()), "scope", strings.Join(p.app.Scope, ","),
		"domain", host(p.address), "server_endpoint", p.address+"/rest/", "status", "L", "client_endpoint", p.address+"/rest/",
		"member_id", p.app.member, "user_id", int64(g.User), "refresh_token", g.Refresh,
	), nil
}

// caller is on whose behalf a request comes.
type caller struct {
	user  int
	app   *application // nil: the webhook
	scope []string
}

func (p *Portal) webhookCaller() caller {
	return caller{user: adminID, scope: []string{"crm", "disk", "telephony", "user"}}
}

// number is REST_APP_ID: empty for the webhook.
func (c caller) number() string {
	if c.app == nil {
		return ""
	}
	return appNumber
}

func (p *Portal) appName(number string) string {
	if number == "" {
		return ""
	}
	return p.app.Name
}

func (c caller) admin() bool { return c.user == adminID }

// may reports whether a method of a scope is within what was granted. Each of the three scopes of users opens the users.
func (c caller) may(scope string) bool {
	if scope == "" || slices.Contains(c.scope, scope) {
		return true
	}
	return scope == "user" && (slices.Contains(c.scope, "user_basic") || slices.Contains(c.scope, "user_brief"))
}

// tokenCaller finds out who sends a token.
func (p *Portal) tokenCaller(token string) (caller, error) {
	no := func(code, text string) (caller, error) {
		return caller{}, &Error{Status: http.StatusUnauthorized, Code: code, Text: text}
	}
	if token == "" {
		return no("NO_AUTH_FOUND", "Wrong authorization data")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	user, state := p.app.tokens.User(token)
	switch {
	case !p.app.installed:
		return no("APPLICATION_NOT_FOUND", "Application not found")
	case state == oauth.Expired:
		return no("expired_token", "The access token provided has expired.")
	case state == oauth.Unknown:
		return no("invalid_token", "Unable to get application by token")
	case p.users.active(user) == nil:
		return no("authorization_error", "Unable to authorize user")
	}
	return caller{user: user, app: p.app, scope: p.app.Scope}, nil
}

// Rules are what the portal's administrator or its plan forbid. The zero value forbids nothing.
type Rules struct {
	AppOnly      bool     // registering and finishing calls, and lines, through the webhook: WRONG_AUTH_TYPE
	NoREST       bool     // the plan has no REST: ACCESS_DENIED
	NoStatistics bool     // no right to see the call statistics: ACCESS_DENIED
	OwnCalls     bool     // who is not the administrator sees his own calls only
	NoScopes     []string // scopes that were not ticked: insufficient_scope
	Confirm      []string // methods that wait for the administrator: METHOD_CONFIRM_WAITING
	NoCRM        bool     // the portal has no CRM: "CRM is not installed."
	DiskFault    string   // the words in which the portal says why it cannot keep a recording; "": it can
}

// SetRules changes the rules from the next request on.
func (p *Portal) SetRules(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = r
}

// appContext are methods that a webhook may not use.
var appContext = []string{
	"event.bind", "event.get", "event.unbind", "event.offline.get", "event.offline.list", "event.offline.clear", "event.offline.error",
}

// appOnly are methods that the documentation allows to applications alone, and most portals to webhooks too.
var appOnly = []string{
	"telephony.externalCall.register", "telephony.externalCall.finish", "telephony.externalLine.add", "telephony.externalLine.update",
	"telephony.externalLine.get", "telephony.externalLine.delete",
}

// permit says why a caller may not use a method.
func (p *Portal) permit(m method, c caller) error {
	p.mu.Lock()
	r := p.rules
	p.mu.Unlock()
	no := func(status int, code, text string) error { return &Error{Status: status, Code: code, Text: text} }
	switch {
	case r.NoREST:
		return no(http.StatusForbidden, "ACCESS_DENIED", "REST API is available only on commercial plans")
	case !c.may(m.scope) || slices.Contains(r.NoScopes, m.scope):
		return no(http.StatusForbidden, "insufficient_scope", "The request requires higher privileges than provided by the access token")
	case c.app == nil && (slices.Contains(appContext, m.name) || r.AppOnly && slices.Contains(appOnly, m.name)):
		return no(http.StatusForbidden, "WRONG_AUTH_TYPE", "Current authorization type is denied for this method Application context required")
	case slices.ContainsFunc(r.Confirm, func(name string) bool { return strings.EqualFold(name, m.name) }):
		return no(http.StatusUnauthorized, "METHOD_CONFIRM_WAITING", "Waiting for confirmation")
	case r.NoStatistics && m.name == "voximplant.statistic.get":
		return no(http.StatusForbidden, "ACCESS_DENIED", "Access denied!")
	}
	return nil
}
