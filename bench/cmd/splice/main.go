// Command splice compares a load through cmd/wsplice with the same load without it: the throughput in each direction, the
// time of a round trip, and the memory of an idle channel. This process generates the load and is all backends. wsplice is a
// process of its own. In each round both take turns. The command writes tables and a JSON file.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

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
	programs programs
	plan
}

func parseFlags() (o options) {
	o.plan = fullPlan
	flag.StringVar(&o.programs.splice, "program", "", "measure this `program` instead of building ../cmd/wsplice")
	flag.IntVar(&o.rounds, "rounds", o.rounds, "how many times everything is measured")
	flag.DurationVar(&o.duration, "duration", o.duration, "for how long to send at a time")
	flag.Var((*ints)(&o.payloads), "payloads", "the messages' `sizes` in bytes, separated by commas")
	flag.Var((*ints)(&o.clients), "clients", "the `numbers` of clients, separated by commas")
	o.AddFlags()
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.duration <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	if o.Quick {
		o.plan = quickPlan
	}
	return o
}

// plan tells what is measured.
type plan struct {
	rounds   int
	duration time.Duration
	payloads []int
	clients  []int
	trips    int // round trips for a median
	channels int // idle ones whose memory is measured
}

var (
	fullPlan = plan{
		rounds: 5, duration: time.Second, payloads: []int{32, 128, 1 << 10, 4 << 10, 64 << 10}, clients: []int{1, 32, 128},
		trips: 5000, channels: 1000,
	}
	quickPlan = plan{
		rounds: 1, duration: 20 * time.Millisecond, payloads: []int{32, 64 << 10}, clients: []int{1, 32}, trips: 100,
		channels: 50,
	}
)

// ints is a flag.Value.
type ints []int

func (s *ints) String() string { return strings.Trim(fmt.Sprint([]int(*s)), "[]") }

func (s *ints) Set(text string) error {
	*s = nil
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number from 1 on", field)
		}
		*s = append(*s, n)
	}
	return nil
}

func run(ctx context.Context, o options) error {
	binaries, err := os.MkdirTemp("", "wsplice-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(binaries)
	if err := o.programs.build(ctx, o.Dir, binaries); err != nil {
		return err
	}
	measured, err := measure(ctx, o.programs, o.plan)
	if err != nil {
		return err
	}
	return newReport(measured, o.plan).conclude(o.Output)
}
