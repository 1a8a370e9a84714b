// Package wsep runs commands over WebSockets: SSH without the encryption layer, which is TLS's job.
//
// An [Execer] starts a [Command] and returns a [Process]. [LocalExecer] runs commands on this machine, [RemoteExecer] over a
// WebSocket, [Dialer] over a WebSocket for each command. At the other end of the WebSocket a [Handler], or a [Server],
// passes the command on to any Execer: to a LocalExecer, or to another Dialer, so that servers chain. Package sshexec has
// an Execer for SSH hosts, and package keeper one whose commands outlive their server. [Run] and [Output] run a command from
// start to end in one call.
//
// # Words
//
// One word stands for one thing, in names, comments and documents:
//
//   - A process exits. Its exit is an exit code or a signal.
//   - An output ends. Its end is [io.EOF], and only that.
//   - A connection is lost, or one end closes it.
//   - A command is killed when SIGKILL ends it. It is ended when it was first asked to exit, and then killed.
//   - A conversation is what client and server say about one command, from start to the last message. It is over after that.
//   - A client attaches to a session, and detaches. A session is done when nothing of its command is left.
//   - A start fails: then nothing runs.
//
// # Lifetimes
//
// The context given to Start governs the process. When it ends, the process is ended: its whole process group gets SIGTERM
// and, after a short grace, SIGKILL. The same happens when the connection is lost, and not replaced in time. [Process.Close]
// asks for it too. [Process.Wait] tells how the process exited:
//
//   - nil: exit code 0;
//   - an [ExitError]: another exit code, or a signal;
//   - an error that matches [ErrDisconnected]: a connection was lost, so nobody knows;
//   - any other error: what the Execer at the far end said.
//
// A failed start is a [StartError]. None of these is ever taken for another, through however many hops.
//
// # Streams
//
// Stdin, stdout and stderr flow independently. Between two peers of this version each has a window of 2 MiB: a stream that
// nobody reads holds up the program, as a full pipe does, and nothing else. A peer of wsep v0.2.4 has no flow control.
// Towards such a peer a stream that nobody reads holds up the others once the buffers, also 2 MiB each, are full.
//
// # Sessions
//
// A command with a [Command.ID] in a terminal is a session. It outlives its clients. A client that attaches gets a drawing of the
// screen, with [Command.Scrollback] lines that have scrolled off, and then the command's output. [Options.Sessions] says what keeps
// the terminal: the server itself, or GNU screen on the command's machine. [Sessioner] tells a client whether its session is new.
//
// The wire is specified in internal/proto/README.md of this module. ARCHITECTURE.md says where things are.
package wsep
