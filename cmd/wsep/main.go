// Command wsep serves commands over WebSockets, runs them, and looks after their sessions.
//
//	go run ./cmd/wsep serve
//	go run ./cmd/wsep exec -it -- bash
//
// See --help.
package main

import (
	"os"

	"cdr.dev/wsep/internal/cli/tool"
	"cdr.dev/wsep/keeper"
)

func main() {
	keeper.Main() // For serve --keep.
	os.Exit(tool.Main(os.Args[1:], os.Stdout, os.Stderr))
}
