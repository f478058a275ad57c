package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"

	"sverka/internal/portal"
	"sverka/internal/secret"
)

// Access keeps how one site gets into its portal: the tokens of its local app, and where a renamed portal is now.
type Access struct {
	ledger *Ledger
	site   string
}

// Access gives the keeper of a site.
func (l *Ledger) Access(site string) *Access { return &Access{ledger: l, site: site} }

// Token gives the tokens of the local app; ok is false when there are none yet.
func (a *Access) Token(ctx context.Context) (t portal.Token, ok bool, err error) {
	var access, refresh, application string
	var expires int64
	err = a.ledger.db.QueryRowContext(ctx, `SELECT access_token, refresh_token, expires, member_id, endpoint, server, scope, application_token
		FROM tokens WHERE site = ?`, a.site).Scan(&access, &refresh, &expires, &t.MemberID, &t.Endpoint, &t.Server, &t.Scope, &application)
	if errors.Is(err, sql.ErrNoRows) {
		return portal.Token{}, false, nil
	}
	if err != nil {
		return portal.Token{}, false, fmt.Errorf("read tokens of %s from the ledger: %w", a.site, err)
	}
	if access == "" && refresh == "" {
		return portal.Token{}, false, nil // the portal took them back
	}
	t.AccessToken, t.RefreshToken, t.ApplicationToken = secret.Text(access), secret.Text(refresh), secret.Text(application)
	t.Expires = fromMillis(expires)
	return t, true, nil
}

// SaveToken keeps the tokens; they are on the disk when it comes back.
func (a *Access) SaveToken(ctx context.Context, t portal.Token) error {
	_, err := a.ledger.db.ExecContext(ctx, `INSERT INTO tokens
		(site, access_token, refresh_token, expires, member_id, endpoint, server, scope, application_token, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (site) DO UPDATE SET access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires = excluded.expires,
		member_id = excluded.member_id, endpoint = excluded.endpoint, server = excluded.server, scope = excluded.scope,
		application_token = excluded.application_token, updated_at = excluded.updated_at`,
		a.site, t.AccessToken.Reveal(), t.RefreshToken.Reveal(), toMillis(t.Expires), t.MemberID, t.Endpoint, t.Server, t.Scope,
		t.ApplicationToken.Reveal(), toMillis(a.ledger.now()))
	if err != nil {
		return fmt.Errorf("write tokens of %s to the ledger: %w", a.site, err)
	}
	return nil
}

// LockTokens waits until nobody else, in this process or another, renews the tokens of the site. The operating system lets go of it when
// the process dies.
func (a *Access) LockTokens(ctx context.Context) (release func(), err error) {
	name := sha256.Sum256([]byte(a.site)) // a site's name may hold what a file's name may not
	release, err = lockFile(ctx, a.ledger.path+".tokens-"+hex.EncodeToString(name[:4]))
	if err != nil {
		return nil, fmt.Errorf("lock tokens of %s: %w", a.site, err)
	}
	return release, nil
}

// MovedTo gives the address that a host of the configuration leads to by now, "" when it has not moved.
func (a *Access) MovedTo(ctx context.Context, host string) (string, error) {
	var address string
	err := a.ledger.db.QueryRowContext(ctx, `SELECT address FROM moves WHERE site = ? AND host = ?`, a.site, host).Scan(&address)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read where %s is now from the ledger: %w", host, err)
	}
	return address, nil
}

// SaveMove keeps the address that a host of the configuration leads to.
func (a *Access) SaveMove(ctx context.Context, host, address string) error {
	_, err := a.ledger.db.ExecContext(ctx, `INSERT INTO moves (site, host, address, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (site, host) DO UPDATE SET address = excluded.address, at = excluded.at`, a.site, host, address, toMillis(a.ledger.now()))
	if err != nil {
		return fmt.Errorf("write where %s is now to the ledger: %w", host, err)
	}
	return nil
}
