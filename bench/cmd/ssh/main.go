// Command ssh measures OpenSSH: a server with a configuration of its own on a loopback port, and a client process for
// each command. It touches no file outside a temporary directory, save /run/sshd, which sshd demands of root.
package main

import (
	"cdr.dev/wsep/bench/load"
)

func main() {
	load.Program{Server: serve, Connect: connect}.Main()
}
