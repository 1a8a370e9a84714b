package wsep

import (
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/xerrors"
)

// keptClient is the process that a client of a kept command has. All that is kept of both outputs comes first.
type keptClient struct {
	host           *keptHost
	stdin          io.WriteCloser
	stdout, stderr *keptReader
	detached       func() // called when the client has detached, before its result is known

	detachOnce sync.Once
	left       chan struct{} // closed when the client detaches
	done       chan struct{} // closed when result is set
	result     error

	gaps
}

// attach implements sessionHost.
func (h *keptHost) attach(ctx context.Context, c Command, detached func()) (Process, error) {
	v := &keptClient{
		host:     h,
		stdin:    disabledStdin{},
		detached: detached,
		left:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	v.stdout = newKeptReader(v, h.stdout, &v.gaps.stdout)
	v.stderr = newKeptReader(v, h.stderr, &v.gaps.stderr)
	if c.Stdin && h.input != nil {
		v.stdin = &keptStdin{v}
	}
	// Ends when the client detaches or the command has exited.
	go v.follow(ctx)
	return v, nil
}

// follow waits until the client detaches, or the command has exited and its outputs have ended.
func (v *keptClient) follow(ctx context.Context) {
	defer context.AfterFunc(ctx, v.detach)()
	v.result = v.awaitExit()
	if isClosed(v.left) || isClosed(v.host.ended) {
		v.host.removeClient(0)
	} else {
		defer v.readOn()
	}
	v.detached()
	close(v.done)
}

// awaitExit waits until the client detaches or the command has exited. It returns what Wait is to return.
func (v *keptClient) awaitExit() error {
	select {
	case <-v.host.exited:
	case <-v.host.over:
		v.detach() // The outputs may never end.
	case <-v.left:
		return errDetached
	}
	return v.host.howEnded()
}

// readOn counts the client as long as it may read outputs that another process holds open after the command's exit.
func (v *keptClient) readOn() {
	select {
	case <-v.host.ended:
	case <-v.left:
	case <-v.host.over:
		v.detach()
	}
	v.host.removeClient(0)
}

func (v *keptClient) detach() { v.detachOnce.Do(func() { close(v.left) }) }

// Pid implements Process.
func (v *keptClient) Pid() int { return v.host.process.Pid() }

// Stdin implements Process. All clients share the command's stdin. To close it is an end of file for the command.
func (v *keptClient) Stdin() io.WriteCloser { return v.stdin }

// Stdout implements Process.
func (v *keptClient) Stdout() io.Reader { return v.stdout }

// Stderr implements Process.
func (v *keptClient) Stderr() io.Reader { return v.stderr }

// Resize implements Process.
func (v *keptClient) Resize(context.Context, uint16, uint16) error { return nil }

// Wait implements Process.
func (v *keptClient) Wait() error {
	<-v.done
	return v.result
}

// Exited implements [Exiter].
func (v *keptClient) Exited() <-chan struct{} { return v.done }

// Close implements Process. The command continues.
func (v *keptClient) Close() error {
	v.detach()
	return nil
}

// Signal implements [Signaler].
func (v *keptClient) Signal(ctx context.Context, signal string) error {
	return v.host.signal(ctx, signal)
}

// keptReader reads an output for a client.
type keptReader struct {
	client  *keptClient
	output  *keptOutput
	mu      sync.Mutex // held by a Read; guards offset
	offset  int64
	skipped *atomic.Int64 // one of the client's
}

func newKeptReader(v *keptClient, o *keptOutput, skipped *atomic.Int64) *keptReader {
	r := &keptReader{client: v, output: o, offset: o.oldest(), skipped: skipped}
	r.skipped.Store(r.offset)
	return r
}

// Read implements io.Reader.
func (r *keptReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, from, changed, err := r.output.readAt(p, r.offset)
		r.skip(from - r.offset)
		r.offset = from + int64(n)
		if n > 0 || err != nil {
			return n, err
		}
		select {
		case <-changed:
		case <-r.client.left:
			return 0, errDetached // The output has not ended.
		}
	}
}

// skip counts bytes that the client does not get.
func (r *keptReader) skip(n int64) {
	if n == 0 {
		return
	}
	r.skipped.Add(n)
	r.client.grown()
}

// keptStdin takes what a client writes to the command's stdin.
type keptStdin struct{ client *keptClient }

// Write implements io.Writer. It waits while the command does not read.
func (s *keptStdin) Write(p []byte) (int, error) {
	v := s.client
	err := errProcessDone
	if isClosed(v.left) {
		err = os.ErrClosed
	} else if !isClosed(v.host.exited) {
		err = v.host.input.write(p, v.left)
	}
	if err != nil {
		return 0, xerrors.Errorf("write to stdin: %w", err)
	}
	return len(p), nil
}

// Close implements io.Closer. It waits until what was written is on its way.
func (s *keptStdin) Close() error {
	s.client.host.input.end(s.client.left)
	return nil
}
