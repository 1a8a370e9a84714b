package wsep

import (
	"bytes"
	"os"
	"regexp"
	"sync"

	"golang.org/x/xerrors"
)

// What clients type goes to the command as it is, whatever its size. A client waits while the command does not read, as at a
// plain terminal. What another client types meanwhile comes after that.
//
// A command asks its terminal questions, and the answers come as input. While a client leads, its terminal answers, and the
// answers of the others are dropped. Otherwise the model answers.

// viewerStdin takes what a client types.
type viewerStdin struct {
	viewer *viewer

	mu     sync.Mutex // guards closed
	closed bool
}

// maxHeldAnswer is how many bytes of an answer that has begun are held, at most.
const maxHeldAnswer = 4 << 10

// Write implements io.Writer.
func (s *viewerStdin) Write(p []byte) (int, error) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	v := s.viewer
	if closed || isClosed(v.done) {
		return 0, v.inputError()
	}
	typed := v.typed(p)
	if len(typed) == 0 {
		return len(p), nil
	}
	_ = v.host.resizeProcess(v.ctx) // If this fails, the write tells why.
	if err := v.host.typeIn(typed, v.ctx.Done()); err != nil {
		return 0, v.inputError()
	}
	return len(p), nil
}

// Close types the terminal's end-of-file character.
func (s *viewerStdin) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if !closed {
		_ = s.viewer.host.typeEnd(s.viewer.ctx.Done())
	}
	return nil
}

// inputError returns why the viewer takes no input.
func (v *viewer) inputError() error {
	if isClosed(v.host.ended) || isClosed(v.host.input.deaf) {
		return xerrors.Errorf("write to stdin: %w", errProcessDone)
	}
	return xerrors.Errorf("write to stdin: %w", os.ErrClosed)
}

// typed returns what the client has typed, without the answers of a terminal that is not to answer. If anything is left, the
// viewer leads from now on.
func (v *viewer) typed(p []byte) []byte {
	h := v.host
	h.screen.Lock()
	defer h.screen.Unlock()
	if len(v.held) > 0 {
		p = append(v.held, p...)
		v.held = nil
	}
	if h.leader() == v {
		return p
	}
	p = v.holdBack(v.withoutAnswers(p))
	if len(p) > 0 {
		h.lead(v)
	}
	return p
}

// answers matches answers of terminals. No key sends the like, except those of cursorAnswer.
//
// In turn: device attributes, status and modes; the size of windows; control strings.
var answers = regexp.MustCompile(`\x1b\[[?>=][0-9;]*\$?[cnRuy]|\x1b\[[0-9;]*\$y|\x1b\[0n|\x1b\[[0-9;]+t|` +
	`\x1b[P\]_X^][^\x07\x1b]*(?:\x07|\x1b\\)`)

// cursorAnswer matches the report of the cursor's position, and F3 with Shift, Ctrl and so on.
var cursorAnswer = regexp.MustCompile(`\x1b\[[0-9]+;[0-9]+R`)

// begunAnswer matches the beginning of an answer at the end of what was typed. Few keys look like that: Alt with ], P or _, and a
// digit or more in the same write.
//
// In turn: what begins with CSI, OSC, DCS and APC.
var begunAnswer = regexp.MustCompile(`\x1b(?:\[[?>=0-9][0-9;]*\$?|\][0-9]+(?:;[^\x07\x1b]*\x1b?)?|` +
	`P[0-9]?(?:[0-9]|[>!$+][^\x07\x1b]*\x1b?)|_G[^\x07\x1b]*\x1b?)$`)

// holdBack returns p without the beginning of an answer at its end. What is held comes before what the client types next. The
// lock is held.
func (v *viewer) holdBack(p []byte) []byte {
	at := begunAnswer.FindIndex(p[max(0, len(p)-maxHeldAnswer):])
	if at == nil {
		return p
	}
	cut := max(0, len(p)-maxHeldAnswer) + at[0]
	v.held = bytes.Clone(p[cut:])
	return p[:cut]
}

// withoutAnswers returns p without the answers of a terminal. Of an answer that is split after its first byte, ESC, nothing is
// found: that byte may be a key. The lock is held.
func (v *viewer) withoutAnswers(p []byte) []byte {
	if bytes.IndexByte(p, '\x1b') < 0 {
		return p
	}
	p = answers.ReplaceAll(p, nil)
	return cursorAnswer.ReplaceAllFunc(p, func(answer []byte) []byte {
		if v.asked == 0 {
			return answer
		}
		v.asked--
		return nil
	})
}

// answer deals with what the model answers to the queries in the last output. The lock is held.
func (h *nativeHost) answer() {
	lead := h.leader()
	if lead == nil || lead.cropped || lead.stale || lead.stdin == (disabledStdin{}) {
		h.answerSoon()
		return
	}
	if n := bytes.Count(h.model.Replies(), []byte("R")); n > 0 {
		for _, v := range h.viewers {
			if v != lead && !v.cropped && !v.stale {
				v.asked += n
			}
		}
	}
}

// answerSoon types the model's answers. While it does, further ones wait in the model, which bounds them. The lock is held.
func (h *nativeHost) answerSoon() {
	if h.answering {
		return
	}
	b := h.model.Replies()
	if len(b) == 0 {
		return
	}
	h.answering = true
	// Ends when the answers are typed, or the command takes no more input.
	go func() {
		_ = h.typeIn(b, h.ended)
		h.screen.Lock()
		defer h.screen.Unlock()
		h.answering = false
		h.answerSoon()
	}()
}

// typeIn types into the command's terminal. It returns when all is on its way, or when stop is closed.
func (h *nativeHost) typeIn(b []byte, stop <-chan struct{}) error {
	return h.typeNext(stop, func() []byte { return b })
}

// typeEnd types the terminal's end-of-file character, twice if a line has begun: see terminalStdin.
func (h *nativeHost) typeEnd(stop <-chan struct{}) error {
	return h.typeNext(stop, func() []byte {
		if p, ok := processAs[endTyper](h.process); ok {
			return p.typedEnd(h.midLine)
		}
		if h.midLine {
			return []byte{ctrlD, ctrlD}
		}
		return []byte{ctrlD}
	})
}

// endTyper is a process whose terminal has another end of file than Ctrl-D.
type endTyper interface {
	// typedEnd returns what a user types for an end of file.
	typedEnd(midLine bool) []byte
}

// ctrlD is the usual end-of-file character of a terminal.
const ctrlD = 4

// typeNext types what next returns, when all that was typed before is on its way.
func (h *nativeHost) typeNext(stop <-chan struct{}, next func() []byte) error {
	return h.input.writeNext(stop, func() ([]byte, error) {
		if isClosed(h.ended) {
			return nil, errProcessDone
		}
		b := next()
		if n := len(b); n > 0 {
			h.midLine = b[n-1] != '\n' && b[n-1] != '\r'
		}
		return b, nil
	})
}
