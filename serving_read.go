package wsep

import (
	"context"
	"errors"
	"io"
	"time"

	"cdr.dev/slog"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
)

// What a server makes of what its client says. The connection's reader does all of it.

// read takes messages off the connection until it ends or the client breaks the protocol, and then closes the channel. It
// keeps reading when the process has ended, since that is how the client's close frame is noticed and pings are answered.
func (s *serving) read(closed chan<- struct{}) {
	err := s.take()
	if err == nil {
		// A process that idles is not to pay for the stack that decoding the start message took. Ends when the connection
		// is closed.
		go s.read(closed)
		return
	}
	// No end of file: to a session, which goes on, it would mean something.
	s.stdin.Close(flow.ErrStopped)
	s.readErr <- err
	close(closed)
}

// take takes messages until one has started the command, and returns nil, or none can be taken any more.
func (s *serving) take() error {
	for {
		data, msg, err := s.link.read(proto.StdinHeader)
		if unknown, ok := errors.AsType[proto.UnknownTypeError](err); ok {
			s.logUnknown(unknown)
			continue
		}
		if err == nil {
			err = violation(s.handle(data, msg))
		}
		if _, started := msg.(proto.Start); started || err != nil {
			return err
		}
	}
}

func (s *serving) logUnknown(unknown proto.UnknownTypeError) {
	if ok, unlogged := s.noise.Take(); ok {
		s.opts.log().Warn(context.Background(), "ignoring message of unknown type",
			slog.F("type", unknown.Type), slog.F("unlogged", unlogged))
	}
}

// handle handles one message of the client.
func (s *serving) handle(data bulk, msg any) error {
	if start, ok := msg.(proto.Start); ok {
		return s.handleStart(start)
	}
	if !s.asked {
		return protocolErrorf("%s sent before command started", describe(data, msg))
	}
	switch msg := msg.(type) {
	case nil:
		return s.handleBulk(data)
	case proto.CloseStdin:
		s.stdinOn = false
		s.stdin.Close(io.EOF)
	case *proto.Ack:
		return s.handleAck(*msg)
	case *proto.Echo:
		if s.echoes != nil {
			s.echoes.send(msg.N)
		}
	case proto.Resize, proto.Signal, proto.Close:
		return s.requests.add(msg)
	default:
		s.logMisplaced(describe(data, msg))
	}
	return nil
}

func (s *serving) logMisplaced(message string) {
	if ok, unlogged := s.noise.Take(); ok {
		s.opts.log().Warn(context.Background(), "ignoring message that servers send",
			slog.F("message", message), slog.F("unlogged", unlogged))
	}
}

func (s *serving) handleStart(start proto.Start) error {
	if s.asked {
		return protocolErrorf("command already started")
	}
	s.asked = true
	s.stdinOn = start.WantsStdin()
	if start.Extensions != nil {
		s.peer = *start.Extensions
	}
	s.stdoutCredit, s.stderrCredit = flow.NewCredit(s.peer.Window), flow.NewCredit(s.peer.Window)
	if s.peer.Window > 0 {
		s.stdin.Strict = true
		s.stdin.Consumed = flow.NewReceipts(defaultWindow, s.newAckSender(proto.TypeStdin).send).Add
	}
	if s.peer.Window == 0 {
		s.stdin.Full = s.poke
	}
	if s.peer.Echo {
		s.echoes = s.newNumberSender(proto.AppendEcho)
	}
	if s.peer.MaxMessage > 0 {
		s.conn.SetReadLimit(defaultMaxMessage)
	}
	s.start <- &start
	return nil
}

// handleBulk takes the body of a stdin message. Only a client without flow control can make it wait.
func (s *serving) handleBulk(data bulk) error {
	if data.stream != proto.TypeStdin {
		_, err := io.Copy(io.Discard, data.body)
		return err
	}
	if !s.stdinOn {
		return protocolErrorf("%w", errStdinDisabled)
	}
	defer s.life.deaf.Store(false)
	return s.stdin.Fill(data.body, s.over)
}

// poke is called while the reader waits for a process to read its stdin. The connection's end can't be read then, so
// poke finds out by writing: a client that has closed its end answers with a reset.
func (s *serving) poke() {
	s.life.deaf.Store(true)
	if s.life.writing.Load() != 0 {
		return // That write will find out.
	}
	// Ends when the library gives up.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), pokeTimeout)
		defer cancel()
		if err := s.conn.Ping(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.lose(err)
		}
	}()
}

// pokeTimeout is how long a poke waits for an answer that, with nobody reading, can't come.
const pokeTimeout = time.Second

func (s *serving) handleAck(ack proto.Ack) error {
	if err := s.stdoutCredit.Ack(ack.Stdout); err != nil {
		return err
	}
	return s.stderrCredit.Ack(ack.Stderr)
}

// describe names a message in an error.
func describe(data bulk, msg any) string {
	switch msg.(type) {
	case nil:
		return string(data.stream)
	case proto.CloseStdin:
		return proto.TypeCloseStdin
	case proto.Resize:
		return proto.TypeResize
	case *proto.Ack:
		return proto.TypeAck
	case *proto.Echo:
		return proto.TypeEcho
	case proto.Signal:
		return proto.TypeSignal
	case proto.Close:
		return proto.TypeClose
	case proto.Pid:
		return proto.TypePid
	case proto.ExitCode:
		return proto.TypeExitCode
	case proto.End:
		return proto.TypeEnd
	case proto.StartError:
		return proto.TypeStartError
	}
	return "message"
}
