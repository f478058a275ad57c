package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"sverka/internal/demo"
	"sverka/internal/emulator"
)

// demoCommand plays a day of a small office against a portal on this machine.
type demoCommand struct {
	*app
	calls  int
	dir    string
	listen string
}

const (
	// demoZone is that of the office's clock.
	demoZone = "Europe/Moscow"
	// demoSeed gives the same day to everybody who runs the demo.
	demoSeed = 24
	// demoSpeed is how much faster than real ones the portal's limits are, so that nobody waits for them.
	demoSpeed = 50
	// demoSlow is how long the portal thinks about an answer, and demoBatch about one for many calls: a real one does, too, and calls and
	// recordings are on their way at the same time.
	demoSlow  = 50 * time.Millisecond
	demoBatch = 400 * time.Millisecond
	// demoMost is a day that still takes less than a minute to write.
	demoMost = 2000
)

func newDemoCommand(a *app) *cobra.Command {
	c := &demoCommand{app: a}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything on this machine, without any set-up",
		Long: `Plays one day of a small office: a PBX with calls and recordings, and a Bitrix24 portal on a free local port that knows none of them. The
real commands then show what is missing, deliver it, are killed half-way, go on, and prove that nothing is missing. In the end the
portal is compared with what the PBX really did.

On a terminal it waits for Enter between the steps and keeps the portal's page up until Ctrl-C. Elsewhere it plays through once and
exits with 1 if a call or a recording is not in the portal exactly once.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.IntVar(&c.calls, "calls", 60, "calls of the day")
	f.StringVar(&c.dir, "dir", "", "keep the files in `DIR`, which must be empty (default: a directory that is removed afterwards)")
	f.StringVar(&c.listen, "listen", "127.0.0.1:0", "`ADDRESS` of the portal; port 0 takes a free one")
	return cmd
}

func (c *demoCommand) run(ctx context.Context) (err error) {
	if c.calls < 1 || c.calls > demoMost {
		return usagef("--calls %d: give 1 to %d", c.calls, demoMost)
	}
	if err := c.loopback(); err != nil {
		return err
	}
	dir, remove, err := c.directory()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	p, err := c.stage(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	return p.play(ctx)
}

// loopback refuses an address that others can reach: the portal's webhook is no secret.
func (c *demoCommand) loopback() error {
	host, _, err := net.SplitHostPort(c.listen)
	if err != nil {
		return usagef("--listen %s: %w", c.listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--listen %s: the portal of the demo listens on a loopback address only, like 127.0.0.1:8024", c.listen)
	}
	return nil
}

// directory gives the place for the files, and what to do with it in the end.
func (c *demoCommand) directory() (dir string, remove func() error, err error) {
	if c.dir == "" {
		dir, err = os.MkdirTemp("", "sverka-demo-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return "", nil, fmt.Errorf("make --dir: %w", err)
	}
	if dir, err = filepath.Abs(c.dir); err != nil {
		return "", nil, fmt.Errorf("find --dir: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, fmt.Errorf("read --dir: %w", err)
	}
	if len(names) > 0 {
		return "", nil, usagef("--dir %s is not empty", c.dir)
	}
	return dir, func() error { return nil }, nil
}

// play is one demo under way.
type play struct {
	*demoCommand
	home   string // the directory of its files
	self   string // the path of this program
	day    demo.Summary
	portal *emulator.Portal
	outage *outage
	server *http.Server
	page   string        // address of the portal's page
	enter  chan struct{} // one for each Enter; nil where nobody is asked
}

// stage writes the day, starts the portal and the configuration between them.
func (c *demoCommand) stage(ctx context.Context, dir string) (p *play, err error) {
	p = &play{demoCommand: c, home: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.self, err = os.Executable(); err != nil {
		return p, fmt.Errorf("find this program: %w", err)
	}
	zone, err := time.LoadLocation(demoZone)
	if err != nil {
		return p, fmt.Errorf("zone of the demo: %w", err)
	}
	now := c.now().In(zone)
	p.day, err = demo.Write(ctx, demo.Options{Dir: dir, Day: now.AddDate(0, 0, -1), Calls: c.calls, Seed: demoSeed, Now: now})
	if err != nil {
		return p, err
	}
	p.portal, err = emulator.New(emulator.Options{
		Mode: emulator.Classic, Seed: demo.Seed(), Faults: emulator.Faults{Slow: demoSlow}, Speed: demoSpeed, Now: c.now,
		Dir: filepath.Join(dir, "portal"), Zone: zone,
	})
	if err != nil {
		return p, err
	}
	p.outage = newOutage(p.portal, (p.day.Parts+1)/2)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.listen)
	if err != nil {
		return p, fmt.Errorf("start the portal: %w", err)
	}
	p.page = "http://" + listener.Addr().String() + "/"
	p.server = &http.Server{Handler: p.outage, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(listener) }() // ends when close closes it
	if c.terminal(c.stdin) {
		p.enter = make(chan struct{})
		go listenForEnter(c.stdin, p.enter)
	}
	return p, p.writeConfig()
}

func (p *play) close() error {
	var errs []error
	if p.server != nil {
		errs = append(errs, p.server.Close())
	}
	if p.portal != nil {
		errs = append(errs, p.portal.Close())
	}
	return errors.Join(errs...)
}

// listenForEnter tells of each line, until the input ends.
func listenForEnter(in io.Reader, enter chan<- struct{}) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		enter <- struct{}{}
	}
	close(enter)
}

func (p *play) writeConfig() error {
	var lines strings.Builder
	for _, l := range demo.Lines() {
		fmt.Fprintf(&lines, "  - {number: '%s', name: %s, did: ['%s']}\n", l.Number, l.Name, strings.Join(l.DIDs, "', '"))
	}
	text := fmt.Sprintf(`# Written by sverka demo. The commands run in this directory, so its paths are short.
site: demo
timezone: %s
cdr: {driver: sqlite, schema: mikopbx, dsn: cdr.db}
recordings: {dir: monitor, format: keep}      # the portal gets the very bytes of the PBX
staging: {dir: staging}
ledger: {dsn: ledger.db}
bitrix24:
  webhook: %srest/1/demo/
  rate: {burst: 50, per_second: %d}          # the clock of this portal's limits runs %d times faster
crm: {create_max_age: 72h}                    # the calls are of yesterday
lines:
%s`, demoZone, p.page, 2*demoSpeed, demoSpeed, &lines)
	if err := os.WriteFile(filepath.Join(p.home, "config.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}

// play shows the steps one after another.
func (p *play) play(ctx context.Context) error {
	p.introduce()
	span := []string{"--from", p.day.From.Format(time.DateOnly), "--to", p.day.To.Format(time.DateOnly)}
	gaps, backfill := append([]string{"gaps"}, span...), append(append([]string{"backfill"}, span...), "--yes")
	steps := []struct {
		title, text string
		do          func() error
	}{
		{"What is missing?", "Sverka reads both sides and compares. It changes nothing.", func() error { return p.expect(ctx, exitGaps, gaps) }},
		{
			"Deliver, and pull the plug",
			"Half-way the process is killed (SIGKILL) while an answer of the portal is on its\nway: Bitrix24 has the calls, and Sverka does not know.",
			func() error { return p.interrupt(ctx, backfill) },
		},
		{"The same command again", "It finds out what became of the lost answer and goes on from there.", func() error { return p.expect(ctx, exitDone, backfill) }},
		{"What is missing now?", "Both sides again.", func() error { return p.expect(ctx, exitDone, gaps) }},
		{"Is that true?", "The portal, compared with what the PBX really did:", p.verdict},
	}
	for i, step := range steps {
		if err := p.pause(ctx, i == len(steps)-1); err != nil {
			return err
		}
		p.printf("\n── %d. %s %s\n%s\n", i+1, step.title, strings.Repeat("─", 74-len(step.title)), step.text)
		if err := step.do(); err != nil {
			return err
		}
	}
	return p.linger(ctx)
}

func (p *play) introduce() {
	p.printf("Sverka demo: one day of a small office\n\n")
	p.printf("  PBX       %s on %s, %s to listen to\n", count(p.day.Calls, "call"), p.day.From.Format(time.DateOnly), count(p.day.Recordings, "recording"))
	p.printf("  Bitrix24  %s which knows the employees, some clients, and no call\n", p.page)
	p.printf("  Files     %s\n", p.home)
	if p.enter != nil {
		p.printf("\nOpen the portal in a browser and watch it while you go on here.\n")
	}
}

// pause waits for Enter, where there is somebody to press it.
func (p *play) pause(ctx context.Context, last bool) error {
	if p.enter == nil || last {
		return nil
	}
	select {
	case <-p.enter: // pressed too early: not meant for a step that nobody has seen
	default:
	}
	p.printf("\nPress Enter to go on … ")
	select {
	case <-p.enter:
		return nil
	case <-ctx.Done():
		p.printf("\n")
		return ctx.Err()
	}
}

// command makes the process of one command, as somebody would start it in the directory of the demo, and shows its command line.
func (p *play) command(ctx context.Context, args []string) *exec.Cmd {
	p.printf("\n$ sverka %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, p.self, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.home, p.stdout, p.stderr
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// expect runs a command to its end, which must be the one expected.
func (p *play) expect(ctx context.Context, code int, args []string) error {
	err := p.command(ctx, args).Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && !errors.As(err, &exit):
		return fmt.Errorf("run sverka %s: %w", args[0], err)
	}
	got := exitDone
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != code {
		return fmt.Errorf("sverka %s ended with exit code %d, want %d", args[0], got, code)
	}
	return nil
}

// interrupt starts a command and kills it when about half of the calls are in the portal.
func (p *play) interrupt(ctx context.Context, args []string) error {
	cmd := p.command(ctx, args)
	p.outage.arm()
	defer p.outage.over()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run sverka %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var killing, outcome error
	select {
	case outcome = <-ended:
		killing = os.ErrProcessDone
	case <-p.outage.cut:
		killing = cmd.Process.Kill()
		outcome = <-ended
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case killing != nil:
		return fmt.Errorf("kill sverka %s: %w", args[0], errors.Join(killing, outcome))
	}
	calls, recordings := p.inPortal()
	p.printf("\nKilled. In the portal: %d of %s, %d of %s.\n", calls, count(p.day.Parts, "call"), recordings, count(p.day.Recordings, "recording"))
	return nil
}

// inPortal counts what the portal holds.
func (p *play) inPortal() (calls, recordings int) {
	for _, call := range p.portal.Calls() {
		calls++
		if call.RecordFileID != 0 {
			recordings++
		}
	}
	return calls, recordings
}

// verdict compares the portal with the truth about the day.
func (p *play) verdict() error {
	v := p.day.Check(p.portal)
	requests := p.portal.Requests()
	p.printf("\n  calls       %d of %d, each exactly once: client, employee, line, time and outcome agree\n", v.Parts, p.day.Parts)
	p.printf("  recordings  %d of %d attached, byte for byte (%s)\n", v.Recordings, p.day.Recordings, humanize.Bytes(uint64(v.Bytes)))
	p.printf("  not sent    %s between colleagues\n", count(p.day.Internal, "call"))
	p.printf("  requests    %s to the portal, %s refused by its limits\n", number(requests.HTTP), number(requests.RefusedBucket+requests.RefusedOperating))
	if len(v.Wrong) == 0 {
		p.printf("\nEvery call and every recording is in Bitrix24 exactly once.\n")
		return nil
	}
	const most = 20
	p.printf("\nNot as it should be:\n")
	for i, wrong := range v.Wrong {
		if i == most {
			p.printf("  … and %d more\n", len(v.Wrong)-most)
			break
		}
		p.printf("  %s\n", wrong)
	}
	return fmt.Errorf("the portal does not hold what the PBX did: %s", count(len(v.Wrong), "difference"))
}

// linger keeps the portal's page up for whoever looks at it.
func (p *play) linger(ctx context.Context) error {
	if p.dir != "" {
		p.printf("The files stay in %s.\n", p.home)
	}
	if p.enter == nil {
		return nil
	}
	p.printf("\nLook at the portal and listen to the recordings: %s\nCtrl-C ends the demo.\n", p.page)
	<-ctx.Done()
	p.printf("\n")
	return nil
}

// outage stands before the portal, which takes its time over batches. While armed, it holds the answer of the request after which the portal has enough calls, and of all
// that follow, until over is called; none of those answers leaves. Pages are not held.
type outage struct {
	portal  *emulator.Portal
	handler http.Handler
	enough  int
	armed   atomic.Bool
	cut     chan struct{} // closed when the first answer is held
	gone    chan struct{} // closed when it is over
	once    sync.Once
}

func newOutage(p *emulator.Portal, enough int) *outage {
	return &outage{portal: p, handler: p.Handler(), enough: enough, cut: make(chan struct{}), gone: make(chan struct{})}
}

func (o *outage) arm() { o.armed.Store(true) }

func (o *outage) over() {
	o.armed.Store(false)
	close(o.gone)
}

// ServeHTTP lets the portal work on the request, and perhaps keeps the answer.
func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(strings.TrimSuffix(r.URL.Path, ".json"), "/batch") {
		select {
		case <-time.After(demoBatch):
		case <-r.Context().Done():
		}
	}
	armed := o.armed.Load() && strings.HasPrefix(r.URL.Path, "/rest/")
	o.handler.ServeHTTP(w, r)
	if !armed || len(o.portal.Calls()) < o.enough {
		return
	}
	o.once.Do(func() { close(o.cut) })
	<-o.gone
	panic(http.ErrAbortHandler)
}
