// Package fleet puts many wsep servers behind one name.
//
// A live command is state of one machine's kernel. So a fleet does not copy sessions. It places them, remembers where they are, and
// brings clients there. README.md of this package says how, and what a fleet promises.
//
// # Words
//
//   - A node runs commands. It has a name, and no two nodes of a fleet have the same one at a time.
//   - An incarnation of a node is the time in which its sessions can live: it survives a restart of the node's program, and ends
//     when the machine boots.
//   - A gateway serves clients. It has no state that must last.
//   - An [ID] is a session's for ever. It says where the session is.
//   - A name is what a client calls its session. A claim says which ID a name belongs to.
//   - The registry is what the fleet agrees on: which nodes there are, and which names are claimed.
//   - A node is lost when its record in the registry has expired. Its sessions may live.
package fleet
