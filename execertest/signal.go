package execertest

import (
	"errors"
	"os"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

var signalLines = []line{
	{"Trap", signalTrap},
	{"Terminal", signalTerminal},
	{"Group", signalGroup},
	{"AfterEnd", signalAfterEnd},
	{"UnknownHarmless", signalUnknownHarmless},
	{"UnknownRefused", signalUnknownRefused},
}

// signal sends a signal to the process, which must be a Signaler.
func (p *process) signal(name string) (err error) {
	p.f.Helper()
	signaler, ok := p.Process.(wsep.Signaler)
	require.True(p.f, ok, "the process is no Signaler")
	p.f.within(patience, "Signal", func() { err = signaler.Signal(p.f.Context(), name) })
	return err
}

// signalTrap: a signal arrives, and runs a trap.
func signalTrap(f *fixture) {
	for _, name := range []string{"INT", "USR1"} {
		p := f.start(f.command(program{onSignal(name, out("caught\n"), exit(5)), out("ready\n"), idle}))
		p.out().await("ready\n")
		require.NoError(f, p.signal(name))
		require.Equal(f, "ready\ncaught\n", p.out().all())
		p.requireExit(5)
	}
}

// signalTerminal: a signal arrives on a terminal, and runs a trap.
func signalTerminal(f *fixture) {
	p := f.start(onTerminal(f.command(program{onSignal("INT", out("caught\n"), exit(5)), out("ready\n"), idle})))
	p.out().await("ready")
	require.NoError(f, p.signal("INT"))
	require.Contains(f, p.out().all(), "caught")
	p.requireExit(5)
}

// signalGroup: a signal reaches the whole process group.
func signalGroup(f *fixture) {
	p, v := f.startWatched(piped, watched, family)
	require.NoError(f, p.signal("KILL"))
	requireExit(f, v.requireEnd(p), -1)
}

// signalAfterEnd: Signal returns an error after the command has exited.
func signalAfterEnd(f *fixture) {
	p := f.start(f.command(program{exit(5)}))
	p.requireExit(5)
	require.ErrorIs(f, p.signal("KILL"), os.ErrProcessDone)
	p.requireExit(5)
}

// signalUnknownHarmless: a signal that does not exist does nothing. If Signal returns an error, it matches
// errors.ErrUnsupported.
func signalUnknownHarmless(f *fixture) {
	p := f.start(typed(f.command(program{cat})))
	for _, name := range []string{"NONSENSE", "", "SIGINT", "9", "int", "KILL\n"} {
		if err := p.signal(name); err != nil {
			require.ErrorIs(f, err, errors.ErrUnsupported)
		}
	}
	p.write("unharmed")
	p.closeStdin()
	require.Equal(f, "unharmed", p.out().all())
	p.requireExit(0)
}

// signalUnknownRefused: Signal returns an error for a name that no system has.
func signalUnknownRefused(f *fixture) {
	p := f.start(typed(f.command(program{cat})))
	for _, name := range []string{"NONSENSE", "", "SIGINT", "9"} {
		require.ErrorIs(f, p.signal(name), errors.ErrUnsupported)
	}
}
