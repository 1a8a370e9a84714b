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
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/xerrors"
)

// Only session_screen*.go and session_screen.sh know GNU screen.

//go:embed session_screen.sh
var keeperScript string

// errNoScreen is matched by the error of a session on a machine without a usable screen.
var errNoScreen = xerrors.New("no screen to keep the session in")

// errSessionLost is matched by the error of a keeper that found nothing of its session.
var errSessionLost = xerrors.Errorf("session is gone from its machine: %w", fs.ErrNotExist)

// screenKeeper is the process that keeps a session on the session's machine, and the session's connection to it. See
// session_screen.sh.
type screenKeeper struct {
	process Process
	cancel  context.CancelFunc
	dir     string
	env     []string    // for further shells of the session, after the command's variables: see withoutSettings
	orders  chan string // orders that have not been written; has room for maxOrders

	fitted  chan string   // numbers of fits that screen has carried out
	fitting chan struct{} // has room for one: holds a token while a fit is ordered and not carried out
	lastFit int           // the number of that fit; guarded by fitting

	mu      sync.Mutex    // guards what follows
	nextFit chan struct{} // closed when the fit that has not been ordered yet is carried out; nil if there is none

	running     chan struct{}  // closed when the command goes, or nothing is left of it
	exit        chan ExitError // the command's exit, if it is known; has room for one
	commandDone chan struct{}  // closed when nothing is left of the command; exit has been sent before
	done        chan struct{}  // closed when the keeper has exited and err is set
	err         error          // how the keeper exited; nil if it carried out all its orders
}

// startKeeper starts the session's command, which then waits for the order to go. The context bounds the start.
func startKeeper(ctx context.Context, execer Execer, name string, patience time.Duration, c Command) (*screenKeeper, error) {
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

// dropSession removes what a keeper left that was killed during its start. A keeper that gets SIGTERM does this itself.
func dropSession(execer Execer, c Command, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if p, err := execer.Start(ctx, Command{Command: "sh", Args: args, UID: c.UID, GID: c.GID, Env: c.Env}); err == nil {
		_ = p.Wait()
	}
}

// rejoinKeeper is startKeeper for a session whose keeper was lost. It does not use the command's working directory, which
// may not exist any more.
func rejoinKeeper(ctx context.Context, execer Execer, name string, patience time.Duration, c Command) (*screenKeeper, error) {
	c.WorkingDir = ""
	return newKeeper(ctx, execer, c, keeperArgs("join", name, patience), "")
}

func keeperArgs(mode, name string, patience time.Duration) []string {
	seconds := int(max(patience, time.Second) / time.Second)
	return []string{"-c", keeperScript, "wsep-keeper", mode, name, serverIdentity(), strconv.Itoa(seconds)}
}

// newKeeper starts a keeper and writes the input to it. If the keeper exits before the session has started, newKeeper
// returns both the keeper and an error.
func newKeeper(ctx context.Context, execer Execer, c Command, args []string, input string) (*screenKeeper, error) {
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
	if errors.Is(err, exec.ErrNotFound) {
		err = xerrors.Errorf("sh is not installed: %w", errNoScreen)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	k := &screenKeeper{
		process:     p,
		cancel:      cancel,
		orders:      make(chan string, maxOrders),
		fitted:      make(chan string, maxOrders),
		fitting:     make(chan struct{}, 1),
		running:     make(chan struct{}),
		exit:        make(chan ExitError, 1),
		commandDone: make(chan struct{}),
		done:        make(chan struct{}),
	}
	k.orders <- input
	// Ends when the keeper exits.
	go k.writeOrders()
	started := make(chan error, 1)
	// Ends when the keeper exits.
	go func() {
		defer close(k.done)
		defer cancel()
		err := k.listen(func() { started <- nil })
		select {
		case started <- err:
		default: // The session had started before.
		}
	}()
	// Ends when the keeper exits. If the keeper was killed, its watcher may still run and hold the output open.
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

// killed reports whether the keeper was killed. The keeper has exited.
func (k *screenKeeper) killed() bool {
	exit, ok := errors.AsType[ExitError](k.err)
	return ok && exit.Signal() == "KILL"
}

// maxKeeperLine bounds a line of the keeper's output, in bytes.
const maxKeeperLine = 4 << 10

// listen reads the keeper's lines until the keeper exits. It calls started once, when the session has started. The error
// says why the session did not start.
func (k *screenKeeper) listen(started func()) error {
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
		case "fitted":
			select {
			case k.fitted <- rest:
			default: // Nobody waits for so many.
			}
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
		k.cancel() // The watcher has exited. The keeper does not notice that.
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

// setExit records the command's exit code.
func (k *screenKeeper) setExit(code string) {
	n, err := strconv.Atoi(code)
	if err != nil {
		return
	}
	select {
	case k.exit <- NewExitError(n, "exit status "+code):
	default: // A keeper that took over may send it again.
	}
}

const (
	// maxOrders is how many orders can wait for a busy keeper. A further order waits for room.
	maxOrders = 100
	// orderTimeout is how long an order waits for room. A keeper that reads no order for so long hangs.
	orderTimeout = 5 * time.Second
)

// order sends the keeper an order. A keeper that does not read is ended, so that another can replace it.
func (k *screenKeeper) order(words ...string) {
	t := time.NewTimer(orderTimeout)
	defer t.Stop()
	select {
	case k.orders <- strings.Join(words, " ") + "\n":
	case <-k.done:
	case <-t.C:
		k.cancel()
	}
}

// writeOrders writes the orders until the keeper exits. A write fails only when the keeper has exited. listen notices the
// exit.
func (k *screenKeeper) writeOrders() {
	for {
		select {
		case order := <-k.orders:
			_, _ = io.WriteString(k.process.Stdin(), order)
		case <-k.done:
			return
		}
	}
}

// fitTimeout is how long a fit may take. The keeper waits two seconds for screen.
const fitTimeout = 3 * time.Second

// fit gives the command's terminal the size of the client that attached last. It returns when screen has done so, or when
// the keeper has not answered for fitTimeout. If the keeper is lost, the next one is told to fit the terminal. Clients that
// wait at the same time share a fit, since each starts two programs.
func (k *screenKeeper) fit(ctx context.Context) error {
	k.mu.Lock()
	done := k.nextFit
	if done == nil {
		done = make(chan struct{})
		k.nextFit = done
		// Ends when the fit before it and its own are carried out or have timed out.
		go k.fitNext(done)
	}
	k.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fitNext orders a fit when the one before it is done, waits until it is done, and closes the channel.
func (k *screenKeeper) fitNext(done chan<- struct{}) {
	defer close(done)
	k.fitting <- struct{}{}
	defer func() { <-k.fitting }()
	k.mu.Lock()
	k.nextFit = nil // From here on this fit may miss a client that attaches.
	k.mu.Unlock()
	k.lastFit++
	number := strconv.Itoa(k.lastFit)
	k.order("fit", number)
	timeout := time.NewTimer(fitTimeout)
	defer timeout.Stop()
	for {
		select {
		case fitted := <-k.fitted:
			if fitted == number {
				return
			}
		case <-k.done:
			return
		case <-timeout.C:
			return
		}
	}
}

// signal orders the keeper to send the command's process group a signal.
func (k *screenKeeper) signal(signal string) error {
	if !signalName.MatchString(signal) {
		return xerrors.Errorf("signal %q: %w", signal, errors.ErrUnsupported)
	}
	k.order("signal", signal)
	return nil
}

// signalName matches what can be the name of a signal. The keeper passes the name to kill.
var signalName = regexp.MustCompile("^[A-Z][A-Z0-9]{1,9}$")

const (
	// quitGrace is how long a command has to exit after its terminal is hung up. Then it is killed.
	quitGrace = time.Second
	// keeperGrace is how long the keeper has to end the session. It starts some twenty programs for that. On a busy machine,
	// where many sessions may end at once, this takes seconds. A keeper that is ended earlier leaves the session's files
	// behind.
	keeperGrace = 15 * time.Second
	// outputGrace is how long after the keeper's exit its last output may take.
	outputGrace = 500 * time.Millisecond
)

// end ends the session's command if it still runs: it hangs up the terminal, and then kills the command and all processes in
// the terminal. In any case it then removes the session's files. It reports whether the keeper has done all that.
func (k *screenKeeper) end() bool {
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

// serverIdentity returns text that identifies this process to a keeper on the same machine: see session_screen.sh. It is
// empty if the system does not tell.
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
