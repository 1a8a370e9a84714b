// Command client runs one command through a wsep server, and exits as the command does.
//
//	go run ./dev/client notty -- ls -la
//	go run ./dev/client tty -- bash
//	go run ./dev/client notty --embedded -- uname -a
//
// The first two need dev/server to run. See --help.
package main

import (
	"os"

	"cdr.dev/wsep/internal/cli/client"
)

func main() { os.Exit(client.Main(os.Args[1:])) }
