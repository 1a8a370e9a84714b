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

// read handles messages until the connection is closed or lost, or the client breaks the protocol. It also reads after the
// process has exited: only then are pings answered and the client's close frame noticed.
func (s *serving) read() {
	err := s.take()
	if err == nil {
		// The start message took memory, and decoding it grew the stack. Both are freed while the process idles: the stack with
		// its goroutine. The new one ends when the connection is closed.
		s.control = nil
		go s.read()
		return
	}
	s.readErr <- err
	close(s.closed)
}

// take handles messages. It returns nil after the start message, and an error when it can't read another message.
func (s *serving) take() error {
	for {
		data, msg, err := s.next()
		if s.fenced.Load() {
			return errTaken
		}
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
	if s.follows(msg) {
		return errDone
	}
	switch msg := msg.(type) {
	case proto.Start:
		return s.handleStart(msg)
	case proto.Resume:
		return s.handleResume(msg)
	case proto.Ask:
		return s.handleAsk(msg)
	}
	if !s.asked {
		return protocolErrorf("%s sent before command started", describe(data, msg))
	}
	if s.resumes && !s.adopted.Load() {
		return protocolErrorf("%s sent before command resumed", describe(data, msg))
	}
	if s.asks {
		return protocolErrorf("%s sent after a question", describe(data, msg))
	}
	switch msg := msg.(type) {
	case nil:
		return s.handleBulk(data)
	case *proto.Ack:
		return s.handleAck(*msg)
	case *proto.Echo:
		if s.echoes != nil {
			s.echoes.send(msg.N)
		}
	case proto.CloseStdin:
		s.conv.stdinOn = false
		return s.conv.requests.add(msg, msg.Seq)
	case proto.Resize:
		return s.conv.requests.add(msg, msg.Seq)
	case proto.Signal:
		return s.conv.requests.add(msg, msg.Seq)
	case proto.Close:
		return s.conv.requests.add(msg, msg.Seq)
	case proto.Done:
		return s.handleDone()
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
	if err := s.takeOffer(start.Extensions); err != nil {
		return err
	}
	c := newConversation(s, &start)
	if s.peer.Window > 0 {
		c.stdin.Strict = true
		c.stdin.Consumed = c.receipts(s.quiet())
	} else {
		c.stdin.Full = s.poke
	}
	s.conv = c
	s.first <- &start
	return nil
}

// receipts returns what acknowledges stdin as the process takes it. Of a conversation that is forwarded the next hop does that.
func (c *conversation) receipts(quiet time.Duration) func(int) {
	taken := flow.NewReceipts(defaultWindow, quiet, c.stdinReceipt.send)
	return func(n int) {
		if c.forward.Load() == nil {
			taken.Add(n)
		}
	}
}

func (s *serving) handleResume(m proto.Resume) error {
	s.resumes = true
	if err := s.takeOffer(m.Extensions); err != nil {
		return err
	}
	s.first <- &m
	return nil
}

func (s *serving) handleAsk(m proto.Ask) error {
	s.asks = true
	if err := s.takeOffer(nil); err != nil {
		return err
	}
	s.first <- &m
	return nil
}

// takeOffer takes the extensions of the client's first message.
func (s *serving) takeOffer(offered *proto.Extensions) error {
	if s.asked {
		return protocolErrorf("command already started")
	}
	s.asked = true
	if s.offered = offered; offered != nil {
		s.peer = *offered
	}
	if s.peer.Echo {
		s.echoes = s.newNumberSender(proto.AppendEcho)
	}
	if s.peer.MaxMessage > 0 {
		s.conn.SetReadLimit(defaultMaxMessage)
	}
	return nil
}

// quiet returns how long what was consumed may stay unacknowledged. 0 means for ever.
func (s *serving) quiet() time.Duration {
	if s.peer.Resume > 0 {
		return quietAck
	}
	return 0
}

// quietAck is how long a peer that resumes keeps bytes that were consumed.
const quietAck = time.Second

// handleBulk handles the body of a stdin message. It waits only for a client without flow control.
func (s *serving) handleBulk(data bulk) error {
	if data.stream != proto.TypeStdin {
		_, err := io.Copy(io.Discard, data.body)
		return err
	}
	if !s.conv.stdinOn {
		return protocolErrorf("%w", errStdinDisabled)
	}
	defer s.life.deaf.Store(false)
	return s.conv.stdin.Fill(data.body, s.over)
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
	if f := s.conv.forward.Load(); f != nil {
		f.ack(ack)
		return nil
	}
	if err := s.conv.stdout.ack(ack.Stdout); err != nil {
		return err
	}
	return s.conv.stderr.ack(ack.Stderr)
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
	case proto.Resumed:
		return proto.TypeResumed
	case proto.ResumeError:
		return proto.TypeResumeError
	case proto.Ask:
		return proto.TypeAsk
	case proto.Asked:
		return proto.TypeAsked
	case proto.Sessions:
		return proto.TypeSessions
	case proto.AskError:
		return proto.TypeAskError
	case proto.Done:
		return proto.TypeDone
	}
	return "message"
}
