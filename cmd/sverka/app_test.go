package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sverka/internal/ledger/sqlite"
	"sverka/internal/portal"
	"sverka/internal/secret"
)

// authorize stores tokens of the app in the ledger, as an installation does.
func (r *rig) authorize() {
	r.t.Helper()
	grant, err := r.portal.Grant(1)
	if err != nil {
		r.t.Fatal(err)
	}
	l, err := sqlite.Open(r.t.Context(), r.ledger(), time.Now)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = l.Access("office").SaveToken(r.t.Context(), portal.Token{
		AccessToken: secret.Text(grant.AccessToken), RefreshToken: secret.Text(grant.RefreshToken), ApplicationToken: secret.Text(grant.ApplicationToken),
		Endpoint: grant.ClientEndpoint, Server: grant.ServerEndpoint, MemberID: grant.MemberID, Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// meanwhile does something again and again while a program runs, and gives how often.
func meanwhile(cmd *exec.Cmd, every time.Duration, do func()) (times int, err error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return times, err
		case <-tick.C:
			do()
			times++
		}
	}
}

// TestTokensExpireMeanwhile: tokens that expire again and again in the middle of a backfill cost nothing but their renewal.
func TestTokensExpireMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 800, recorded: 60, keep: true, extra: serveExtra})
	r.byApp()
	r.authorize()
	cmd := r.command("backfill", "--from", r.from, "--to", r.to, "--yes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	times, err := meanwhile(cmd, 300*time.Millisecond, r.portal.ExpireTokens)
	if err != nil {
		t.Fatalf("backfill: %v\n%s", err, &stderr)
	}
	r.check()
	renewed := r.portal.Requests().Tokens
	if times == 0 || renewed == 0 || renewed > times+1 {
		t.Errorf("tokens expired %d times and were renewed %d times", times, renewed)
	}
	if strings.Contains(stderr.String(), "demo-secret") {
		t.Errorf("the log shows the secret:\n%s", &stderr)
	}
}

// TestTwoRenewAtOnce: two processes that find the token expired renew it once, and both go on.
func TestTwoRenewAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 60, keep: true, extra: serveExtra})
	r.byApp()
	r.authorize()
	r.portal.ExpireTokens()
	var both [2]*exec.Cmd
	for i := range both {
		both[i] = r.command("backfill", "--from", r.from, "--to", r.to, "--yes")
		if err := both[i].Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, cmd := range both {
		if err := cmd.Wait(); err != nil {
			t.Errorf("backfill: %v", err)
		}
	}
	r.check()
	if renewed := r.portal.Requests().Tokens; renewed != 1 {
		t.Errorf("renewed %d times, want once", renewed)
	}
}

// TestRenamedMeanwhile: a portal that gets another address in the middle of a backfill is followed, and the address remembered.
func TestRenamedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 800, recorded: 40, keep: true, extra: serveExtra})
	r.byApp()
	r.authorize()
	cmd := r.command("backfill", "--from", r.from, "--to", r.to, "--yes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	config, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	port := between(t, string(config), "portal: 'http://127.0.0.1:", "'")
	if _, err := meanwhile(cmd, 500*time.Millisecond, func() { r.portal.Rename("localhost:" + port) }); err != nil {
		t.Fatalf("backfill: %v\n%s", err, &stderr)
	}
	r.check()
	wantWords(t, "the log", stderr.String(), "localhost:"+port)
	again := r.run("gaps", "--from", r.from, "--to", r.to)
	if again.code != exitDone || strings.Contains(again.stderr, "localhost") {
		t.Errorf("gaps after the renaming: exit code %d, want 0 and nothing told again\n%s", again.code, again.stderr)
	}
}

// TestRevokedMeanwhile: an app that is removed in the middle of a backfill stops it with the mend, and what is left goes on when the app is back.
func TestRevokedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{calls: 800, recorded: 40, keep: true, extra: serveExtra})
	public := r.byApp()
	r.authorize()
	cmd := r.command("backfill", "--from", r.from, "--to", r.to, "--yes")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_, err := meanwhile(cmd, 50*time.Millisecond, func() {
		if len(r.portal.Calls()) > 100 {
			r.portal.RevokeApp()
		}
	})
	if err == nil || cmd.ProcessState.ExitCode() != exitUnreachable {
		t.Fatalf("backfill: %v, want exit code %d\n%s", err, exitUnreachable, &stderr)
	}
	wantWords(t, "the error", stderr.String(), "install")
	if calls := len(r.portal.Calls()); calls == len(r.pbx.Parts()) {
		t.Fatal("everything was delivered before the app was removed: nothing is tested")
	}
	s := r.serve()
	s.address()
	if err := r.portal.Install(t.Context(), public+"/b24/install"); err != nil {
		t.Fatal(err)
	}
	s.until("tokens", func() bool { return s.health() == 200 })
	s.terminate()
	if got := r.run("backfill", "--from", r.from, "--to", r.to, "--yes"); got.code != exitDone {
		t.Fatalf("backfill after the installation: exit code %d\n%s", got.code, got.stderr)
	}
	r.check()
}
