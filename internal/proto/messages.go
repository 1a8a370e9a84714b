package proto

import (
	"errors"
	"fmt"
)

// The messages, and the rules for their fields.

// Command is the command in a start message.
type Command struct {
	Command    string   `json:"command"`
	Args       []string `json:"args"`
	Stdin      *bool    `json:"stdin"`
	TTY        bool     `json:"tty"`
	Rows       uint16   `json:"rows"`
	Cols       uint16   `json:"cols"`
	UID        uint32   `json:"uid"`
	GID        uint32   `json:"gid"`
	Env        []string `json:"env"`
	WorkingDir string   `json:"working_dir"`
}

// Start asks the server to start a command.
type Start struct {
	ID      string  `json:"id"`
	Command Command `json:"command"`
	// Rows and Cols are where v0.2.4's browser client puts the size of the terminal.
	Rows uint16 `json:"rows,omitempty"`
	Cols uint16 `json:"cols,omitempty"`
	// Scrollback is how many lines that have scrolled off a session shows to this client.
	Scrollback uint32 `json:"scrollback,omitempty"`
	// Key is what the client resumes with. It is part of the resume extension.
	Key        *Key        `json:"key,omitempty"`
	Extensions *Extensions `json:"extensions,omitempty"`
}

// Size returns the size of the terminal: the command's, else the one beside it, else 24 by 80.
func (s Start) Size() (rows, cols uint16) {
	rows, cols = s.Command.Rows, s.Command.Cols
	if rows == 0 {
		rows = s.Rows
	}
	if cols == 0 {
		cols = s.Cols
	}
	if rows == 0 {
		rows = DefaultRows
	}
	if cols == 0 {
		cols = DefaultCols
	}
	return rows, cols
}

// WantsStdin reports whether the client may send stdin. v0.2.4's browser client never says so and types into terminals
// all the same, so a terminal's default is true.
func (s Start) WantsStdin() bool {
	if s.Command.Stdin == nil {
		return s.Command.TTY
	}
	return *s.Command.Stdin
}

// Extensions are what a client offers in start and a server takes in pid.
type Extensions struct {
	// Window is how many bytes of each stream the sender of this message takes before it has acknowledged any. 0 means
	// no flow control.
	Window int64 `json:"window,omitempty"`
	// MaxMessage is the size of the largest message that the sender of this message accepts. 0 means 64,000 bytes.
	MaxMessage int64 `json:"max_message,omitempty"`
	// Signal says that signal and close messages are understood.
	Signal bool `json:"signal,omitempty"`
	// Outcome says that start_error, and the fields of exit_code beyond v0.2.4's, are understood.
	Outcome bool `json:"outcome,omitempty"`
	// Echo says that the server answers echoes.
	Echo bool `json:"echo,omitempty"`
	// Resume is how many seconds the server waits for a client whose connection is lost: in a client's message the number
	// that it asks for, in a server's the number that it grants. It is in force only with Window and Outcome.
	Resume int64 `json:"resume,omitempty"`
	// Session says that pid tells whether a session was created or found.
	Session bool `json:"session,omitempty"`
	// Keep is for how many seconds after its exit a command without a terminal is remembered: in a client's message the number
	// that it asks for, in a server's the number that it grants.
	Keep int64 `json:"keep,omitempty"`
	// Reuse says that the connection may carry another conversation after this one. It is in force only with Window and Outcome.
	Reuse bool `json:"reuse,omitempty"`
	// ZeroMask says that the client may mask its large stdin messages with zero.
	ZeroMask bool `json:"zero_mask,omitempty"`
}

func (s Start) validate() error { return s.Extensions.validate() }

func (p Pid) validate() error { return p.Extensions.validate() }

func (r Resume) validate() error {
	if r.Key == (Key{}) {
		return errors.New("no key")
	}
	if err := validCounts(r.Stdout, r.Stderr, r.Attempt); err != nil {
		return err
	}
	return r.Extensions.validate()
}

func (r Resumed) validate() error {
	if err := validCounts(r.Stdin, r.Seq); err != nil {
		return err
	}
	return r.Extensions.validate()
}

func (c CloseStdin) validate() error { return validCounts(c.Seq) }

func (r Resize) validate() error { return validCounts(r.Seq) }

func (s Signal) validate() error { return validCounts(s.Seq) }

func (c Close) validate() error { return validCounts(c.Seq) }

// maxCount is the largest number that JSON's numbers carry exactly in every language.
const maxCount = 1<<53 - 1

// validCounts returns an error unless all are offsets or numbers of requests.
func validCounts(counts ...int64) error {
	for _, n := range counts {
		if n < 0 || n > maxCount {
			return fmt.Errorf("%d, must be from 0 to %d", n, int64(maxCount))
		}
	}
	return nil
}

func (e *Extensions) validate() error {
	if e == nil {
		return nil
	}
	if e.Window < 0 || (e.Window > 0 && e.Window < 4096) {
		return fmt.Errorf("window of %d bytes, must be at least 4096", e.Window)
	}
	if e.MaxMessage < 0 || (e.MaxMessage > 0 && e.MaxMessage < MaxMessage) {
		return fmt.Errorf("max_message of %d bytes, must be at least %d", e.MaxMessage, MaxMessage)
	}
	if e.Resume < 0 {
		return fmt.Errorf("resume for %d seconds", e.Resume)
	}
	if e.Keep < 0 {
		return fmt.Errorf("keep for %d seconds", e.Keep)
	}
	return nil
}

// Resize carries a new size of the terminal.
type Resize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
	Seq  int64  `json:"seq,omitempty"`
}

// Ack says how many bytes of each stream have been consumed, counted from the start of the process. A client
// acknowledges stdout and stderr, a server stdin. A stream that is left out is unchanged.
type Ack struct {
	Stdin  int64 `json:"stdin,omitempty"`
	Stdout int64 `json:"stdout,omitempty"`
	Stderr int64 `json:"stderr,omitempty"`
	// Seq is the number of the last request that the server has taken.
	Seq int64 `json:"seq,omitempty"`
}

// Echo asks the server whether it is there. The answer is the same message.
type Echo struct {
	N int64 `json:"n"`
}

// Skipped says how many bytes of each output the client does not get in all, because they are no longer kept. It is part of the
// keep extension.
type Skipped struct {
	Stdout int64 `json:"stdout,omitempty"`
	Stderr int64 `json:"stderr,omitempty"`
}

func (s Skipped) validate() error { return validCounts(s.Stdout, s.Stderr) }

// Signal carries a signal to the process's group: its POSIX name without SIG.
type Signal struct {
	Signal string `json:"signal"`
	Seq    int64  `json:"seq,omitempty"`
}

// Pid is the first answer to start.
type Pid struct {
	Pid int `json:"pid"`
	// Session says where the process's session comes from. It is empty if there is none, and without the session extension.
	Session Session `json:"session,omitempty"`
	// Server is the server's mark on the connection, if the connection may carry another conversation.
	Server     string      `json:"server,omitempty"`
	Extensions *Extensions `json:"extensions,omitempty"`
}

// Session says where a session comes from. Unknown values count as none.
type Session string

// The values of Session.
const (
	SessionCreated Session = "created"
	SessionFound   Session = "found"
)

// ExitCode is the last message: how the process ended. Signal, Kind and Pending are part of the outcome extension.
type ExitCode struct {
	ExitCode int    `json:"exit_code"`
	Error    string `json:"error"`
	// Signal that ended the process: its POSIX name without SIG.
	Signal string `json:"signal,omitempty"`
	// Kind is set when the outcome is no exit code but an error: its kind, see README.md.
	Kind string `json:"kind,omitempty"`
	// Pending says that output is still to come, behind a window or from a process that inherited it. End is then the
	// last message. It takes the window extension too.
	Pending bool `json:"pending,omitempty"`
}

// End is the last message after an exit message that was not.
type End struct{}

// Done says that the client wants no more of the conversation. The connection is free for the next one. It is part of the reuse
// extension.
type Done struct{}

// StartError says why the command did not start. It takes pid's place and ends the conversation.
type StartError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}

// CloseStdin says that stdin has no more bytes.
type CloseStdin struct {
	Seq int64 `json:"seq,omitempty"`
}

// Close asks the server to end the process as Process.Close does.
type Close struct {
	Seq int64 `json:"seq,omitempty"`
}

// Resume is the first message on a connection that takes up a conversation. Stdout and Stderr are how many bytes of each
// the client has received.
type Resume struct {
	Key    Key   `json:"key"`
	Stdout int64 `json:"stdout"`
	Stderr int64 `json:"stderr"`
	// Server is the mark that the server gave the client with the connection for start. A client that has received pid, or was
	// given none, leaves it out.
	Server string `json:"server,omitempty"`
	// Attempt is higher than in every earlier message for the conversation. 0 says nothing.
	Attempt    int64       `json:"attempt,omitempty"`
	Extensions *Extensions `json:"extensions,omitempty"`
}

// Resumed is the answer to Resume. Stdin is how many bytes the server has received, Seq the number of the last request
// that it has taken.
type Resumed struct {
	Pid        int         `json:"pid"`
	Session    Session     `json:"session,omitempty"`
	Stdin      int64       `json:"stdin"`
	Seq        int64       `json:"seq"`
	Server     string      `json:"server,omitempty"` // as in Pid
	Extensions *Extensions `json:"extensions,omitempty"`
}

// ResumeError says why a conversation can't go on. It takes Resumed's place and ends the connection.
type ResumeError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	// Never says that no command was started under the key, and that none will be.
	Never bool `json:"never,omitempty"`
}

// The kinds of ResumeError.
const (
	ResumeUnknown    = "unknown"
	ResumeTaken      = "taken"
	ResumePermission = "permission"
	ResumeBusy       = "busy"
	ResumeGap        = "gap"
)

// Ask asks about sessions. It is the first message on its connection, and there is no command.
type Ask struct {
	Question string `json:"question"`
	ID       string `json:"id,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Signal   string `json:"signal,omitempty"`
}

// The questions of Ask.
const (
	AskList   = "list"
	AskWait   = "wait"
	AskClose  = "close"
	AskSignal = "signal"
)

// Asked says at once that the server takes questions. The answer follows.
type Asked struct{}

// Sessions is a part of the answer to AskList.
type Sessions struct {
	Sessions []SessionItem `json:"sessions"`
	// More says that another part follows.
	More bool `json:"more,omitempty"`
}

// SessionItem describes a session in a list.
type SessionItem struct {
	ID         string   `json:"id"`
	Command    string   `json:"command"`
	Args       []string `json:"args"`
	TTY        bool     `json:"tty"`
	WorkingDir string   `json:"working_dir"`
	Age        int64    `json:"age"` // how many microseconds ago it was started
	Clients    int64    `json:"clients"`
	State      string   `json:"state"`
	LastLine   string   `json:"last_line"`
	// Stdout and Stderr are how many bytes a command without a terminal has written.
	Stdout int64 `json:"stdout"`
	Stderr int64 `json:"stderr"`
	// Exit is how the command has exited. It is nil while State is another than SessionExited.
	Exit *Exit `json:"exit,omitempty"`
}

// Exit has the fields of ExitCode that tell how a command has exited.
type Exit struct {
	ExitCode int    `json:"exit_code"`
	Error    string `json:"error"`
	Signal   string `json:"signal"`
	Kind     string `json:"kind"`
}

// The values of SessionItem.State.
const (
	SessionStarting = "starting"
	SessionRunning  = "running"
	SessionExited   = "exited"
	SessionClosing  = "closing"
)

func (s Sessions) validate() error {
	for _, session := range s.Sessions {
		if err := validCounts(session.Age, session.Clients, session.Stdout, session.Stderr); err != nil {
			return err
		}
	}
	return nil
}

// AskError says why a question has no answer. It takes the answer's place.
type AskError struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
}
