package wsep

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// killTerminal kills all processes in the process's terminal, also those in other process groups. The process has been asked
// to exit.
func (p *localProcess) killTerminal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	pid := p.Pid()
	if p.tty == nil || p.reaped && syscall.Kill(pid, 0) == nil {
		return // The number is in use again, and so no process is left that had it as its session.
	}
	for _, member := range terminals.members(pid) {
		_ = syscall.Kill(member, syscall.SIGKILL)
	}
}

// terminals finds the processes of terminals. Those that ask at the same time share a look at all processes.
var terminals processTable

// A processTable knows the processes of this machine by their POSIX session.
type processTable struct {
	mu   sync.Mutex // held during a look
	next struct {
		sync.Mutex // guards what follows
		look       *look
	}
}

// A look is what was found by one look at all processes.
type look struct {
	once     sync.Once
	sessions map[int][]int
}

// members returns the processes of a session. It finds all that have started before the call.
func (t *processTable) members(session int) []int {
	t.next.Lock()
	l := t.next.look
	if l == nil {
		l = new(look)
		t.next.look = l
	}
	t.next.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	l.once.Do(func() {
		t.next.Lock()
		t.next.look = nil // Who asks from here on may want to find a newer process.
		t.next.Unlock()
		l.sessions = processesBySession()
	})
	return l.sessions[session]
}

// processesBySession looks at all processes that this process can see.
func processesBySession() map[int][]int {
	found := make(map[int][]int)
	proc, err := os.Open("/proc")
	if err != nil {
		return found
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if session, ok := sessionOf(name); ok {
			found[session] = append(found[session], pid)
		}
	}
	return found
}

// sessionOf returns the POSIX session of a process: field 6 of proc_pid_stat(5).
func sessionOf(pid string) (int, bool) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // From the state on.
	if len(fields) < 4 {
		return 0, false
	}
	session, err := strconv.Atoi(string(fields[3]))
	return session, err == nil
}
