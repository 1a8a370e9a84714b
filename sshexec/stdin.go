package sshexec

import (
	"os"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// stdin writes to the input of a session. Concurrent writes take turns.
type stdin struct {
	ch  *channel
	tty bool

	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex    // held during a write; guards what follows
	buf     []byte        // the bytes that are being sent
	sent    chan struct{} // closed when buf has been sent; nil before the first write
	midLine bool          // the last byte that was written does not end a line
}

func newStdin(ch *channel, tty bool) *stdin {
	return &stdin{ch: ch, tty: tty, closed: make(chan struct{})}
}

// Write implements io.Writer. It returns when the command has exited or stdin is closed, even if the session takes no
// more bytes.
func (s *stdin) Write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return 0, err
	}
	for n < len(b) {
		// A host drops the bytes for a command that has exited, as fast as they come.
		if err := s.usable(); err != nil {
			return n, err
		}
		chunk := b[n:min(len(b), n+maxChunk)]
		if err := s.write(chunk); err != nil {
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

// usable returns an error if stdin is closed or the command can't read it any more.
func (s *stdin) usable() error {
	switch {
	case isClosed(s.closed):
		return xerrors.Errorf("write to stdin: %w", os.ErrClosed)
	case isClosed(s.ch.exited):
		return xerrors.Errorf("write to stdin: %w", doneError(s.ch.result))
	case isClosed(s.ch.dropped):
		return xerrors.Errorf("write to stdin: %w", errDropped)
	}
	return nil
}

// write writes a chunk that fits into a packet. The lock is held. Nothing is written after an error, so a write that is
// still under way may keep the buffer.
func (s *stdin) write(chunk []byte) error {
	s.buf = append(s.buf[:0], chunk...)
	last := chunk[len(chunk)-1]
	s.midLine = last != '\n' && last != '\r'
	result := s.send(s.buf)
	select {
	case err := <-result:
		return s.writeError(err)
	case <-s.ch.exited:
	case <-s.closed:
		return s.usable()
	case <-s.ch.dropped:
		return s.usable()
	}
	// The command may have read the bytes before it exited.
	select {
	case err := <-result:
		return s.writeError(err)
	case <-time.After(lastWriteGrace):
		return s.usable()
	}
}

// lastWriteGrace is how long a write may take after the command has exited.
const lastWriteGrace = time.Second

// send sends the bytes. The lock is held.
func (s *stdin) send(b []byte) <-chan error {
	result, sent := make(chan error, 1), make(chan struct{})
	s.sent = sent
	// Ends when the session takes the bytes or is closed.
	go func() {
		defer close(sent)
		_, err := s.ch.Write(b)
		result <- err
	}()
	return result
}

// writeError returns the error of a write for an error of the session. It waits until the reason is known: the session
// is closed, so that is soon.
func (s *stdin) writeError(err error) error {
	if err == nil {
		return nil
	}
	if known := s.usable(); known != nil {
		return known
	}
	select {
	case <-s.ch.exited:
	case <-s.closed:
	case <-s.ch.dropped:
	}
	return s.usable()
}

// Close implements io.Closer. A write that waits fails. The end of file is sent after the bytes that were written
// before. Close does not wait for that.
func (s *stdin) Close() error {
	s.once.Do(func() {
		close(s.closed)
		// Ends when the written bytes and the end of file are sent, or the session is closed.
		go s.end()
	})
	return nil
}

func (s *stdin) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent != nil {
		<-s.sent
	}
	switch {
	case !s.tty:
		_ = s.ch.CloseWrite()
	case s.midLine:
		// The first ends the line, the second is the end of file (POSIX, General Terminal Interface, EOF).
		_, _ = s.ch.Write([]byte{endOfFile, endOfFile})
	default:
		_, _ = s.ch.Write([]byte{endOfFile})
	}
}

// endOfFile is the end-of-file character of a new terminal: Ctrl-D.
const endOfFile = 4

// noStdin is the stdin of a command that has none.
type noStdin struct{}

func (noStdin) Write([]byte) (int, error) { return 0, errNoStdin }
func (noStdin) Close() error              { return nil }

var errNoStdin = xerrors.New("stdin is not enabled for this command")
