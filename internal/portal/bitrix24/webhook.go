package bitrix24

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"sverka/internal/secret"
)

// webhook is the address of an incoming webhook, taken apart.
type webhook struct {
	base    *url.URL // ends in /rest/USER/CODE/
	secrets []string // what must not be shown of it
}

var hookPath = regexp.MustCompile(`^(?:/[^/]+)*/rest/([0-9]+)/([^/]+)/?$`)

// shortCode is the length from which a webhook's code is searched for as a word of its own. Shorter ones (an emulator's "demo") would
// blot out ordinary words; those are found with the path around them.
const shortCode = 8

func parseWebhook(text secret.Text) (webhook, error) {
	raw := strings.TrimSpace(text.Reveal())
	if raw == "" {
		return webhook{}, badWebhook("it is empty")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return webhook{}, badWebhook("it is not an address") // the parser's own error quotes the address
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return webhook{}, badWebhook("it must begin with https://")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return webhook{}, badWebhook("plain http:// would show the code to everybody on the way: write https://")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return webhook{}, badWebhook("it must have no user name, ? or #")
	}
	m := hookPath.FindStringSubmatch(u.Path)
	if m == nil {
		return webhook{}, badWebhook("its path must be /rest/USER/CODE/, without a method after it")
	}
	user, code := m[1], m[2]
	if !strings.HasSuffix(u.Path, "/") {
		u = u.JoinPath("/")
	}
	secrets := []string{"/rest/" + user + "/" + code, "/rest/" + user + "/" + url.PathEscape(code)}
	if len(code) >= shortCode {
		secrets = append(secrets, code, url.PathEscape(code), url.QueryEscape(code))
	}
	return webhook{base: u, secrets: secrets}, nil
}

// loopback reports whether a host name is this machine itself.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
