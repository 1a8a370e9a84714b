// Package wsep runs commands over WebSockets: SSH without the encryption layer, which is TLS's job.
//
// An [Execer] starts a [Command] and returns a [Process]. [LocalExecer] does so on this machine, [RemoteExecer] over a
// WebSocket, [Dialer] over a new WebSocket for each command. At the other end of the WebSocket a [Server], or a [Handler],
// passes the command on to any Execer: to a LocalExecer, or to another Dialer, so that servers chain. Package sshexec has
// an Execer for SSH hosts.
//
// # Lifetimes
//
// The context given to Start governs the process. When it ends, the process ends: its whole process group gets SIGTERM
// and, after a short grace, SIGKILL. So it does when the connection is lost, at each hop of a chain. [Process.Close] asks
// for the same without touching the context, and [Process.Wait] tells how it ended:
//
//   - nil: exit code 0;
//   - an [ExitError]: another exit code, or a signal;
//   - an error that matches [ErrDisconnected]: a connection failed, so nobody knows;
//   - any other error: what the Execer at the far end said.
//
// A command that does not start is a [StartError]. None of these is ever taken for another, through however many hops.
//
// # Streams
//
// Stdin, stdout and stderr flow independently, each with a window of 2 MiB between two peers of this version: one that
// nobody reads holds up the program, as a full pipe does, and nothing else. A peer of wsep v0.2.4 has no flow control.
// Towards such a peer a stream that nobody reads holds up the others once the buffers, also 2 MiB each, are full.
//
// The wire is specified in internal/proto/README.md of this module.
package wsep
