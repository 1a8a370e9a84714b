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

// How a server handles the messages of its client. The connection's reader does all of this.

// read handles messages until the connection is closed or lost, or the client breaks the protocol. Then it closes the
// channel. It also reads after the process has exited: only then are pings answered and the client's close frame noticed.
func (s *serving) read(closed chan<- struct{}) {
	err := s.take()
	if err == nil {
		// Decoding the start message grew the stack. A new goroutine frees that memory while the process idles. Ends when
		// the connection is closed.
		go s.read(closed)
		return
	}
	// This is not an end of file. To a session, which continues, that would mean something else.
	s.stdin.Close(flow.ErrStopped)
	s.readErr <- err
	close(closed)
}

// take handles messages. It returns nil after the start message, and an error when it can't read another message.
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

// handleBulk handles the body of a stdin message. It waits only for a client without flow control.
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

// poke is called while the reader waits for the process to read its stdin. The reader can't notice then that the connection
// is closed. poke notices it by a write: the machine of a client that has closed its end answers with a reset.
func (s *serving) poke() {
	s.life.deaf.Store(true)
	if s.life.writing.Load() != 0 {
		return // That write notices it.
	}
	// Ends after pokeTimeout at the latest.
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), pokeTimeout)
		defer cancel()
		if err := s.conn.Ping(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			s.lose(err)
		}
	}()
}

// pokeTimeout is how long a poke waits for its pong, which can't arrive while nothing is read.
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
