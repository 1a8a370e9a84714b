package wsep

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"

	"cdr.dev/wsep/internal/termmodes"
)

// attachScript runs an attaching screen, and makes it detach on SIGTERM.
//
// If an attaching screen closes its terminal without a word, the session's screen stops for a second, and with it the
// display of all clients. So the attaching screen must tell the session's screen that it detaches. It does so when it gets
// SIGHUP. Its terminal must stay open a moment longer. The shell, which leads the terminal's session, keeps it open. An
// attaching screen that has only just started is not to be killed by SIGHUP, so SIGHUP is ignored at first, and sent several
// times.
//
// For a moment after the session is shown, the mode of the socket still says that no client is attached. A screen that got
// SIGHUP then would exit without telling the session's screen. So the script first waits for the mode to change. Before that
// it asks the session's screen a question. The answer says that screen has read what was typed. The script does not wait
// long for an answer.
//
// Screen refuses a terminal type that the machine does not know, or that can't clear the screen and move the cursor. The
// script replaces such a type. The terminal's modes are still those that the Execer set. They are saved for the session: see
// session_screen.sh.
const attachScript = `printf '%s\n' clear 'cup 0 0' | tput -T "$TERM" -S >/dev/null 2>&1 || export TERM=xterm-256color
[ ! -p "$0/go" ] || (umask 077; stty -g >"$0/modes.$$" && mv "$0/modes.$$" "$0/modes") 2>/dev/null
leaving=
trap leaving=yes TERM
exec 3<&0
(
	trap "" HUP TERM
	exec screen -q -U -c "$0/screenrc" -x s <&3 3<&-
) &
shows=$!
wait $shows
[ -n "$leaving" ] || exit
trap "" TERM
screen -S s -Q echo '' >/dev/null 2>&1 <&- &
asked=$!
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	sleep 0.02
	kill -0 $asked || break
done 2>/dev/null
kill -KILL $asked 2>/dev/null
set -- "$0"/s/*.s
for try in 1 2 3 4 5; do
	[ -S "$1" ] && [ ! -x "$1" ] || break
	sleep 0.02
done
for try in 1 2 3; do
	kill -HUP $shows || break
	sleep 0.02
done 2>/dev/null`

// attach starts a process that shows the session in a terminal. The process ends when the context does.
func (k *screenKeeper) attach(ctx context.Context, execer Execer, c Command) (Process, error) {
	env := c.Env
	if !slices.ContainsFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "TERM=") }) {
		env = append(slices.Clip(env), "TERM=xterm-256color")
	}
	return execer.Start(ctx, Command{
		Command: "sh",
		Args:    []string{"-c", attachScript, k.dir},
		TTY:     true,
		Rows:    c.Rows,
		Cols:    c.Cols,
		Stdin:   c.Stdin,
		UID:     c.UID,
		GID:     c.GID,
		Env:     append(slices.Clip(env), "SCREENDIR="+k.dir+"/s", "SYSSCREENRC=/dev/null"),
	})
}

// endNotice is what screen writes to a display when its last window is closed.
var endNotice = []byte("[screen is terminating]\r\n")

// display reads the output of an attaching screen, without the endNotice. Its last bytes undo the modes that screen has set
// in the client's terminal and does not reset when a client detaches.
type display struct {
	r     io.Reader
	held  []byte // read, and not returned: bytes for the reader, then perhaps a part of endNotice
	out   int    // how many bytes of held are for the reader
	err   error
	modes termmodes.Modes
}

// Read implements io.Reader.
func (d *display) Read(p []byte) (int, error) {
	for d.out == 0 {
		if d.err != nil && !d.undo() {
			return 0, d.err
		}
		if d.err == nil {
			d.fill(max(len(p), 4<<10))
		}
	}
	n := copy(p, d.held[:d.out])
	d.modes.Follow(p[:n])
	d.held = d.held[n:]
	d.out -= n
	return n, nil
}

// maxComplaint bounds the text, in bytes, that screen writes when it does not show a session.
const maxComplaint = 4 << 10

// drawn reports whether the session is shown. Screen first writes sequences that set up the terminal. If it refuses a
// client, it only writes the reason as plain text, and exits.
func (d *display) drawn() bool {
	sequence := func(c rune) bool { return c < ' ' && !strings.ContainsRune("\r\n\t\a", c) }
	return d.out >= maxComplaint || bytes.ContainsFunc(d.held[:d.out], sequence)
}

// complaint returns what screen wrote instead of the session, or nothing if it shows the session.
func (d *display) complaint() []byte {
	if d.drawn() {
		return nil
	}
	return bytes.TrimSpace(d.held)
}

// drop forgets what was read.
func (d *display) drop() { d.held, d.out = nil, 0 }

// undo puts the bytes that undo the terminal's modes into held. It reports whether there are any.
func (d *display) undo() bool {
	d.held = d.modes.Undo()
	d.out = len(d.held)
	return d.out > 0
}

// fill reads once from the attaching screen.
func (d *display) fill(size int) {
	buf := make([]byte, len(d.held)+size)
	n := copy(buf, d.held)
	m, err := d.r.Read(buf[n:])
	d.held, d.err = buf[:n+m], err
	d.out = len(d.held) - noticeSuffix(d.held)
	if err != nil && d.out < len(d.held) && len(d.held)-d.out < len(endNotice) {
		d.out = len(d.held) // It only began like endNotice.
	}
}

// minNotice is how many bytes of endNotice at the end of the output are held back until more is read. Fewer bytes are more
// likely the command's output, which must not wait.
const minNotice = 8

// noticeSuffix returns how many bytes at b's end are endNotice or its beginning.
func noticeSuffix(b []byte) int {
	for n := min(len(b), len(endNotice)); n >= minNotice; n-- {
		if bytes.HasSuffix(b, endNotice[:n]) {
			return n
		}
	}
	return 0
}
