package wsep

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"
	"nhooyr.io/websocket"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// RemoteExecer returns an [Execer] that runs one command over the connection, at the peer's end of it.
//
// From the first Start on, the Execer owns the connection: do not read from it, write to it or close it. The Execer closes
// it when the start fails, when the process has exited and its output has ended, or when Start's context ends. A second
// Start returns [ErrInUse]. Use a [Dialer] to run many commands. The Execer is safe for concurrent use.
func RemoteExecer(conn *websocket.Conn) Execer { return RemoteExecerConn(websocketConn(conn)) }

// RemoteExecerConn is [RemoteExecer] for any [Conn].
func RemoteExecerConn(conn Conn) Execer { return &remoteExecer{conn: conn} }

type remoteExecer struct {
	conn Conn
	used atomic.Bool
}

// KeepsSessions implements [SessionKeeper].
func (*remoteExecer) KeepsSessions() bool { return true }

// Start implements Execer.
func (r *remoteExecer) Start(ctx context.Context, c Command) (Process, error) {
	start, err := encodeStart(c, &offer, nil)
	if err != nil {
		return nil, &StartError{err}
	}
	if r.used.Swap(true) {
		return nil, ErrInUse
	}
	p := newRemoteProcess(c, nil)
	if err := p.start(ctx, r.conn, start); err != nil {
		return nil, err
	}
	return p, nil
}

// remoteProcess is a process at a server. It is the client's end of the conversation about it, over whatever connection
// that goes.
//
// The reader, one goroutine, owns the receiving side. It reads the connection, and replaces a connection that is lost.
// Callers send for themselves.
type remoteProcess struct {
	command Command
	pid     int
	session SessionOrigin
	gaps
	begun   bool             // the server has answered start; owned by start
	peer    proto.Extensions // what the server agreed to
	resumer *resumer         // replaces lost connections; nil if nothing does
	pinging time.Duration    // how often a silent server is pinged; not at all if negative
	lasting atomic.Bool      // the server may wait for this client when the connection is lost
	window  int64            // what was offered for each output
	held    bool             // a Server decides what becomes of the connection once start has returned: see forwarding

	stdin                        *remoteStdin // nil if the command has none
	stdout, stderr               *flow.Buffer
	stdoutReceipt, stderrReceipt receipt
	requests                     *clientRequests

	mu   sync.Mutex  // guards link, which only the reader, and start before it, set
	link *clientLink // nil while there is no connection

	unbind func() bool // detaches the process from Start's context

	resultOnce sync.Once
	done       chan struct{} // closed when result is set
	result     error
	exit       error // what result will be; owned by the reader, as are final and away
	final      bool  // the server has said that it ends the conversation
	away       bool  // the conversation was over while there was no connection

	overOnce sync.Once
	ctx      context.Context // ends when the conversation is over; done may be closed earlier
	end      context.CancelFunc

	closeOnce sync.Once
}

func newRemoteProcess(c Command, r *resumer) *remoteProcess {
	p := &remoteProcess{
		command:       c,
		resumer:       r,
		pinging:       defaultKeepAlive,
		window:        defaultWindow,
		stdout:        flow.NewBuffer(defaultWindow),
		stderr:        flow.NewBuffer(defaultWindow),
		stdoutReceipt: receipt{field: proto.TypeStdout},
		stderrReceipt: receipt{field: proto.TypeStderr},
		requests:      newClientRequests(),
		done:          make(chan struct{}),
	}
	p.lasting.Store(r != nil)
	p.ctx, p.end = context.WithCancel(context.Background())
	if c.Stdin {
		p.stdin = newRemoteStdin(p)
	}
	return p
}

// Pid implements Process.
func (p *remoteProcess) Pid() int { return p.pid }

// Session implements [Sessioner].
func (p *remoteProcess) Session() SessionOrigin { return p.session }

// keptFor implements keptProcess.
func (p *remoteProcess) keptFor() int64 { return p.peer.Keep }

// Stdin implements Process.
func (p *remoteProcess) Stdin() io.WriteCloser {
	if p.stdin == nil {
		return disabledStdin{}
	}
	return p.stdin
}

// Stdout implements Process.
func (p *remoteProcess) Stdout() io.Reader { return p.stdout }

// Stderr implements Process.
func (p *remoteProcess) Stderr() io.Reader { return p.stderr }

// Resize implements Process.
func (p *remoteProcess) Resize(ctx context.Context, rows, cols uint16) error {
	if !p.command.TTY {
		return nil
	}
	return p.request(ctx, proto.Resize{Rows: rows, Cols: cols})
}

// Signal implements Signaler.
func (p *remoteProcess) Signal(ctx context.Context, signal string) error {
	if isClosed(p.done) {
		return p.doneError()
	}
	if !p.peer.Signal {
		return xerrors.Errorf("signal %s: peer does not take signals: %w", signal, errors.ErrUnsupported)
	}
	if err := checkSignal(signal); err != nil {
		return err
	}
	return p.request(ctx, proto.Signal{Signal: signal})
}

// Exited implements [Exiter].
func (p *remoteProcess) Exited() <-chan struct{} { return p.done }

// Wait implements Process.
func (p *remoteProcess) Wait() error {
	<-p.done
	return p.result
}

// remoteCloseTimeout is how long after Close the server has to end the process, including the server's own grace.
const remoteCloseTimeout = 10 * time.Second

// Close implements Process. It does not wait for the server.
func (p *remoteProcess) Close() error {
	if isClosed(p.done) {
		// Unread output keeps the connection open.
		p.abort(errClosed)
		return nil
	}
	p.closeOnce.Do(func() {
		if !p.peer.Signal {
			p.abort(errClosed)
			return
		}
		// Ends when the process exits or after remoteCloseTimeout.
		go func() {
			t := time.AfterFunc(remoteCloseTimeout, func() { p.abort(errClosed) })
			defer t.Stop()
			_ = p.request(context.Background(), proto.Close{})
			<-p.done
		}()
	})
	return nil
}

var errClosed = xerrors.New("process was closed")

// doneError returns why a process with a result takes no more requests. A process whose connection was lost may still run.
func (p *remoteProcess) doneError() error {
	if errors.Is(p.result, ErrDisconnected) {
		return p.result
	}
	return errProcessDone
}
