// Command server runs its clients' commands on this machine or an SSH host.
//
//	go run ./dev/server
//	go run ./dev/server --ssh user@host
//	go run ./dev/server --keep ~/.wsep
//
// See --help, and try it with dev/client.
package main

import (
	"os"

	"cdr.dev/wsep/internal/cli/servercmd"
	"cdr.dev/wsep/keeper"
)

func main() {
	keeper.Main() // For --keep.
	os.Exit(servercmd.Main(os.Args[1:], os.Stdout, os.Stderr))
}
