// Command ssh measures OpenSSH: a server on a loopback port, and a client process for each command. Their configuration is in
// a temporary directory. Outside of it the command only creates /run/sshd, which sshd demands of root.
package main

import (
	"cdr.dev/wsep/bench/load"
)

func main() {
	load.Program{Server: serve, Connect: connect}.Main()
}
