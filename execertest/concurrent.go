package execertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/stretchr/testify/require"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

var concurrentLines = []line{
	{"Processes", concurrentProcesses},
	{"Failures", concurrentFailures},
}

// concurrentProcesses: many processes run at once, and their input and output do not mix.
func concurrentProcesses(f *fixture) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running, all sync.WaitGroup
	running.Add(crowd)
	errs := make([]error, crowd)
	for i := range crowd {
		all.Go(func() {
			answered := sync.OnceFunc(running.Done)
			defer answered()
			errs[i] = f.converse(ctx, i, func() {
				answered()
				running.Wait()
			})
		})
	}
	f.within(patience, "running many processes", all.Wait)
	require.NoError(f, errors.Join(errs...))
}

// converse runs a process that answers. Before it exits, it waits for the others.
func (f *fixture) converse(ctx context.Context, i int, others func()) error {
	c := f.command(program{readLine, outArg(1), out(" "), outLine, out("\n"), cat, errArg(1), errOut("\n"), exitArg(1)}, strconv.Itoa(i+1))
	p, err := f.execer.Start(ctx, typed(c))
	if err != nil {
		return err
	}
	question, answer := fmt.Sprintf("question %d\n", i), fmt.Sprintf("%d question %d\n", i+1, i)
	if _, err := io.WriteString(p.Stdin(), question); err != nil {
		return err
	}
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(p.Stdout(), got); err != nil {
		return err
	}
	others()
	if _, err := io.WriteString(p.Stdin(), "rest"); err != nil {
		return err
	}
	if err := p.Stdin().Close(); err != nil {
		return err
	}
	rest, outErr := io.ReadAll(p.Stdout())
	mistakes, errErr := io.ReadAll(p.Stderr())
	exit, _ := errors.AsType[wsep.ExitError](p.Wait())
	all := string(got) + string(rest)
	if exit.ExitCode() != i+1 || all != answer+"rest" || string(mistakes) != strconv.Itoa(i+1)+"\n" {
		return xerrors.Errorf("process %d: exit code %d, stdout %q, stderr %q", i, exit.ExitCode(), all, mistakes)
	}
	return errors.Join(outErr, errErr)
}

// concurrentFailures: starts that fail or are canceled do not affect processes that run at the same time.
func concurrentFailures(f *fixture) {
	p := f.start(typed(f.command(program{cat})))
	var all sync.WaitGroup
	for i := range crowd {
		all.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			if i%2 == 0 {
				_, _ = f.execer.Start(ctx, wsep.Command{Command: "wsep-test-no-such-program"})
				cancel()
				return
			}
			go cancel()
			if p, err := f.execer.Start(ctx, f.command(program{sleeping})); err == nil {
				_ = p.Wait()
			}
		})
	}
	f.within(patience, "failing starts", all.Wait)
	p.write("unharmed")
	p.closeStdin()
	require.Equal(f, "unharmed", p.out().all())
	p.requireExit(0)
}
