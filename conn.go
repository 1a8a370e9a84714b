package wsep

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"nhooyr.io/websocket"

	"cdr.dev/wsep/internal/wsconn"
)

// Conn is the message connection that wsep speaks over: one WebSocket, or anything that carries messages as one does.
// It is made of standard types only, so that other packages' connections satisfy it without importing this one.
//
// One goroutine reads at a time. All other methods are safe for concurrent use, with each other and with a read.
//
// When the peer has closed the connection with a close frame, the error of Reader, or of reading the message, has in
// its chain an error with a method CloseStatus() (code int, reason string).
type Conn interface {
	// Reader waits for the next message and returns its bytes, whether text or binary. The reader is valid until it
	// returns an error, io.EOF at the message's end, and must be read until then before Reader is called again. If the
	// context ends the connection is closed. Pings are answered while Reader or its result is being read.
	Reader(ctx context.Context) (io.Reader, error)
	// Write sends p as one binary message. It does not keep p. If the context ends before p is written, the connection
	// is closed, because the peer could not make sense of what followed.
	Write(ctx context.Context, p []byte) error
	// Ping sends a ping and waits for its pong, for which somebody must be reading.
	Ping(ctx context.Context) error
	// SetReadLimit bounds the size of a message in bytes. A larger one closes the connection with status 1009.
	SetReadLimit(n int64)
	// Close sends a close frame with the code and a reason of at most 123 bytes, waits a few seconds for the peer's,
	// and closes the connection. Everything that waits on the connection returns.
	Close(code int, reason string) error
	// CloseNow closes the connection without a word.
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
	statusTryAgainLater = 1013
)

// maxCloseReason is what a close frame has room for: 125 bytes of payload less two of code (RFC 6455 section 5.5).
const maxCloseReason = 123

// CloseStatus returns the code and the reason with which to close the WebSocket after Serve returned err, nil
// included. The reason is the error's text, cut to what fits a close frame.
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
		// Whoever waits for its command's start takes any other code for the news that there was none.
		return statusGoingAway
	}
	return statusInternalError
}

// peerClose returns how the peer closed the connection, if err says that it did.
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

// cutString shortens s to at most n bytes of valid UTF-8, as a close frame's reason must be.
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
