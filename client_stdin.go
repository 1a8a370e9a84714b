package wsep

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// remoteStdin writes to the stdin of a remote process. Concurrent writes take turns, so their bytes do not mix.
type remoteStdin struct {
	process *remoteProcess
	mu      sync.Mutex // held during a write
	sender  *sender

	// open ends when stdin is closed or the process has a result.
	open      context.Context
	shut      context.CancelFunc
	closeOnce sync.Once
}

func newRemoteStdin(p *remoteProcess) *remoteStdin {
	s := &remoteStdin{process: p}
	s.open, s.shut = context.WithCancel(context.Background())
	s.sender = newSender(proto.StdinHeader, s.open.Done())
	return s
}

// Write implements io.Writer.
func (s *remoteStdin) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isShut() {
		return 0, s.writeError(flow.ErrStopped)
	}
	n, err := s.sender.write(p)
	return n, s.writeError(err)
}

// ReadFrom implements io.ReaderFrom. Concurrent writes may be sent between two reads of r.
func (s *remoteStdin) ReadFrom(r io.Reader) (int64, error) {
	n, readErr, err := s.sender.carry(r)
	if readErr != nil {
		return n, readErr
	}
	return n, s.writeError(err)
}

// isIdle reports whether no bytes are on their way to the connection.
func (s *remoteStdin) isIdle() bool {
	if !s.mu.TryLock() {
		return false
	}
	defer s.mu.Unlock()
	return s.sender.isIdle()
}

// isShut reports whether stdin takes no more bytes. After Wait has returned it is true.
func (s *remoteStdin) isShut() bool { return s.open.Err() != nil || isClosed(s.process.done) }

// writeError returns what a write returns for an error of the sender.
func (s *remoteStdin) writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case isClosed(s.process.done):
		err = s.process.doneError()
	case errors.Is(err, flow.ErrStopped):
		err = os.ErrClosed
	}
	return xerrors.Errorf("write to stdin: %w", err)
}

// Close implements io.Closer. A write that waits for the process to read fails. The process gets all bytes that were
// written before it is told of the end.
func (s *remoteStdin) Close() (err error) {
	s.closeOnce.Do(func() {
		s.shut()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sender.end()
		s.process.requests.endStdin()
		if isClosed(s.process.done) {
			err = s.process.doneError()
		}
		if errors.Is(err, os.ErrProcessDone) {
			err = nil
		}
	})
	return err
}
