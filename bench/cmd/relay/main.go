// Command relay passes bytes between its clients and one address, and does nothing else. No program between two others can be
// faster.
package main

import (
	"fmt"
	"log"
	"net"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: relay ADDRESS")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		remote, err := net.Dial("tcp", os.Args[1])
		if err != nil {
			log.Fatal(err)
		}
		// Each ends when one of its connections ends, at the latest with the process.
		go pass(client, remote)
		go pass(remote, client)
	}
}

// pass passes on all bytes, until one of the connections ends.
func pass(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
