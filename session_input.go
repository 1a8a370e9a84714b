package wsep

import (
	"bytes"
	"io"
	"os"

	"cdr.dev/wsep/internal/flow"
)

// sharedInput is the stdin of a process that several clients write to. What one client writes at a time stays together.
type sharedInput struct {
	buffer *flow.Buffer  // what was written; the process's stdin consumes it
	turn   chan struct{} // has room for one: holds a token while a client writes
	deaf   chan struct{} // closed when the process takes no more
	// The holder of the token owns what follows.
	piece bytes.Reader // what is written
	ended bool         // nothing more may be written
}

// inputLimit bounds what clients have written and the command has not read, in bytes, beside what the system holds.
const inputLimit = 64 << 10

func newSharedInput(stdin io.WriteCloser) *sharedInput {
	in := &sharedInput{buffer: flow.NewBuffer(inputLimit), turn: make(chan struct{}, 1), deaf: make(chan struct{})}
	in.buffer.PumpTo(stdin, func(err error) {
		if err == io.EOF {
			_ = stdin.Close()
		}
		close(in.deaf)
		in.buffer.Discard()
	})
	return in
}

// write writes p when all that was written before is on its way. It returns when all of p is, or when stop is closed.
func (in *sharedInput) write(p []byte, stop <-chan struct{}) error {
	return in.writeNext(stop, func() ([]byte, error) { return p, nil })
}

// writeNext is write for what next returns when it is its turn.
func (in *sharedInput) writeNext(stop <-chan struct{}, next func() ([]byte, error)) error {
	if !in.takeTurn(stop) {
		return io.ErrClosedPipe
	}
	defer in.passTurn()
	if in.ended {
		return os.ErrClosed
	}
	p, err := next()
	if err != nil {
		return err
	}
	in.piece.Reset(p)
	defer in.piece.Reset(nil)
	if err := in.buffer.Fill(&in.piece, stop); err != nil {
		return err
	}
	if isClosed(in.deaf) {
		return errProcessDone
	}
	return nil
}

// end ends the input after what was written. It returns when that is on its way, or when stop is closed.
func (in *sharedInput) end(stop <-chan struct{}) {
	if !in.takeTurn(stop) {
		return
	}
	defer in.passTurn()
	in.ended = true
	in.buffer.Close(io.EOF)
}

func (in *sharedInput) takeTurn(stop <-chan struct{}) bool {
	select {
	case in.turn <- struct{}{}:
		return true
	case <-stop:
		return false
	}
}

func (in *sharedInput) passTurn() { <-in.turn }

// stop ends the input of a process that has exited.
func (in *sharedInput) stop() { in.buffer.Close(flow.ErrStopped) }
