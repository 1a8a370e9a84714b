package wsplice

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"
)

// Clients that are driven by a test. A peer uses gorilla/websocket, a rawPeer sends any bytes.

// peer is a client of gorilla/websocket.
type peer struct {
	t *testing.T
	*websocket.Conn
}

func connectPeer(t *testing.T, url string) *peer {
	t.Helper()
	return (&tested{url: url}).connectPeer(t)
}

func (s *tested) connectPeer(t *testing.T) *peer {
	t.Helper()
	dialer := websocket.Dialer{TLSClientConfig: s.tls}
	c, resp, err := dialer.DialContext(t.Context(), s.url, nil)
	require.NoError(t, err)
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = c.Close() })
	return &peer{t, c}
}

// send sends a message with an index.
func (p *peer) send(index int, kind int, message string) {
	p.t.Helper()
	b := append(binary.BigEndian.AppendUint16(nil, uint16(index)), message...)
	require.NoError(p.t, p.WriteMessage(kind, b))
}

func (p *peer) command(text string) {
	p.t.Helper()
	p.send(controlIndex, websocket.TextMessage, text)
}

// receive returns the next message, and its index.
func (p *peer) receive() (index int, kind int, message string) {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(testTimeout)))
	kind, b, err := p.ReadMessage()
	require.NoError(p.t, err)
	require.GreaterOrEqual(p.t, len(b), indexSize)
	return int(binary.BigEndian.Uint16(b)), kind, string(b[indexSize:])
}

// expect waits for a message.
func (p *peer) expect(index int, message string) {
	p.t.Helper()
	i, _, m := p.receive()
	require.Equal(p.t, index, i, "message %q", m)
	require.Equal(p.t, message, m)
}

// expectControl waits for a control message.
func (p *peer) expectControl(message string) {
	p.t.Helper()
	i, kind, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	require.Equal(p.t, websocket.TextMessage, kind)
	require.JSONEq(p.t, message, m)
}

// expectError waits for a reply or a warning with an error of the code.
func (p *peer) expectError(code int) Error {
	p.t.Helper()
	i, _, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	var answer struct {
		Type   string
		Method string
		Error  *Error
		Params *Error
	}
	require.NoError(p.t, json.Unmarshal([]byte(m), &answer))
	e := answer.Error
	if answer.Type == typeMethod && answer.Method == methodWarn {
		e = answer.Params
	}
	require.NotNil(p.t, e, "message %q", m)
	require.Equal(p.t, code, e.Code, "message %q", m)
	return *e
}

// connect connects to a URL and returns the index.
func (p *peer) connect(url string) int {
	p.t.Helper()
	p.command(`{"id":7,"type":"method","method":"connect","params":{"url":"` + url + `"}}`)
	i, _, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	var answer struct {
		ID     int
		Result *struct{ Index int }
	}
	require.NoError(p.t, json.Unmarshal([]byte(m), &answer))
	require.NotNil(p.t, answer.Result, "message %q", m)
	require.Equal(p.t, 7, answer.ID)
	return answer.Result.Index
}

// expectClose waits for a close frame.
func (p *peer) expectClose(code int) {
	p.t.Helper()
	require.NoError(p.t, p.SetReadDeadline(time.Now().Add(testTimeout)))
	for {
		_, _, err := p.ReadMessage()
		if err == nil {
			continue
		}
		require.True(p.t, websocket.IsCloseError(err, code), "%v", err)
		return
	}
}

func (p *peer) expectDisconnect(index, code int) (reason string) {
	p.t.Helper()
	i, _, m := p.receive()
	require.Equal(p.t, controlIndex, i, "message %q", m)
	var d struct {
		Method string
		Params disconnectParams
	}
	decode(p.t, m, &d)
	require.Equal(p.t, methodDisconnect, d.Method, "message %q", m)
	require.EqualValues(p.t, index, d.Params.Index)
	require.EqualValues(p.t, code, d.Params.Code, d.Params.Reason)
	return d.Params.Reason
}

func decode(t *testing.T, text string, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), v), "message %q", text)
}

// rawPeer is a client that can send any bytes.
type rawPeer struct {
	t *testing.T
	net.Conn
}

func connectRaw(t *testing.T, url string) *rawPeer {
	t.Helper()
	return (&tested{url: url}).connectRaw(t)
}

func (s *tested) connectRaw(t *testing.T) *rawPeer {
	t.Helper()
	dialer := ws.Dialer{TLSConfig: s.tls}
	conn, buffered, _, err := dialer.Dial(t.Context(), s.url)
	require.NoError(t, err)
	require.Nil(t, buffered)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(testTimeout)))
	return &rawPeer{t, conn}
}

// connect makes the client's first connection, to a URL.
func (p *rawPeer) connect(url string) {
	p.t.Helper()
	call := fmt.Sprintf(`{"id":1,"method":"connect","params":{"url":%q}}`, url)
	_, err := p.Write(appendFrame(nil, ws.OpText, true, controlPrefix, []byte(call)))
	require.NoError(p.t, err)
	f, err := ws.ReadFrame(p)
	require.NoError(p.t, err)
	require.JSONEq(p.t, `{"id":1,"type":"reply","result":{"index":0}}`, string(f.Payload[indexSize:]))
}

// expectClose waits for a close frame.
func (p *rawPeer) expectClose(code ws.StatusCode) {
	p.t.Helper()
	for {
		f, err := ws.ReadFrame(p)
		require.NoError(p.t, err)
		if f.Header.OpCode == ws.OpClose {
			said, err := parseClosing(f.Payload)
			require.NoError(p.t, err)
			require.Equal(p.t, code, said.code, said.reason)
			return
		}
	}
}

var someMask = [4]byte{1, 2, 3, 4}

// brokenFrames are bytes that no client may send, with the code of the server's close frame.
var brokenFrames = []struct {
	name  string
	bytes []byte
	code  ws.StatusCode
}{
	{"continuation first", appendMasked(nil, finBit|byte(ws.OpContinuation), 0, someMask), ws.StatusProtocolError},
	{"unmasked", appendHeader(nil, finBit|byte(ws.OpBinary), 0), ws.StatusProtocolError},
	{"RSV1", appendMasked(nil, finBit|0x40|byte(ws.OpBinary), 0, someMask), ws.StatusProtocolError},
	{"RSV3", appendMasked(nil, finBit|0x10|byte(ws.OpText), 0, someMask), ws.StatusProtocolError},
	{"reserved opcode", appendMasked(nil, finBit|3, 0, someMask), ws.StatusProtocolError},
	{"reserved control opcode", appendMasked(nil, finBit|11, 0, someMask), ws.StatusProtocolError},
	{"fragmented ping", appendMasked(nil, byte(ws.OpPing), 0, someMask), ws.StatusProtocolError},
	{"long ping", appendMasked(nil, finBit|byte(ws.OpPing), 126, someMask), ws.StatusProtocolError},
	{"close of one byte", append(appendMasked(nil, finBit|byte(ws.OpClose), 1, someMask), 0), ws.StatusProtocolError},
	{"close with 1006", appendFrame(nil, ws.OpClose, true, []byte{0x03, 0xee}), ws.StatusProtocolError},
	{"close reason not UTF-8", appendFrame(nil, ws.OpClose, true, []byte{0x03, 0xe8, 0xff}),
		ws.StatusInvalidFramePayloadData},
	{"negative length", append([]byte{finBit | 2, maskBit | 127}, strings.Repeat("\xff", 12)...), ws.StatusProtocolError},
	{"long form of a short length", append([]byte{finBit | 2, maskBit | 126, 0, 125}, someMask[:]...),
		ws.StatusProtocolError},
	{"longest form of a short length", append([]byte{finBit | 2, maskBit | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, someMask[:]...),
		ws.StatusProtocolError},
	{"ping with a long form", append([]byte{finBit | 9, maskBit | 126, 0, 1}, someMask[:]...), ws.StatusProtocolError},
	{"absurd length", appendMasked(nil, finBit|byte(ws.OpBinary), 1<<62, someMask), ws.StatusMessageTooBig},
	{"too long", appendMasked(nil, finBit|byte(ws.OpBinary), defaultMaxMessage+1, someMask), ws.StatusMessageTooBig},
	{"message within a message", append(appendMasked(nil, byte(ws.OpText), 0, someMask),
		appendMasked(nil, finBit|byte(ws.OpText), 0, someMask)...), ws.StatusProtocolError},
}
