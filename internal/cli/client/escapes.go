package client

import (
	"io"
	"os"
)

// escapes passes input to a command, and handles escapes of ssh(1) at the start of a line: ~. leaves the command, ~? explains
// the escapes, and ~~ is one tilde. The tildes of ~. and ~? are not sent.
type escapes struct {
	stdin   io.WriteCloser
	help    func() // explains the escapes
	midLine bool
	held    bool // a tilde at the start of a line waits for what follows
}

// Write implements io.Writer. It returns errLeft at ~.
func (e *escapes) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p)+1)
	for _, c := range p {
		var left bool
		if out, left = e.take(out, c); left {
			_, _ = e.stdin.Write(out)
			return 0, errLeft
		}
	}
	if _, err := e.stdin.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// take takes the typed byte c. It appends the bytes to send to out.
func (e *escapes) take(out []byte, c byte) (_ []byte, left bool) {
	switch {
	case e.held && c == '.':
		e.held = false
		return out, true
	case e.held && c == '?':
		e.held = false
		e.help()
		return out, false
	case e.held && c == '~':
		e.held, e.midLine = false, true
		return append(out, c), false
	case e.held:
		e.held = false
		out = append(out, '~')
	case c == '~' && !e.midLine:
		e.held = true
		return out, false
	}
	e.midLine = c != '\r' && c != '\n'
	return append(out, c), false
}

// Close sends a tilde that still waits for the next byte, and closes stdin.
func (e *escapes) Close() error {
	if e.held {
		e.held = false
		_, _ = e.stdin.Write([]byte{'~'})
	}
	return e.stdin.Close()
}

const escapesHelp = "\r\nAt the start of a line:\r\n" +
	"  ~.  leaves the command. A session goes on, any other command ends\r\n" +
	"  ~?  shows this\r\n" +
	"  ~~  sends one ~\r\n"

// explainEscapes tells the user of the terminal.
func (c *client) explainEscapes() { _, _ = io.WriteString(os.Stdout, escapesHelp) }
