package execertest

import (
	"strings"

	"github.com/stretchr/testify/require"
)

// vigil notices when all processes of a group have exited. For a shell it is a FIFO that they have open for writing, and its reader
// comes to the end when the last one has exited. For the helper it is a listener that they are connected to.
type vigil struct {
	name   string // the FIFO's path, or the listener's address
	file   string // of the processes that tell their progress
	reader *process
}

// watch starts a vigil.
func (f *fixture) watch() *vigil {
	f.Helper()
	reader := f.start(f.command(program{makeTempDir, keepVigil}))
	reader.out().await("\nready\n")
	lines := strings.Split(reader.out().sofar(), "\n")
	dir, name := lines[0], lines[1]
	f.removeAtEnd(dir)
	return &vigil{name, dir + "/progress", reader}
}

// requireEnd waits until the process and all others of the vigil have exited. It returns the result of the process's
// Wait.
func (v *vigil) requireEnd(p *process) (err error) {
	p.f.Helper()
	var readerErr error
	p.f.within(patience, "the end of the process and its group", func() {
		err = p.Wait()
		readerErr = v.reader.Wait()
	})
	require.NoError(p.f, readerErr)
	return err
}

// requireAllExited waits until all processes of the vigil have exited.
func (v *vigil) requireAllExited() {
	v.reader.f.Helper()
	var err error
	v.reader.f.within(patience, "the end of the group", func() { err = v.reader.Wait() })
	require.NoError(v.reader.f, err)
}
