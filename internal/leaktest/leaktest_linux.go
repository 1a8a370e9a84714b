package leaktest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// marker is a variable that all descendants of the tests inherit, also orphans.
var marker = "WSEP_LEAKTEST=" + strconv.Itoa(os.Getpid())

func mark() {
	name, value, _ := strings.Cut(marker, "=")
	_ = os.Setenv(name, value)
	// The runtime opens descriptors of its own when it polls its first file, such as a pipe.
	if r, w, err := os.Pipe(); err == nil {
		_, _ = r.Close(), w.Close()
	}
}

// descriptors returns the open descriptors.
func descriptors() map[string]string {
	const dir = "/proc/self/fd"
	found := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || strings.HasSuffix(target, "/fd") {
			continue // It is the descriptor that reads the directory.
		}
		text := e.Name() + " " + target
		found[text] = text
	}
	return found
}

// processes returns the children, zombies included, and all other processes with the mark.
func processes() map[string]string {
	self := os.Getpid()
	found := map[string]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == self {
			continue
		}
		state, parent := status(dir)
		if parent != self && !marked(dir) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found[strconv.Itoa(pid)] = strconv.Itoa(pid) + " " + state + " " +
			string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
	}
	return found
}

// status returns a process's state and its parent, from proc_pid_stat(5).
func status(dir string) (state string, parent int) {
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	// The name, in parentheses, may contain anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(fields[1])
	return fields[0], parent
}

func marked(dir string) bool {
	env, _ := os.ReadFile(filepath.Join(dir, "environ"))
	for variable := range bytes.SplitSeq(env, []byte{0}) {
		if string(variable) == marker {
			return true
		}
	}
	return false
}
