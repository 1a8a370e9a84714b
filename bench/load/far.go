package load

import (
	"net"
	"strings"
	"time"
)

// Trip is the round trip of a connection that Far has made longer.
const Trip = 50 * time.Millisecond

// Far returns a URL that leads to the same server, over connections with a round trip of Trip. Only bytes take long: a connection
// is made at once. It serves until the program ends.
func Far(url string) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := strings.TrimPrefix(url, "http://")
	// Ends with the program, as its goroutines do when nothing closes their connections before.
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			// Each ends when one of the connections ends.
			go delay(far, near)
			go delay(near, far)
		}
	}()
	return "http://" + listener.Addr().String(), nil
}

// late is bytes, and when they arrive.
type late struct {
	bytes []byte
	at    time.Time
}

// delay passes bytes on after half of Trip. It ends with one of the connections.
func delay(to, from net.Conn) {
	under := make(chan late, 1<<10)
	// Ends when everything under way has arrived.
	go func() {
		defer to.Close()
		for l := range under {
			time.Sleep(time.Until(l.at))
			if _, err := to.Write(l.bytes); err != nil {
				_ = from.Close()
			}
		}
	}()
	defer close(under)
	for {
		buf := make([]byte, 4<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		under <- late{buf[:n], time.Now().Add(Trip / 2)}
	}
}
