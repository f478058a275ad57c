package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"sverka/internal/emulator"
)

// emulateCommand runs the portal emulator alone.
type emulateCommand struct {
	*app
	listen, tls, mode, seed, faults string
}

func newEmulateCommand(a *app) *cobra.Command {
	c := &emulateCommand{app: a}
	cmd := &cobra.Command{
		Use:   "emulate",
		Short: "Run a Bitrix24 portal in memory, for tests of integrations",
		Long: `Runs a Bitrix24 portal in memory: employees, contacts, leads, deals, calls, statistics and recordings, with the limits and the traps of the
real one. Webhook: http://LISTEN/rest/1/demo/<method>; a local application with tokens: client_id app.demo, client_secret demo-secret; the
portal's page is at /. POST /emulator/<what> makes it act: docs/emulator.md. Everything is gone when it stops.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&c.listen, "listen", "127.0.0.1:8024", "`ADDRESS` to listen on")
	f.StringVar(&c.tls, "tls", "", "speak HTTPS with a certificate of an own CA, written to `DIR`/ca.pem")
	f.StringVar(&c.mode, "mode", "simple", "CRM mode: simple (contact and deal) or classic (lead)")
	f.StringVar(&c.seed, "seed", "", "JSON `FILE` with employees, contacts, leads and excluded numbers")
	f.StringVar(&c.faults, "faults", "", "faults to play, as lost=0.05,error=0.05,error_after=0.05,reset=0.05,slow=200ms")
	return cmd
}

func (c *emulateCommand) run(ctx context.Context) error {
	options := emulator.Options{Mode: c.mode, Log: c.log()}
	if c.mode != "simple" && c.mode != "classic" {
		return usagef("--mode %s: use simple or classic", c.mode)
	}
	var err error
	if options.Faults, err = emulator.ParseFaults(c.faults); err != nil {
		return usagef("--faults: %w", err)
	}
	if c.seed != "" {
		f, err := os.Open(c.seed)
		if err != nil {
			return usagef("--seed: %w", err)
		}
		options.Seed, err = emulator.ReadSeed(f)
		_ = f.Close()
		if err != nil {
			return usagef("--seed %s: %w", c.seed, err)
		}
	}
	return emulator.Run(ctx, emulator.RunOptions{Listen: c.listen, TLSDir: c.tls, Options: options, Stdout: c.stdout})
}
