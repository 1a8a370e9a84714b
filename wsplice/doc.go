// Package wsplice carries many WebSockets through one. A [Client] opens one WebSocket to a [Server], and through it a
// [Channel] to each remote that it wants. The Server dials the remotes, and passes messages on both ways.
//
// A Channel is a connection that carries messages: package wsep runs a command over one. A Server dials only what its
// [Allowlist] lists.
//
// README.md beside this package specifies the wire. It is that of wsplice 0.1.0, and peers of that version work.
package wsplice
