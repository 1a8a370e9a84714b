package execertest

import (
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

var fileActions = map[string]action{
	"outDir": func(*helper, step) error {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		return write(os.Stdout, filepath.ToSlash(dir)+"\n")
	},
	"makeTempDir": (*helper).makeTempDir,
	"makeDir":     func(h *helper, _ step) error { return os.Mkdir(h.args[0], 0o700) },
	"remove":      func(h *helper, _ step) error { return removeAll(h.args[0]) },
	"touch":       func(h *helper, _ step) error { return os.WriteFile(h.args[0], nil, 0o600) },
	"list":        func(h *helper, _ step) error { return listDir(h.args[0]) },
	"makeBig":     func(h *helper, _ step) error { return makeRandom(h.args[0], h.args[1]) },
	"catFile": func(h *helper, _ step) error {
		f, err := os.Open(h.args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(os.Stdout, f)
		return err
	},
	"makeBadPrograms": func(h *helper, _ step) error { return writeBadPrograms(h.dir) },
	"atGate": func(h *helper, s step) error {
		awaitGate(h.arg(s, 0))
		return nil
	},
	"awaitStalled": func(h *helper, _ step) error { return awaitNoGrowth(h.args[0]) },
}

func (h *helper) makeTempDir(step) error {
	dir, err := os.MkdirTemp("", "execertest")
	if err != nil {
		return err
	}
	if h.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	return write(os.Stdout, filepath.ToSlash(h.dir)+"\n")
}

func listDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = write(os.Stdout, entry.Name()+"\n")
	}
	return err
}

func makeRandom(path, size string) error {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.Reader, n); err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return writeSum(f)
}

func writeBadPrograms(dir string) error {
	garbage := filepath.Join(dir, "garbage")
	if runtime.GOOS == "windows" {
		garbage += ".exe"
	}
	if err := os.WriteFile(garbage, []byte("no\x00program"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "script"), []byte("#!/bin/sh\n"), 0o644)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func awaitGate(file string) {
	for start := time.Now(); exists(filepath.Dir(file)) && !exists(file) && time.Since(start) < maxRun; {
		time.Sleep(10 * time.Millisecond)
	}
}

// awaitNoGrowth waits until a file does not grow for half a second.
func awaitNoGrowth(path string) error {
	for last := int64(-1); ; time.Sleep(500 * time.Millisecond) {
		info, err := os.Stat(path)
		switch {
		case os.IsNotExist(err):
			continue
		case err != nil:
			return err
		case info.Size() == last:
			return nil
		}
		last = info.Size()
	}
}

// grow appends to a file.
func grow(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(f, "\n")
}

// removeAll removes a directory. Windows keeps the files of a process for a moment after its end. Wine 8 keeps them for longer, and
// there they stay.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}
