// Command splicing measures a relay between a TCP connection and the pipes of a command. It moves the bytes by splice(2), so they
// never enter its memory. It has no messages, no flow control and no second try: no server of commands can do less.
package main

import "cdr.dev/wsep/bench/load"

func main() {
	load.Program{Server: func() error { return load.Serve(relay{}) }, Connect: connect}.Main()
}
