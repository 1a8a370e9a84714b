package wsep_test

import (
	"context"
	"io"
	"time"

	"nhooyr.io/websocket"

	"cdr.dev/wsep"
)

// This file does not compile if anything of v0.2.4's API is missing or has another form.

var (
	_ func(context.Context, *websocket.Conn, wsep.Execer, *wsep.Options) error               = wsep.Serve
	_ func() *wsep.Server                                                                    = wsep.NewServer
	_ func(*wsep.Server)                                                                     = (*wsep.Server).Close
	_ func(*wsep.Server) int                                                                 = (*wsep.Server).SessionCount
	_ func(*wsep.Server, context.Context, *websocket.Conn, wsep.Execer, *wsep.Options) error = (*wsep.Server).Serve
	_ func(*websocket.Conn) wsep.Execer                                                      = wsep.RemoteExecer
	_ func(wsep.LocalExecer, context.Context, wsep.Command) (wsep.Process, error)            = wsep.LocalExecer.Start
	_ func(*wsep.Command, wsep.Execer, *wsep.Options) *wsep.Session                          = wsep.NewSession
	_ func(*wsep.Session, context.Context) (wsep.Process, error)                             = (*wsep.Session).Attach
	_ func(*wsep.Session, string)                                                            = (*wsep.Session).Close
	_ func(*wsep.Session)                                                                    = (*wsep.Session).Wait
	_ func(*wsep.Session, wsep.State) (wsep.State, error)                                    = (*wsep.Session).WaitForState

	_ = wsep.Server{}
	_ = wsep.LocalExecer{ChildProcessPriority: new(int)}
	_ = wsep.Options{SessionTimeout: time.Duration(0)}
	_ = wsep.Command{
		ID:         "",
		Command:    "",
		Args:       []string(nil),
		TTY:        false,
		Rows:       uint16(0),
		Cols:       uint16(0),
		Stdin:      false,
		UID:        uint32(0),
		GID:        uint32(0),
		Env:        []string(nil),
		WorkingDir: "",
	}

	_ wsep.State = wsep.StateStarting
	_ interface {
		error
		ExitCode() int
	} = wsep.ExitError{}
	_ map[wsep.ExitError]bool // These can be compared, also with their additions.
	_ map[wsep.LocalExecer]bool
	_ map[wsep.Options]bool
)

// The states are untyped constants with these values.
const (
	_         = uint(wsep.StateStarting - 0)
	_         = uint(0 - wsep.StateStarting)
	_         = uint(wsep.StateReady - 1)
	_         = uint(1 - wsep.StateReady)
	_         = uint(wsep.StateClosing - 2)
	_         = uint(2 - wsep.StateClosing)
	_         = uint(wsep.StateDone - 3)
	_         = uint(3 - wsep.StateDone)
	_ float64 = wsep.StateDone
)

// Other people implement these interfaces, so they have these methods and no more.
type process struct{}

func (process) Pid() int                                     { return 0 }
func (process) Stdin() io.WriteCloser                        { return nil }
func (process) Stdout() io.Reader                            { return nil }
func (process) Stderr() io.Reader                            { return nil }
func (process) Resize(context.Context, uint16, uint16) error { return nil }
func (process) Wait() error                                  { return nil }
func (process) Close() error                                 { return nil }

type execer struct{}

func (execer) Start(context.Context, wsep.Command) (wsep.Process, error) { return process{}, nil }

var (
	_ wsep.Process = process{}
	_ wsep.Execer  = execer{}
	_ wsep.Execer  = wsep.LocalExecer{}
	_ wsep.Execer  = wsep.Dialer{}
)
