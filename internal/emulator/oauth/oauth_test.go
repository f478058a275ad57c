package oauth_test

import (
	"testing"
	"time"

	"sverka/internal/emulator/oauth"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 11, 12, 0, 0, 0, time.UTC)
	tokens := oauth.New(func() time.Time { return now })
	state := func(access string) oauth.State { _, s := tokens.User(access); return s }

	g, ok := tokens.Redeem(tokens.Code(17))
	if !ok || g.User != 17 || state(g.Access) != oauth.Valid {
		t.Fatalf("redeem: %v, user %d, state %d", ok, g.User, state(g.Access))
	}
	now = now.Add(oauth.AccessLife)
	if got := state(g.Access); got != oauth.Expired {
		t.Errorf("after an hour: got %d, want %d", got, oauth.Expired)
	}
	next, ok := tokens.Refresh(g.Refresh)
	if !ok || next.User != 17 || next.Refresh == g.Refresh {
		t.Errorf("refresh: %v %d", ok, next.User)
	}
	if _, ok := tokens.Refresh(g.Refresh); ok {
		t.Error("a refresh token worked twice")
	}
	now = now.Add(2 * 24 * time.Hour)
	tokens.Issue(1) // forgets what is long expired
	if got := state(g.Access); got != oauth.Unknown {
		t.Errorf("after two days: got %d, want %d", got, oauth.Unknown)
	}
	now = now.Add(oauth.RefreshLife)
	if _, ok := tokens.Refresh(next.Refresh); ok {
		t.Error("a refresh token outlived its 180 days")
	}
	last := tokens.Issue(1)
	tokens.Revoke()
	if _, ok := tokens.Refresh(last.Refresh); ok || state(last.Access) != oauth.Unknown {
		t.Error("tokens outlived the application")
	}
}
