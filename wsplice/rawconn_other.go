//go:build !unix

package wsplice

import "net"

// rawConn does not exist on this system: newRawConn returns nil.
type rawConn struct{}

func newRawConn(net.Conn) *rawConn { return nil }

func (*rawConn) readInto(readBuffer, bool) (int, error) { panic("unreachable") }
func (*rawConn) writeNow([][]byte) (int, error)         { panic("unreachable") }
func (*rawConn) writeSome([][]byte) (int, error)        { panic("unreachable") }

func hungUp(net.Conn) bool { return false }
