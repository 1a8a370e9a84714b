package wsep

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf16"

	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// prepareCommand makes a command fit for the system's way to start processes.
func prepareCommand(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if err := findProgram(cmd); err != nil {
		return err
	}
	if err := shortenDir(cmd); err != nil {
		return err
	}
	if isBatch(cmd.Path) {
		return prepareBatch(cmd)
	}
	return nil
}

// findProgram sets the command's path to the file that the system will run. The path is absolute and has its extension. It lacks the
// dots and spaces that the system ignores. It shows whether the file is a batch file.
func findProgram(cmd *exec.Cmd) error {
	path, err := absolute(cmd.Dir, cmd.Path)
	if err != nil {
		return xerrors.Errorf("program's path: %w", err)
	}
	cmd.Path, err = exec.LookPath(path)
	return err
}

// absolute returns the absolute path of a program in a working directory.
func absolute(dir, path string) (string, error) {
	relative := !filepath.IsAbs(path) && filepath.VolumeName(path) == ""
	switch {
	case !relative || dir == "":
	case os.IsPathSeparator(path[0]): // It is relative to the volume.
		path = filepath.VolumeName(dir) + path
	default:
		path = filepath.Join(dir, path)
	}
	return filepath.Abs(path)
}

// maxDir is how many characters a working directory's path has at most: MAX_PATH less a backslash and a NUL at its end. Long paths
// are not for working directories (Maximum Path Length Limitation in the Windows API).
const maxDir = windows.MAX_PATH - 2

// shortenDir gives a command whose working directory has a path that is too long the short form of that path. A volume may have no
// short names.
func shortenDir(cmd *exec.Cmd) error {
	if cmd.Dir == "" {
		return nil
	}
	dir, err := filepath.Abs(cmd.Dir)
	if err != nil {
		return xerrors.Errorf("working directory: %w", err)
	}
	if length(dir) <= maxDir {
		return nil
	}
	short, err := shortPath(dir)
	if err != nil {
		return xerrors.Errorf("working directory: %w", err)
	}
	if length(short) > maxDir {
		return xerrors.Errorf("working directory has a path of more than %d characters: %w", maxDir, errors.ErrUnsupported)
	}
	cmd.Dir = short
	return nil
}

// length returns how many characters of the system a path has.
func length(path string) int { return len(utf16.Encode([]rune(path))) }

// shortPath returns the path with a short name for each long one, where the volume has them.
func shortPath(path string) (string, error) {
	long, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return "", err
	}
	short := make([]uint16, windows.MAX_LONG_PATH)
	n, err := windows.GetShortPathName(long, &short[0], uint32(len(short)))
	if err != nil {
		return "", err
	}
	return windows.UTF16ToString(short[:min(int(n), len(short))]), nil
}

// isBatch reports whether the system runs a file by cmd.exe. The system ignores dots and spaces at the end of a name.
func isBatch(path string) bool {
	ext := strings.ToLower(filepath.Ext(strings.TrimRight(path, ". ")))
	return ext == ".bat" || ext == ".cmd"
}

// unsafeInBatch are the characters that cmd.exe interprets even within quotes.
const unsafeInBatch = "\"%\r\n"

// prepareBatch makes a command run a batch file by cmd.exe. cmd.exe takes an argument apart by rules of its own, so that one
// could start another program. All arguments are quoted, and those that quotes do not protect are refused.
func prepareBatch(cmd *exec.Cmd) error {
	words := append([]string{cmd.Path}, cmd.Args[1:]...)
	for i, word := range words {
		if strings.ContainsAny(word, unsafeInBatch) {
			return xerrors.Errorf("%q can't be passed to a batch file: %w", word, errors.ErrUnsupported)
		}
		words[i] = quoteForBatch(word)
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

// quoteForBatch quotes a word. Backslashes at its end are doubled, by the rules of CommandLineToArgvW: a batch file passes its
// arguments on to programs, where a single backslash would protect the quote.
func quoteForBatch(word string) string {
	end := word[len(strings.TrimRight(word, `\`)):]
	return `"` + word + end + `"`
}

// startOp is the Op of an error of os.StartProcess.
const startOp = "fork/exec"

// startReason returns the reason why a command did not start, with the same identity as on other systems.
func startReason(err error) error {
	search, searched := errors.AsType[*exec.Error](err)
	start, started := errors.AsType[*os.PathError](err)
	switch {
	case !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, fs.ErrNotExist):
		return err
	case searched && isPath(search.Name) && exists(search.Name):
		// The system takes no file for a program whose name does not say so: see PATHEXT.
		return &exec.Error{Name: search.Name, Err: fs.ErrPermission}
	case searched:
		return notFoundError{err}
	case started && start.Op == startOp && !exists(start.Path):
		return notFoundError{err}
	}
	return err // Something else is missing.
}

// isPath reports whether a program's name is a path. Others are searched for.
func isPath(name string) bool { return strings.ContainsAny(name, `:/\`) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
