// Command bench compares wsep with its version 0.2.4, with the WebSocket libraries alone, with OpenSSH if it is installed, and
// with the same commands without a network. In each round all of them take turns. It writes tables, a JSON file and a chart.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"

	"cdr.dev/wsep/bench/internal/report"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		log.Fatal(err)
	}
}

type options struct {
	report.Output
	rounds, size int
	before       string // the program of another version, or empty
}

func parseFlags() (o options) {
	flag.IntVar(&o.rounds, "rounds", 5, "how many times everything is measured")
	flag.IntVar(&o.size, "size", 512, "how many `MiB` to move at a time")
	flag.StringVar(&o.before, "before", "", "only compare with this `program`, built from cmd/ours of another version")
	o.AddFlags()
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.size < 1 {
		flag.Usage()
		os.Exit(2)
	}
	return o
}

func run(ctx context.Context, o options) error {
	binaries, err := os.MkdirTemp("", "wsep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	if err := build(ctx, o.Dir, binaries); err != nil {
		return err
	}
	r := runner{binaries: binaries, rounds: o.rounds, flags: []string{fmt.Sprintf("-size=%d", o.size)}}
	if o.Quick {
		r.rounds = 1
		r.flags = []string{"-size=16", "-trips=200", "-starts=10", "-many=8", "-idle=20"}
	}
	if o.before != "" {
		return compareWith(ctx, r, o.before)
	}
	measured, err := r.measure(ctx, present())
	if err != nil {
		return err
	}
	return newReport(measured, r.rounds, r.flags).conclude(o.Output)
}

// compareWith prints how this version compares with another one. It writes no files.
func compareWith(ctx context.Context, r runner, program string) error {
	contenders, err := versus(program)
	if err != nil {
		return err
	}
	measured, err := r.measure(ctx, contenders)
	if err != nil {
		return err
	}
	fmt.Print(compare(measured))
	return nil
}
