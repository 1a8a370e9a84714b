//go:build linux

package wsep_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/streamtest"
)

// pipes is a conversation with stdin, both outputs, a signal and an exit code. The program says how many signals it got.
var pipes = wsep.Command{Command: "sh", Stdin: true, Args: []string{"-c", `
	signals=
	trap 'signals=x$signals' USR1
	read -r line
	echo "out $line"
	echo "err $line" >&2
	until [ "$signals" ]; do { sleep 0.01; } 2>/dev/null; done
	{ sleep 0.02; } 2>/dev/null
	cat
	echo "signals $signals"
	exit 7`,
}}

// holdPipes has the conversation of pipes over an Execer, and requires that nothing was lost or done twice.
func holdPipes(ctx context.Context, execer wsep.Execer) error {
	p, err := execer.Start(ctx, pipes)
	if err != nil {
		return &startFailed{fmt.Errorf("start: %w", err)}
	}
	if _, err := io.WriteString(p.Stdin(), "first\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := expectNext(p, "out first\n"); err != nil {
		return err
	}
	if err := p.(wsep.Signaler).Signal(ctx, "USR1"); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	if _, err := io.WriteString(p.Stdin(), "second\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := p.Stdin().Close(); err != nil {
		return fmt.Errorf("close stdin: %w", err)
	}
	rest, err := io.ReadAll(p.Stdout())
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	complaints, err := io.ReadAll(p.Stderr())
	if err != nil {
		return fmt.Errorf("read stderr: %w", err)
	}
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	got := fmt.Sprintf("%s%s%d", rest, complaints, exit.ExitCode())
	const want = "second\nsignals x\nerr first\n7"
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// lostBeforeItBegan reports whether the very first connection could not be made: a Start does not try again then.
func lostBeforeItBegan(err error) bool {
	var start *startFailed
	return errors.As(err, &start) && errors.Is(err, wsep.ErrDisconnected) && !errors.Is(err, wsep.ErrResumeFailed)
}

// startFailed is an error of Start.
type startFailed struct{ error }

func (e *startFailed) Unwrap() error { return e.error }

// stormCommands are what the storm runs. Each returns an error if anything was lost, came twice or was changed.
var stormCommands = []func(ctx context.Context, execer wsep.Execer) error{holdPipes, holdUpload, holdDownload, holdEcho, holdTerminal, holdPending}

const stormSize = 300_000

// inStorm runs the command i of stormCommands, counted round. It may take a minute.
func inStorm(i int, execer wsep.Execer) error {
	return inTime(stormCommands[i%len(stormCommands)], execer)
}

// inTime runs a command that may take a minute.
func inTime(hold func(context.Context, wsep.Execer) error, execer wsep.Execer) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return hold(ctx, execer)
}

func stormStart(ctx context.Context, execer wsep.Execer, c wsep.Command) (wsep.Process, error) {
	p, err := execer.Start(ctx, c)
	if err != nil {
		return nil, &startFailed{err}
	}
	return p, nil
}

func holdUpload(ctx context.Context, execer wsep.Execer) error {
	data := streamtest.RandomBytes(stormSize)
	p, err := stormStart(ctx, execer, wsep.Command{Command: "sha256sum", Stdin: true})
	if err != nil {
		return err
	}
	go feed(p, data)
	return expectOutput(p, fmt.Sprintf("%x  -\n", sha256.Sum256(data)))
}

func feed(p wsep.Process, data []byte) {
	_, _ = io.Copy(p.Stdin(), bytes.NewReader(data))
	_ = p.Stdin().Close()
}

func holdDownload(ctx context.Context, execer wsep.Execer) error {
	p, err := stormStart(ctx, execer, sh("seq 40000"))
	if err != nil {
		return err
	}
	var want strings.Builder
	for i := range 40000 {
		fmt.Fprintln(&want, i+1)
	}
	return expectOutput(p, want.String())
}

func holdEcho(ctx context.Context, execer wsep.Execer) error {
	data := streamtest.RandomBytes(stormSize)
	p, err := stormStart(ctx, execer, wsep.Command{Command: "cat", Stdin: true})
	if err != nil {
		return err
	}
	go feed(p, data)
	return expectOutput(p, string(data))
}

// terminal has a terminal's size as it changes. The program says how many changes it got. It has a change before it sees the
// size: the kernel sends the signal first.
var terminal = wsep.Command{Command: "sh", TTY: true, Stdin: true, Rows: 10, Cols: 20, Args: []string{"-c", `
	changes=
	trap 'changes=x$changes' WINCH
	stty -echo -onlcr
	echo ready
	for size in "30 90" "31 91"; do
		until [ "$(stty size)" = "$size" ]; do sleep 0.02; done
		echo "$size"
	done
	read -r line
	echo "$line $changes"`,
}}

// holdTerminal has the conversation of terminal over an Execer. Each size must take effect once, and in order.
func holdTerminal(ctx context.Context, execer wsep.Execer) error {
	p, err := stormStart(ctx, execer, terminal)
	if err != nil {
		return err
	}
	if err := expectNext(p, "ready\n"); err != nil {
		return err
	}
	for i := range uint16(2) {
		rows, cols := 30+i, 90+i
		if err := p.Resize(ctx, rows, cols); err != nil {
			return fmt.Errorf("resize: %w", err)
		}
		// The order of a resize among the bytes of stdin is not promised.
		if err := expectNext(p, fmt.Sprintf("%d %d\n", rows, cols)); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(p.Stdin(), "typed\n"); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return expectOutput(p, "typed xx\n")
}

// expectNext reads the next part of the output.
func expectNext(p wsep.Process, want string) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.Stdout(), got); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if string(got) != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

// holdPending has output that goes on after the exit.
func holdPending(ctx context.Context, execer wsep.Execer) error {
	p, err := stormStart(ctx, execer, sh("(sleep 0.2; seq 1000) & exit 0"))
	if err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&want, i+1)
	}
	return expectOutput(p, want.String())
}

// expectOutput reads the output, and requires that the command exits with 0.
func expectOutput(p wsep.Process, want string) error {
	got, err := io.ReadAll(p.Stdout())
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if string(got) != want {
		return fmt.Errorf("got %d bytes, want %d: other bytes: %.40q", len(got), len(want), got)
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	return nil
}
