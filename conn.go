package wsep

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"cdr.dev/wsep/internal/wsconn"
)

// Conn is a connection that carries messages: one WebSocket, or anything like it. Its methods have standard types only, so
// that connections of other packages satisfy it without an import of this one.
//
// One goroutine reads at a time. All other methods are safe for concurrent use, with each other and with a read.
//
// When the peer has closed the connection with a close frame, reads fail. The error's chain then has an error with a method
// CloseStatus() (code int, reason string).
type Conn interface {
	// Reader waits for the next message, text or binary, and returns its bytes. They must be read to the end, which is
	// [io.EOF], or to another error, before Reader is called again. If the context ends, the connection is closed. Pings are
	// answered while Reader, or a Read of its result, waits.
	Reader(ctx context.Context) (io.Reader, error)
	// Write sends p as one binary message. It does not keep p. If the context ends before p is written, the connection is
	// closed: after a part of a message nothing else can follow.
	Write(ctx context.Context, p []byte) error
	// Ping sends a ping and waits for its pong. The pong arrives only while another goroutine reads.
	Ping(ctx context.Context) error
	// SetReadLimit bounds the size of a message in bytes. A larger one closes the connection with status 1009.
	SetReadLimit(n int64)
	// Close sends a close frame with the code and a reason of at most 123 bytes. It waits a few seconds for the peer's
	// close frame, and closes the connection. All waits on the connection then return.
	Close(code int, reason string) error
	// CloseNow closes the connection without a close frame.
	CloseNow() error
}

// WebSocket close codes that wsep uses, from RFC 6455 section 7.4.1 and the IANA registry of close codes.
const (
	statusNormal        = 1000
	statusGoingAway     = 1001
	statusProtocolError = 1002
	statusPolicy        = 1008
	statusTooBig        = 1009
	statusInternalError = 1011
	statusRestart       = 1012
	statusTryAgainLater = 1013
	statusBadGateway    = 1014
)

// maxCloseReason is what a close frame has room for: 125 bytes of payload less two of code (RFC 6455 section 5.5).
const maxCloseReason = 123

// CloseStatus returns the code and the reason with which to close a connection after [Server.Serve] has returned err, which
// may be nil. The reason is the error's text, cut to the 123 bytes that fit a close frame.
func CloseStatus(err error) (code int, reason string) {
	if err == nil {
		return statusNormal, ""
	}
	return closeCode(err), cutString(err.Error(), maxCloseReason)
}

func closeCode(err error) int {
	var coded interface{ closeCode() int }
	switch {
	case errors.As(err, &coded):
		return coded.closeCode()
	case errors.Is(err, ErrBusy):
		return statusTryAgainLater
	case errors.Is(err, context.Canceled), errors.Is(err, ErrDisconnected):
		// A client that waits for its command's start takes any other code for a failed start.
		return statusGoingAway
	}
	return statusInternalError
}

// peerClose returns the code and the reason of the peer's close frame. ok says whether err tells of one.
func peerClose(err error) (code int, reason string, ok bool) {
	var closed interface {
		CloseStatus() (code int, reason string)
	}
	if !errors.As(err, &closed) {
		return 0, "", false
	}
	code, reason = closed.CloseStatus()
	return code, reason, true
}

// cutString shortens s to at most n bytes of valid UTF-8.
func cutString(s string, n int) string {
	s = toValidUTF8(s)
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

func websocketConn(c *websocket.Conn) Conn { return wsconn.Nhooyr(c) }
