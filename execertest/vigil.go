package execertest

import "github.com/stretchr/testify/require"

// vigil watches over a group of processes by a FIFO that all of them have open for writing: only when the last one is
// gone does its reader get to the end. The processes inherit it from one who says exec 3>"$1".
type vigil struct {
	fifo   string
	reader *process
}

// watch begins a vigil.
func (f *fixture) watch() *vigil {
	f.Helper()
	fifo := f.tempDir() + "/alive"
	reader := f.start(shell(`mkfifo "$1" && echo made && exec cat "$1"`, fifo))
	reader.out().await("made")
	return &vigil{fifo, reader}
}

// requireEnd waits for the process to end and for all others that the vigil is for. It returns how the process ended.
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

// requireGone waits for the end of all that the vigil is for.
func (v *vigil) requireGone() {
	v.reader.f.Helper()
	var err error
	v.reader.f.within(patience, "the end of the group", func() { err = v.reader.Wait() })
	require.NoError(v.reader.f, err)
}
