package client

import (
	"fmt"
	"io"
	"sync"

	"cdr.dev/wsep"
)

// notice tells the user of a terminal about a lost connection, on the terminal's last line. When the connection is back it
// wipes the line, and has the program draw again what stood there.
type notice struct {
	program string     // for messages
	mu      sync.Mutex // guards what follows
	to      io.Writer  // nil while there is no terminal to tell
	redraw  func()
	shown   bool
}

// begin shows notices from now on.
func (n *notice) begin(to io.Writer, redraw func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.to, n.redraw = to, redraw
}

const (
	// onLastLine saves the cursor, goes to the last line and wipes it. back returns to where the cursor was.
	onLastLine = "\x1b7\x1b[999;1H\x1b[0m\x1b[2K"
	back       = "\x1b8"
)

// connection tells of an event of the connection.
func (n *notice) connection(e wsep.ConnectionEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.to == nil {
		return
	}
	switch lost := e.State != wsep.ConnectionBack; {
	case lost && !n.shown:
		n.shown = true
		fmt.Fprint(n.to, onLastLine+n.program+": connection lost, trying again; ~. at the start of a line leaves"+back)
	case !lost && n.shown:
		n.shown = false
		fmt.Fprint(n.to, onLastLine+back)
		n.redraw()
	}
}
