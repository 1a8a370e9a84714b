// Package load has the works of the benchmarks, for all versions of wsep and for programs that are made to look like wsep. It
// imports none of them. It is a module of its own, so that none of them needs the dependencies of another.
package load

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// Process is a started command. It has the methods that wsep.Process has in all versions.
type Process interface {
	Pid() int
	Stdin() io.WriteCloser
	Stdout() io.Reader
	Stderr() io.Reader
	Resize(ctx context.Context, rows, cols uint16) error
	Wait() error
	Close() error
}

// Command is a command to run.
type Command struct {
	Name  string
	Args  []string
	Stdin bool
}

// Start starts a command, on a new connection if it needs one.
type Start func(ctx context.Context, c Command) (Process, error)

// Bench has the means and the sizes of the works.
type Bench struct {
	Start Start
	// Kept starts commands over connections that earlier ones have left, KeptFar over such with a round trip of Trip. They are nil
	// where every command has a connection of its own.
	Kept, KeptFar Start
	// Stats asks the server about itself.
	Stats func(ctx context.Context) (Stats, error)
	// CPU asks the server for the processor time that it has used.
	CPU func(ctx context.Context) (time.Duration, error)
	// Size is how many bytes are moved.
	Size int64
	// Piece is how many bytes are written at a time.
	Piece int
	// Trips is how many round trips are made, Starts how many commands are started in turn, Many how many move data at
	// once, and Idle how many do nothing.
	Trips, Starts, Many, Idle int
}

// Result is the figure of a work.
type Result struct {
	Work  string  `json:"work"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// work measures one thing.
type work struct {
	name, unit string
	run        func(b *Bench, ctx context.Context) (float64, error)
}

// works are all works, by their names.
var works = []work{
	{"upload", "MiB/s", (*Bench).upload},
	{"download", "MiB/s", (*Bench).download},
	{"echo", "MiB/s", (*Bench).echo},
	{"rtt", "us", (*Bench).roundTrip},
	{"start", "us", func(b *Bench, ctx context.Context) (float64, error) { return b.starts(ctx, b.Start) }},
	{"again", "us", func(b *Bench, ctx context.Context) (float64, error) { return b.starts(ctx, b.Kept) }},
	{"far", "us", func(b *Bench, ctx context.Context) (float64, error) { return b.starts(ctx, b.KeptFar) }},
	{"many", "MiB/s", (*Bench).many},
	{"idle", "KiB", (*Bench).idle},
	{"allocs", "", (*Bench).allocs},
	{"upload-cpu", "s/GiB", func(b *Bench, ctx context.Context) (float64, error) { return b.cpu(ctx, (*Bench).upload) }},
	{"download-cpu", "s/GiB", func(b *Bench, ctx context.Context) (float64, error) { return b.cpu(ctx, (*Bench).download) }},
}

// Run does a work by its name.
func (b *Bench) Run(ctx context.Context, name string) (Result, error) {
	for _, w := range works {
		if w.name != name {
			continue
		}
		value, err := w.run(b, ctx)
		if err != nil {
			return Result{}, fmt.Errorf("%s: %w", name, err)
		}
		return Result{Work: name, Value: value, Unit: w.unit}, nil
	}
	return Result{}, fmt.Errorf("no work %q", name)
}

// The commands that are run. Cat echoes its stdin, Sink drops it, and Nothing exits at once.
var (
	Cat     = Command{Name: "cat", Stdin: true}
	Sink    = Command{Name: "sh", Args: []string{"-c", "cat >/dev/null"}, Stdin: true}
	Nothing = Command{Name: "true"}
)

// Source is a command that writes n bytes.
func Source(n int64) Command {
	return Command{Name: "head", Args: []string{"-c", fmt.Sprint(n), "/dev/zero"}}
}

// gatedSource is like Source, but waits for a line on stdin first.
func gatedSource(n int64) Command {
	script := "read -r _ && exec " + strings.Join(append([]string{"head"}, Source(n).Args...), " ")
	return Command{Name: "sh", Args: []string{"-c", script}, Stdin: true}
}
