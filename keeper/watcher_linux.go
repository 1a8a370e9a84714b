package keeper

import (
	"bytes"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/xerrors"
)

// leaveInherited makes the descriptors that this process was given end with it, except the first four.
func leaveInherited() {
	const first = readyFD + 1
	if unix.CloseRange(first, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}

// watch is the life of a keeper's parent. It becomes the parent of everything that the keeper leaves behind, and kills that if
// the keeper did not end by itself. If the watcher is killed, the keeper ends.
func (s settings) watch() error {
	runtime.LockOSThread() // The keeper gets its signal when the thread that has started it ends.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return xerrors.Errorf("become a subreaper: %w", err)
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, endSignals...)
	keeper, err := s.become(roleKeeper, &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM})
	if err != nil {
		return err
	}
	_ = answerFile.Close()
	pid := keeper.Pid
	go func() { // Ends with the process.
		for range ends {
			_ = unix.Kill(pid, unix.SIGTERM)
		}
	}()
	if !awaitChild(pid) {
		killChildren()
	}
	return nil
}

// awaitChild waits for a child, and reports whether it exited with 0. It reaps all other children.
func awaitChild(pid int) bool {
	for {
		var status unix.WaitStatus
		child, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return false
		case child == pid:
			return status.Exited() && status.ExitStatus() == 0
		}
	}
}

const (
	// killTimeout bounds the killing: a process in the kernel, or of another user, may not go.
	killTimeout = 10 * time.Second
	killPause   = 5 * time.Millisecond
)

// killChildren kills this process's children until none is left. The children of one that is killed become this process's.
func killChildren() {
	for began := time.Now(); time.Since(began) < killTimeout; time.Sleep(killPause) {
		for _, pid := range children() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		for {
			pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
			if errors.Is(err, unix.ECHILD) {
				return
			}
			if pid <= 0 {
				break
			}
		}
	}
}

// children returns this process's children.
func children() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && parent(pid) == os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// parent returns a process's parent, or 0. See proc_pid_stat(5): the fields behind the name are the state and the parent.
func parent(pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(string(fields[1]))
	return ppid
}
