// Command wsep-keeper is the program of a keeper for servers whose own main does not call keeper.Main. A keeper.Execer starts it.
// Put it into a folder of PATH:
//
//	go install cdr.dev/wsep/cmd/wsep-keeper
package main

import (
	"fmt"
	"os"

	"cdr.dev/wsep/keeper"
)

func main() {
	keeper.Main()
	fmt.Fprintln(os.Stderr, "wsep-keeper: it is started by the servers whose commands it keeps, and by nobody else")
	os.Exit(2)
}
