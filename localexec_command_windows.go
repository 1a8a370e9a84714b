package wsep

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// prepareCommand makes a command fit for the system's way to start processes.
func prepareCommand(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	cmd.Env = cmd.Environ() // one of each name, whatever its case
	if isBatch(cmd.Path) {
		return prepareBatch(cmd)
	}
	return nil
}

// isBatch reports whether the system runs a file by cmd.exe. It ignores dots and spaces at the end of a name.
func isBatch(path string) bool {
	ext := strings.ToLower(filepath.Ext(strings.TrimRight(path, ". ")))
	return ext == ".bat" || ext == ".cmd"
}

// unsafeInBatch are the characters that cmd.exe interprets even within quotes.
const unsafeInBatch = "\"%\r\n"

// prepareBatch makes a command run a batch file by cmd.exe. cmd.exe takes an argument apart by rules of its own, so that one
// could start another program. All arguments are quoted, and those that quotes do not protect are refused.
func prepareBatch(cmd *exec.Cmd) error {
	words := append([]string{filepath.FromSlash(cmd.Path)}, cmd.Args[1:]...)
	for i, word := range words {
		if strings.ContainsAny(word, unsafeInBatch) {
			return xerrors.Errorf("%q can't be passed to a batch file: %w", word, errors.ErrUnsupported)
		}
		words[i] = `"` + word + `"`
	}
	system, err := windows.GetSystemDirectory()
	if err != nil {
		return xerrors.Errorf("find cmd.exe: %w", err)
	}
	cmd.Path = filepath.Join(system, "cmd.exe")
	// With extensions, without AutoRun, without the expansion of !NAME!, and only the outermost quotes removed ("cmd /?").
	cmd.SysProcAttr.CmdLine = `"` + cmd.Path + `" /e:on /d /v:off /s /c "` + strings.Join(words, " ") + `"`
	return nil
}

// startOp is the Op of an error of os.StartProcess.
const startOp = "fork/exec"

// startReason returns the reason why a command did not start, with the same identity as on other systems.
func startReason(name string, err error) error {
	_, search := errors.AsType[*exec.Error](err)
	path, start := errors.AsType[*os.PathError](err)
	if !search && (!start || path.Op != startOp) {
		return err
	}
	if !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strings.ContainsAny(name, `/\`) && exists(name) {
		// The system takes no file for a program whose name does not say so: see PATHEXT.
		return &exec.Error{Name: name, Err: fs.ErrPermission}
	}
	return notFoundError{err}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
