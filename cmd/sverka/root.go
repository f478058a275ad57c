package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is what every subcommand works with: the process around it and the flags that all of them have.
type app struct {
	getenv func(string) string
	stdin  *os.File
	stdout io.Writer
	stderr io.Writer
	now    func() time.Time

	config    string
	logLevel  string
	logFormat string
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "sverka",
		Short: "Keeps a Bitrix24 portal's call history true to the PBX",
		Long: `Sverka compares the calls of an Asterisk, FreePBX or MikoPBX with those of a Bitrix24 portal, delivers what the portal lacks exactly
once, recordings included, and reports every gap.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see sverka --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.logFormat != "text" && a.logFormat != "json" {
				return usagef("--log-format %s: use text or json", a.logFormat)
			}
			if _, err := logrus.ParseLevel(a.logLevel); err != nil {
				return usagef("--log-level %s: use debug, info, warn or error", a.logLevel)
			}
			return nil
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.config, "config", "", "configuration `FILE` (default config.yaml here, then /etc/sverka/config.yaml)")
	flags.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&a.logFormat, "log-format", "text", "text or json")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see %s --help", err, cmd.CommandPath())
	})
	root.SetUsageTemplate(strings.TrimRight(root.UsageTemplate(), "\n") + "\n\n" + exitHelp + "\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		newDemoCommand(a),
		newServeCommand(a),
		newBackfillCommand(a),
		newGapsCommand(a),
		newCallCommand(a),
		newCheckCommand(a),
		newRetryCommand(a),
		newEmulateCommand(a),
		newVersionCommand(a),
	)
	for _, cmd := range root.Commands() {
		if cmd.Args != nil {
			cmd.Args = asUsage(cmd.Args)
		}
	}
	return root
}

// asUsage makes a wrong number of arguments a mistake of usage.
func asUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		var usage usageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		return usagef("%s: %w; see %s --help", cmd.CommandPath(), err, cmd.CommandPath())
	}
}

// log gives the logger that the flags ask for. It writes to stderr: stdout is for results.
func (a *app) log() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(a.stderr)
	level, err := logrus.ParseLevel(a.logLevel)
	if err != nil {
		level = logrus.InfoLevel // checked before any command runs
	}
	l.SetLevel(level)
	if a.logFormat == "json" {
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano})
	} else {
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: !a.terminal(a.stderr)})
	}
	return logrus.NewEntry(l)
}

// terminal reports whether a stream of this process is a terminal.
func (a *app) terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && f != nil && term.IsTerminal(int(f.Fd()))
}

// width gives the width of the terminal that stdout is, or a width that fits most.
func (a *app) width() int {
	if f, ok := a.stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	return 120
}

func (a *app) printf(format string, args ...any) {
	fmt.Fprintf(a.stdout, format, args...)
}
