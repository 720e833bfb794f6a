// Tidegate-testplane is a Kubernetes control plane for tests: the real etcd,
// API server and controller manager, nodes that are played, and beside them
// a Git server and an application's metrics. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"tidegate.dev/testplane/internal/behaviour"
)

type options struct {
	dir           string
	nodes         int
	workers       int
	timing        behaviour.Timing
	unsafeNoFsync bool
	storeJSON     bool
	startTimeout  time.Duration
	exporter      bool
	rate          float64
	gitRoot       string
	gitUser       string
	gitPassword   string
}

func (o *options) gitFlags(flags *flag.FlagSet) {
	flags.StringVar(&o.gitRoot, "git-root", "", "serve the Git repositories below this `directory`")
	flags.StringVar(&o.gitUser, "git-user", "", "want this user `name` for Git")
	flags.StringVar(&o.gitPassword, "git-password", "", "want this `password` for Git")
}

func (o *options) flags(flags *flag.FlagSet) {
	o.gitFlags(flags)
	flags.StringVar(&o.dir, "dir", "", "data `directory`, kept at the end (default: a temporary one, removed at the end)")
	flags.IntVar(&o.nodes, "nodes", 3, "`number` of nodes")
	flags.IntVar(&o.workers, "workers", 32, "`number` of pods handled at a time")
	flags.DurationVar(&o.timing.ReadyAfter, "ready-after", 200*time.Millisecond, "`time` from a container's start to Ready")
	flags.DurationVar(&o.timing.CompleteAfter, "complete-after", time.Second, "`time` a Job's container runs")
	flags.DurationVar(&o.timing.BackOffStart, "backoff-start", time.Second, "`time` before the first restart; doubles")
	flags.DurationVar(&o.timing.BackOffMax, "backoff-max", 30*time.Second, "longest `time` before a restart")
	flags.BoolVar(&o.unsafeNoFsync, "unsafe-no-fsync", false, "let etcd not wait for the disk: faster, unsafe when the machine fails")
	flags.BoolVar(&o.storeJSON, "store-json", false, "let the API server store JSON: whoever reads etcd itself can read it")
	flags.DurationVar(&o.startTimeout, "start-timeout", 2*time.Minute, "longest `time` the start may take")
	flags.BoolVar(&o.exporter, "exporter", false, "serve the played application's metrics")
	flags.Float64Var(&o.rate, "rate", 50, "`requests` per second of each ready pod, in the metrics")
}

func main() {
	if runEmbedded() {
		return
	}
	// A reader of our standard output that died must not end us before we
	// have ended our parts and removed our folder: its pipe is an error then,
	// as any other. Ignored, it would stay so in every child.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	run, arguments := runPlane, os.Args[1:]
	if len(arguments) > 0 && arguments[0] == "git-serve" {
		run, arguments = runGitServer, arguments[1:]
	}
	if err := run(arguments); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		fmt.Fprintln(os.Stderr, "tidegate-testplane:", err)
		os.Exit(1)
	}
}

func parse(flags *flag.FlagSet, arguments []string) error {
	if err := flags.Parse(arguments); err != nil {
		return flag.ErrHelp // the flag set has said what is wrong
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown command %q", flags.Arg(0))
	}
	return nil
}

func runPlane(arguments []string) error {
	p := &plane{}
	flags := flag.NewFlagSet("tidegate-testplane", flag.ContinueOnError)
	p.options.flags(flags)
	if err := parse(flags, arguments); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	if err := p.prepareDir(); err != nil {
		return err
	}
	defer p.shutdown()
	if err := logTo(filepath.Join(p.dir, "testplane.log")); err != nil {
		return err
	}
	lines := readLines(os.Stdin, cancel)
	if err := p.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop before it was up
		}
		return err
	}
	writeLine(os.Stdout, p.ready())
	serveLines(ctx, lines, os.Stdout, p.handle)
	return nil
}

// runGitServer runs the Git server alone.
func runGitServer(arguments []string) error {
	var o options
	flags := flag.NewFlagSet("tidegate-testplane git-serve", flag.ContinueOnError)
	o.gitFlags(flags)
	if err := parse(flags, arguments); err != nil {
		return err
	}
	if o.gitRoot == "" {
		return errors.New("git-serve wants --git-root")
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer cancel()
	server, err := newGitServer(ctx, o.gitRoot, o.gitUser, o.gitPassword)
	if err != nil {
		return err
	}
	defer server.down()
	lines := readLines(os.Stdin, cancel)
	writeLine(os.Stdout, answer{"url": server.url(), "gitUrl": server.url()})
	serveLines(ctx, lines, os.Stdout, func(_ context.Context, words []string) (answer, error) {
		if words[0] != "git" {
			return nil, fmt.Errorf("unknown command %q", words[0])
		}
		return handleGit(server, words[1:])
	})
	return nil
}

func (p *plane) prepareDir() error {
	if p.options.dir == "" {
		dir, err := os.MkdirTemp("", "tidegate-testplane-")
		p.dir, p.temporary = dir, true
		return err
	}
	dir, err := filepath.Abs(p.options.dir)
	if err != nil {
		return err
	}
	p.dir = dir
	return os.MkdirAll(dir, 0o700)
}

// logTo keeps the chatter of client-go, which has much to say about an API
// server that is stopped on purpose, off the terminal.
func logTo(file string) error {
	log, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	klogFlags := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(klogFlags)
	err = errors.Join(klogFlags.Set("logtostderr", "false"), klogFlags.Set("alsologtostderr", "false"),
		klogFlags.Set("stderrthreshold", "FATAL"))
	klog.SetOutput(io.Writer(log))
	return err
}
