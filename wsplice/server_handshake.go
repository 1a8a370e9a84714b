package wsplice

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/xerrors"
)

// The server's side of the opening handshake (RFC 6455 section 4.2).

var errHandshake = xerrors.New("not a WebSocket's handshake")

const (
	websocketVersion = "13" // RFC 6455 section 4.1
	keySize          = 24   // of Sec-WebSocket-Key, which is 16 bytes in base64
)

// isHandshake reports whether a request can become a WebSocket. It is called while net/http still has the connection,
// so that a refused request can be answered.
func isHandshake(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.Host != "" &&
		strings.EqualFold(r.Header.Get("Upgrade"), "websocket") &&
		hasToken(r.Header.Get("Connection"), "upgrade") &&
		r.Header.Get("Sec-WebSocket-Version") == websocketVersion &&
		len(r.Header.Get("Sec-WebSocket-Key")) == keySize
}

// hasToken reports whether a list of tokens has one, in upper or lower case.
func hasToken(list, token string) bool {
	for word := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(word), token) {
			return true
		}
	}
	return false
}

// refuse answers a request that is not served, and has the connection closed. An idle connection is not a client, so
// MaxClients would not bound it.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Connection", "close")
	w.Header().Set("Sec-WebSocket-Version", websocketVersion) // RFC 6455 section 4.4
	http.Error(w, http.StatusText(status), status)
}

// smallBuffer is the size of the buffers that net/http keeps for a hijacked connection, in bytes.
const smallBuffer = 512

// upgrade makes a WebSocket of a request. It returns the bytes that have been read already. The answer has none of the
// request's headers. When it fails after the hijack, it closes the connection.
func upgrade(w http.ResponseWriter, r *http.Request) (net.Conn, []byte, error) {
	conn, rw, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return nil, nil, err
	}
	early := make([]byte, rw.Reader.Buffered())
	_, _ = rw.Reader.Read(early)
	// They are replaced in place, because the goroutine of the request keeps them as long as the connection is open.
	*rw.Reader = *bufio.NewReaderSize(conn, smallBuffer)
	*rw.Writer = *bufio.NewWriterSize(conn, smallBuffer)
	_ = conn.SetDeadline(time.Time{})
	return conn, early, nil
}
