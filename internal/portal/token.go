package portal

import (
	"time"

	"sverka/internal/secret"
)

// Token is what a portal has given a local application: the right to ask, and to ask for a new such right.
type Token struct {
	AccessToken      secret.Text // works for an hour
	RefreshToken     secret.Text // works once, within 180 days
	Expires          time.Time   // of AccessToken, by the clock of whoever gave it; for people only
	MemberID         string      // the portal, whatever its name is
	Endpoint         string      // client_endpoint: https://HOST/rest/
	Server           string      // server_endpoint: where tokens come from
	Scope            string      // comma list
	ApplicationToken secret.Text // proves that an event comes from the portal
}
