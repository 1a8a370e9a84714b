package wsep

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/termmodes"
)

// This file and session_screen.sh are all that knows GNU screen.

//go:embed session_screen.sh
var keeperScript string

// errNoScreen is matched by the error of a session on a machine without a screen that is fit for use.
var errNoScreen = xerrors.New("no screen to keep the session in")

// errSessionLost is matched by the error of a keeper that found nothing of its session.
var errSessionLost = xerrors.Errorf("session is gone from its machine: %w", fs.ErrNotExist)

// errDetached is how an attached process ended whose session goes on.
var errDetached = xerrors.New("detached from session")

// keeper is the process that keeps a session on the session's machine, and the session's line to it. See session_screen.sh.
type keeper struct {
	process Process
	cancel  context.CancelFunc
	dir     string
	env     []string    // for further shells of the session, beside the command's: see withoutSettings
	orders  chan string // what it is told and has not been written yet; has room for maxOrders

	running     chan struct{}  // closed when the command goes, or is gone
	exit        chan ExitError // has room for one: how the command ended, if that is known
	commandDone chan struct{}  // closed when nothing is left of the command; exit has been sent before
	done        chan struct{}  // closed when the keeper has ended and err is set
	err         error          // why it ended; nil if it had done all it was told
}

// startKeeper starts the session's command, which waits until it is told to go. The context bounds the start.
func startKeeper(ctx context.Context, execer Execer, name string, patience time.Duration, c Command) (*keeper, error) {
	if err := validate(c); err != nil {
		return nil, &StartError{err}
	}
	env, err := environmentOf(ctx, execer, c)
	if err != nil {
		return nil, err
	}
	variables := "\n"
	if env != nil {
		variables = "+" + strings.ReplaceAll(strings.TrimSuffix(environmentScript(env), "\n"), "\n", "\n+") + "\n\n"
	} else {
		env = c.Env
	}
	quiet := withoutSettings(env)
	c.Env = slices.Concat(c.Env, quiet)
	args := slices.Concat(keeperArgs("new", name, patience), []string{c.Command}, c.Args)
	k, err := newKeeper(ctx, execer, c, args, variables)
	if k != nil {
		k.env = quiet
	}
	if err != nil && k != nil && k.killed() {
		dropSession(execer, c, keeperArgs("drop", name, patience))
	}
	return k, err
}

// dropSession ends what a keeper may have left that was killed as it started: one that is told to end does so itself.
func dropSession(execer Execer, c Command, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if p, err := execer.Start(ctx, Command{Command: "sh", Args: args, UID: c.UID, GID: c.GID, Env: c.Env}); err == nil {
		_ = p.Wait()
	}
}

// rejoinKeeper is startKeeper for a session whose keeper was lost. The command's first directory may be gone by now.
func rejoinKeeper(ctx context.Context, execer Execer, name string, patience time.Duration, c Command) (*keeper, error) {
	c.WorkingDir = ""
	return newKeeper(ctx, execer, c, keeperArgs("join", name, patience), "")
}

func keeperArgs(mode, name string, patience time.Duration) []string {
	seconds := int(max(patience, time.Second) / time.Second)
	return []string{"-c", keeperScript, "wsep-keeper", mode, name, serverIdentity(), strconv.Itoa(seconds)}
}

// newKeeper starts a keeper and tells it the input. One that has ended before the session started is returned with the
// error.
func newKeeper(ctx context.Context, execer Execer, c Command, args []string, input string) (*keeper, error) {
	// The keeper outlives the context of its start.
	life, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	p, err := execer.Start(WithLasting(life), Command{
		Command:    "sh",
		Args:       args,
		Stdin:      true,
		UID:        c.UID,
		GID:        c.GID,
		Env:        c.Env,
		WorkingDir: c.WorkingDir,
	})
	if err != nil {
		cancel()
		return nil, err
	}
	k := &keeper{
		process:     p,
		cancel:      cancel,
		orders:      make(chan string, maxOrders),
		running:     make(chan struct{}),
		exit:        make(chan ExitError, 1),
		commandDone: make(chan struct{}),
		done:        make(chan struct{}),
	}
	k.orders <- input
	// Ends with the keeper.
	go k.writeOrders()
	started := make(chan error, 1)
	// Ends with the keeper.
	go func() {
		defer close(k.done)
		defer cancel()
		err := k.listen(func() { started <- nil })
		select {
		case started <- err:
		default: // It has started before.
		}
	}()
	// Ends with the keeper. If that was killed, its watcher may live on and hold its output open.
	go func() {
		_ = p.Wait()
		time.AfterFunc(outputGrace, cancel)
	}()
	if err := <-started; err != nil {
		<-k.done
		if ctx.Err() != nil && !errors.Is(err, errNoScreen) {
			err = ctx.Err()
		}
		return k, err
	}
	stop()
	return k, nil
}

// killed reports whether the keeper, which has ended, did so by force.
func (k *keeper) killed() bool {
	exit, ok := errors.AsType[ExitError](k.err)
	return ok && exit.Signal() == "KILL"
}

// maxKeeperLine bounds a line of the keeper's.
const maxKeeperLine = 4 << 10

// listen takes what the keeper says until it ends. It calls started once, when the session has started. The error is why
// the session did not.
func (k *keeper) listen(started func()) error {
	var begun bool
	begin := sync.OnceFunc(func() {
		begun = true
		started()
	})
	running, done := sync.OnceFunc(func() { close(k.running) }), sync.OnceFunc(func() { close(k.commandDone) })
	var reason error
	lines := bufio.NewScanner(k.process.Stdout())
	lines.Buffer(nil, maxKeeperLine)
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "dir":
			k.dir = rest
		case "started":
			begin()
		case "running":
			running()
		case "none":
			reason = xerrors.Errorf("%s: %w", rest, errNoScreen)
		case "lost":
			reason = errSessionLost
		case "fail":
			kind, message, _ := strings.Cut(rest, " ")
			reason = &StartError{&remoteError{kind: kind, message: message}}
		case "exit":
			k.setExit(rest)
		case "gone":
			done()
			running()
			begin()
		}
	}
	if begun && !isClosed(k.commandDone) {
		k.cancel() // Its watcher has died, which it does not notice.
	}
	complaint, _ := io.ReadAll(io.LimitReader(k.process.Stderr(), maxKeeperLine))
	err := k.process.Wait()
	k.err = err
	switch {
	case reason != nil:
		return reason
	case errors.Is(err, ErrDisconnected):
		return err
	}
	return xerrors.Errorf("session's keeper ended (%v): %s", err, bytes.TrimSpace(complaint))
}

// ended takes the command's exit code.
func (k *keeper) setExit(code string) {
	n, err := strconv.Atoi(code)
	if err != nil {
		return
	}
	select {
	case k.exit <- NewExitError(n, "exit status "+code):
	default: // A keeper that took over may say it twice.
	}
}

const (
	// maxOrders is how many orders wait for a keeper that is busy. Further ones are waited for.
	maxOrders = 100
	// orderTimeout is how long that may take. A keeper that has not read an order by then has stopped.
	orderTimeout = 5 * time.Second
)

// order tells the keeper to do something. A keeper that does not read is ended, so that another takes its place.
func (k *keeper) order(words ...string) {
	t := time.NewTimer(orderTimeout)
	defer t.Stop()
	select {
	case k.orders <- strings.Join(words, " ") + "\n":
	case <-k.done:
	case <-t.C:
		k.cancel()
	}
}

// writeOrders writes the orders until the keeper has ended. One that can't be told has ended, which listen notices.
func (k *keeper) writeOrders() {
	for {
		select {
		case order := <-k.orders:
			_, _ = io.WriteString(k.process.Stdin(), order)
		case <-k.done:
			return
		}
	}
}

// signal has the keeper send the command's process group a signal.
func (k *keeper) signal(signal string) error {
	if !signalName.MatchString(signal) {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	k.order("signal", signal)
	return nil
}

// signalName is what a signal's name looks like. The keeper passes it to kill.
var signalName = regexp.MustCompile("^[A-Z][A-Z0-9]{1,9}$")

const (
	// quitGrace is how long a command has for ending when its terminal is hung up. After that it is killed.
	quitGrace = time.Second
	// keeperGrace is how long the keeper has for what it does at its end. It starts some twenty programs for that, which
	// takes a busy machine seconds, and many sessions may end at once; one that is cut short leaves the session's files.
	keeperGrace = 15 * time.Second
	// outputGrace is how long after the keeper's end its last words may take.
	outputGrace = 500 * time.Millisecond
)

// end ends the session's command, if it is still there, gracefully and then by force with all that it has left running.
// Then, in any case, it removes what the session has on its machine. It reports whether the keeper has done so.
func (k *keeper) end() bool {
	defer k.cancel()
	if !isClosed(k.commandDone) {
		k.order("quit")
		await(k.commandDone, k.done, quitGrace)
		k.order("kill")
		await(k.commandDone, k.done, quitGrace)
	}
	k.order("clean")
	await(k.done, k.done, keeperGrace)
	return isClosed(k.done) && k.err == nil
}

// attachScript runs an attaching screen, and makes that leave on SIGTERM. A screen that finds the terminal of a display
// closed stops for a second, and so do all who look at it. So the attaching screen has to tell the other that it leaves,
// for which it gets a hang-up, and the terminal has to stay for a moment longer, for which there is the shell, its session's
// leader. Before it is there the hang-up must not end it; so it is repeated. And it leaves without a word if the mode of the
// socket says that nobody is attached, as it does for a moment after the session is shown. Before all that screen is asked
// something, for by its answer it has read what was typed. One that does not answer is not waited for long.
//
// A terminal type that the machine does not know, or that can't clear and move the cursor, would be refused. The modes of
// the terminal, which is still as the Execer made it, are for the session's: see session_screen.sh.
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
screen -S s -Q number >/dev/null 2>&1 <&- &
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

// attach starts a process that shows the session in a terminal. It ends when the context does.
func (k *keeper) attach(ctx context.Context, execer Execer, c Command) (Process, error) {
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

// farewell is what screen writes to a display when its last window has gone.
var endNotice = []byte("[screen is terminating]\r\n")

// display reads what an attaching screen shows, but for its farewell. Its last bytes undo what screen has set in the
// terminal, and leaves when a client does.
type display struct {
	r     io.Reader
	held  []byte // read, and either to be handed out or part of the farewell
	out   int    // how many bytes of held may be handed out
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

// maxComplaint bounds what screen says instead of showing a session.
const maxComplaint = 4 << 10

// drawn reports whether the session is shown. Screen begins with sequences that set up the terminal; when it refuses one,
// it says why in plain text, and ends.
func (d *display) drawn() bool {
	sequence := func(c rune) bool { return c < ' ' && !strings.ContainsRune("\r\n\t\a", c) }
	return d.out >= maxComplaint || bytes.ContainsFunc(d.held[:d.out], sequence)
}

// undo gives out what undoes the terminal's modes, if that is needed.
func (d *display) undo() bool {
	d.held = d.modes.Undo()
	d.out = len(d.held)
	return d.out > 0
}

// fill reads once.
func (d *display) fill(size int) {
	buf := make([]byte, len(d.held)+size)
	n := copy(buf, d.held)
	m, err := d.r.Read(buf[n:])
	d.held, d.err = buf[:n+m], err
	d.out = len(d.held) - noticeSuffix(d.held)
	if err != nil && d.out < len(d.held) && len(d.held)-d.out < len(endNotice) {
		d.out = len(d.held) // It only began like one.
	}
}

// minNotice is how much of a farewell at the end of what has been read counts as one that is still coming. Less is more
// likely the command's, and must not wait.
const minNotice = 8

// noticeSuffix returns how many bytes at b's end are a farewell or its beginning.
func noticeSuffix(b []byte) int {
	for n := min(len(b), len(endNotice)); n >= minNotice; n-- {
		if bytes.HasSuffix(b, endNotice[:n]) {
			return n
		}
	}
	return 0
}

// serverIdentity tells the keeper which process it serves, if the two can see each other: see session_screen.sh. It is empty where
// the system does not say.
func serverIdentity() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	const startTime = 22 - 3 // the fields from the state on, see proc_pid_stat(5)
	if len(fields) <= startTime {
		return ""
	}
	return fmt.Sprintf("%s %s %d %s", bytes.TrimSpace(boot), namespace, os.Getpid(), fields[startTime])
}
