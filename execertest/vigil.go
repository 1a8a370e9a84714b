package execertest

import "github.com/stretchr/testify/require"

// vigil notices when all processes of a group have exited. They have a FIFO open for writing, and inherit it from a
// shell that runs exec 3>"$1". The FIFO's reader comes to the end when the last one has exited.
type vigil struct {
	fifo   string
	reader *process
}

// watch starts a vigil.
func (f *fixture) watch() *vigil {
	f.Helper()
	fifo := f.tempDir() + "/alive"
	reader := f.start(shell(`mkfifo "$1" && echo made && exec cat "$1"`, fifo))
	reader.out().await("made")
	return &vigil{fifo, reader}
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
