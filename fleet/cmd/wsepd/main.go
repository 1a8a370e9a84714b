// Command wsepd is a node of a fleet, a gateway to it, or both. See README.md of the module, and --help.
package main

import (
	"os"

	"cdr.dev/wsep/fleet/internal/daemon"
	"cdr.dev/wsep/keeper"
)

func main() {
	keeper.Main() // The node's commands live in a keeper.
	os.Exit(daemon.Main(os.Args[1:], os.Stdout, os.Stderr))
}
