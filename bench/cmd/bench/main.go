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
	dir, out     string
	rounds, size int
	quick, check bool
}

func parseFlags() (o options) {
	flag.StringVar(&o.dir, "dir", ".", "the `directory` of this module")
	flag.StringVar(&o.out, "out", "", "the `directory` to write to; empty is -dir, or for -quick a temporary one")
	flag.IntVar(&o.rounds, "rounds", 5, "how many times everything is measured")
	flag.IntVar(&o.size, "size", 512, "how many `MiB` to move at a time")
	flag.BoolVar(&o.quick, "quick", false, "check that everything works: one short round")
	flag.BoolVar(&o.check, "check", false, "fail if a target is missed")
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
	if err := build(ctx, o.dir, binaries); err != nil {
		return err
	}
	r := runner{binaries: binaries, rounds: o.rounds, flags: []string{fmt.Sprintf("-size=%d", o.size)}}
	if o.quick {
		r.rounds = 1
		r.flags = []string{"-size=16", "-trips=200", "-starts=10", "-many=8", "-idle=20"}
	}
	measured, err := r.measure(ctx)
	if err != nil {
		return err
	}
	return conclude(newReport(measured, r.rounds, r.flags), o)
}

// conclude prints and writes the report.
func conclude(rep results, o options) error {
	fmt.Print(rep.markdown())
	if err := rep.write(report.Output{Dir: o.dir, Out: o.out, Quick: o.quick}); err != nil {
		return err
	}
	if missed := rep.missed(); o.check && missed > 0 {
		return fmt.Errorf("targets missed: %d", missed)
	}
	return nil
}
