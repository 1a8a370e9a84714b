//go:build linux || darwin || freebsd

package keeper

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/xerrors"
)

// program is a program that becomes a keeper.
type program struct {
	path  string
	build string // tells versions apart
}

// settings are what a keeper is told when it starts, in a variable of its environment.
type settings struct {
	Socket         string
	Idle           time.Duration
	SessionTimeout time.Duration
	Role           role
}

// role is which process of three this is. Each starts the next.
type role string

const (
	roleStarter role = ""        // leaves what it has inherited behind, and exits. So the keeper is not its server's child
	roleWatcher role = "watcher" // is the keeper's parent
	roleKeeper  role = "keeper"
)

// variable holds the settings, in JSON. Main removes it, so that commands do not have it.
const variable = "WSEP_KEEPER"

// mainCalled says that this program can become a keeper.
var mainCalled bool

// selfPath is the program of this process, also after another one has been put in its file's place.
func selfPath() (string, error) {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe", nil
	}
	return os.Executable()
}

func (e Execer) program() (program, error) {
	path, err := e.Program, error(nil)
	switch {
	case path != "":
	case mainCalled:
		path, err = selfPath()
	default:
		path, err = exec.LookPath("wsep-keeper")
	}
	if err != nil {
		return program{}, xerrors.Errorf("no program for a keeper: %w", err)
	}
	build, err := buildOf(path)
	return program{path, build}, err
}

// builds remembers the build of each file, by path.
var builds sync.Map

// buildOf returns what tells a program from its other versions. It reads the file again when that has changed.
func buildOf(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	type known struct {
		made  time.Time
		size  int64
		build string
	}
	if k, ok := builds.Load(path); ok && k.(known).made.Equal(info.ModTime()) && k.(known).size == info.Size() {
		return k.(known).build, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	build := hex.EncodeToString(hash.Sum(nil)[:6])
	builds.Store(path, known{info.ModTime(), info.Size(), build})
	return build, nil
}

// start starts a keeper, and waits until it listens. The directory's lock is held.
func (p program) start(ctx context.Context, s settings) error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	err = p.spawn(s, theirs)
	_ = theirs.Close()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ready.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = ready.SetReadDeadline(time.Now().Add(startTimeout))
	answer, err := io.ReadAll(io.LimitReader(ready, 1<<10))
	switch said := string(answer); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return xerrors.Errorf("%s does not answer: %w", p.path, err)
	case said == "":
		return xerrors.Errorf("%s is no keeper: its main does not call keeper.Main", p.path)
	case said != readyAnswer:
		return errors.New(strings.TrimSpace(said))
	}
	return nil
}

const (
	// readyAnswer is what a keeper writes when it listens. Anything else is why it can't.
	readyAnswer = "ready\n"
	// startTimeout is how long a keeper has to listen.
	startTimeout = 10 * time.Second
	// readyFD is the keeper's descriptor for its answer.
	readyFD = 3
)

// spawn runs the program as a starter.
func (p program) spawn(s settings, ready *os.File) error {
	cmd := exec.Command(p.path)
	cmd.Args = []string{processName}
	cmd.Env = append(os.Environ(), s.variable())
	cmd.ExtraFiles = []*os.File{ready}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Run()
}

// processName is a keeper's name in the list of processes.
const processName = "wsep-keeper"

// variable returns the variable of the environment that holds the settings.
func (s settings) variable() string {
	text, _ := json.Marshal(s) // It never fails.
	return variable + "=" + string(text)
}

// become starts this process's own program again, in another role.
func (s settings) become(r role, attr *syscall.SysProcAttr) (*os.Process, error) {
	self, err := selfPath()
	if err != nil {
		return nil, err
	}
	s.Role = r
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	return os.StartProcess(self, []string{processName}, &os.ProcAttr{
		Dir:   "/",
		Env:   append(os.Environ(), s.variable()),
		Files: []*os.File{null, null, null, answerFile},
		Sys:   attr,
	})
}
