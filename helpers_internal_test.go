package wsep

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/wstest"
)

// fakeExecer starts processes that do what the test says.
type fakeExecer struct {
	stdout, stderr io.Reader
	stdin          io.WriteCloser
	wait           func(ctx context.Context) error
}

func (f fakeExecer) Start(ctx context.Context, _ Command) (Process, error) {
	return &fakeProcess{f, ctx}, nil
}

type fakeProcess struct {
	fakeExecer
	ctx context.Context
}

func (p *fakeProcess) Pid() int                                     { return 1 }
func (p *fakeProcess) Stdin() io.WriteCloser                        { return p.stdin }
func (p *fakeProcess) Stdout() io.Reader                            { return p.stdout }
func (p *fakeProcess) Stderr() io.Reader                            { return p.stderr }
func (p *fakeProcess) Resize(context.Context, uint16, uint16) error { return nil }
func (p *fakeProcess) Close() error                                 { return nil }
func (p *fakeProcess) Wait() error                                  { return p.wait(p.ctx) }

// untilEnded is a process that runs until its context ends, without output.
func untilEnded() fakeExecer {
	return fakeExecer{
		stdin:  disabledStdin{},
		stdout: noOutput{},
		stderr: noOutput{},
		wait: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

type noOutput struct{}

func (noOutput) Read([]byte) (int, error) { return 0, io.EOF }

// startRaw sends a start message with the extensions and takes the pid message.
func startRaw(t *testing.T, conn Conn, ext *proto.Extensions) {
	t.Helper()
	msg, err := proto.Encode(proto.Start{Command: proto.Command{Command: "x"}, Extensions: ext})
	require.NoError(t, err)
	require.NoError(t, conn.Write(t.Context(), msg))
	r, err := conn.Reader(t.Context())
	require.NoError(t, err)
	pid, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Contains(t, string(pid), `"type":"pid"`)
}

// serveFake serves one end of a pipe with the execer and returns the other end and Serve's result.
func serveFake(t *testing.T, execer Execer, opts *Options) (client *wstest.Conn, served <-chan error) {
	client, server := wstest.Pipe()
	result := make(chan error, 1)
	go func() {
		err := new(Server).ServeConn(t.Context(), server, execer, opts)
		_ = server.CloseNow()
		result <- err
	}()
	return client, result
}

// drain reads and drops messages until the connection ends.
func drain(conn Conn) {
	for {
		r, err := conn.Reader(context.Background())
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r)
	}
}

// zeros is an output without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// dialPipe returns a Dialer's Dial. Each connection is served by a goroutine of its own.
func dialPipe(serve func(*wstest.Conn)) func(context.Context) (Conn, error) {
	return func(context.Context) (Conn, error) {
		client, server := wstest.Pipe()
		go serve(server)
		return client, nil
	}
}

// say sends a message.
func say(t *testing.T, conn Conn, m any) {
	msg, err := proto.Encode(m)
	require.NoError(t, err)
	require.NoError(t, conn.Write(t.Context(), msg))
}

// nextText reads a message.
func nextText(t *testing.T, conn Conn) string {
	r, err := conn.Reader(t.Context())
	require.NoError(t, err)
	msg, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(msg)
}

// nextMessage reads a message, which must be of the type.
func nextMessage[T any](t *testing.T, conn Conn) T {
	header, _ := proto.Split([]byte(nextText(t, conn)))
	m, err := proto.Decode(header)
	require.NoError(t, err)
	require.IsType(t, *new(T), m)
	return m.(T)
}

// nullConn takes and forgets everything, and delivers one message for ever.
type nullConn struct {
	Conn
	message string
	r       strings.Reader
}

func (c *nullConn) SetReadLimit(int64)                  {}
func (c *nullConn) CloseNow() error                     { return nil }
func (c *nullConn) Write(context.Context, []byte) error { return nil }

func (c *nullConn) Reader(context.Context) (io.Reader, error) {
	c.r.Reset(c.message)
	return &c.r, nil
}
