package wsplice

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/timetest"
)

// Clients and remotes that break the rules.

func TestBrokenFramesEndOnlyTheirClient(t *testing.T) {
	_, url := testServer(t, nil)
	other := connectPeer(t, url)
	index := other.connect(backend(t, echo))
	for _, tc := range brokenFrames {
		t.Run(tc.name, func(t *testing.T) {
			p := connectRaw(t, url)
			_, err := p.Write(tc.bytes)
			require.NoError(t, err)
			p.expectClose(tc.code)
		})
	}
	other.send(index, websocket.TextMessage, "still here")
	other.expect(index, "still here")
}

func TestBrokenFramesOfARemoteEndOnlyIt(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	fine := p.connect(backend(t, echo))
	for _, tc := range []struct {
		name  string
		bytes []byte
		code  int
	}{
		{"masked", appendMasked(nil, finBit|byte(ws.OpBinary), 0, someMask), 1002},
		{"continuation first", appendHeader(nil, finBit|byte(ws.OpContinuation), 0), 1002},
		{"reserved bit", appendHeader(nil, finBit|0x40|byte(ws.OpBinary), 0), 1002},
		{"long form of a short length", []byte{finBit | 2, 126, 0, 1, 'x'}, 1002},
		{"ping with a long form", []byte{finBit | 9, 127, 0, 0, 0, 0, 0, 0, 0, 0}, 1002},
		{"absurd length", appendHeader(nil, finBit|byte(ws.OpBinary), 1<<62), 1009},
		{"cut within a frame", appendHeader(nil, finBit|byte(ws.OpBinary), 10), 1006},
		{"cut", nil, 1006},
	} {
		t.Run(tc.name, func(t *testing.T) {
			index := p.connect(backend(t, func(c *websocket.Conn) {
				_, _ = c.NetConn().Write(tc.bytes)
				if tc.code == 1006 {
					return
				}
				_, _, err := c.ReadMessage()
				if !websocket.IsCloseError(err, tc.code) {
					t.Errorf("remote gets %v", err)
				}
			}))
			p.expectDisconnect(index, tc.code)
		})
	}
	p.send(fine, websocket.TextMessage, "still here")
	p.expect(fine, "still here")
}

func TestBadMessagesAreAnswered(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectPeer(t, url)
	index := p.connect(backend(t, echo))
	require.NoError(t, p.WriteMessage(websocket.BinaryMessage, nil))
	p.expectError(CodeFrameTooShort)
	require.NoError(t, p.WriteMessage(websocket.BinaryMessage, []byte{0}))
	p.expectError(CodeFrameTooShort)
	for _, unknown := range []int{1, 2, 1000, controlIndex - 1} {
		p.send(unknown, websocket.BinaryMessage, "x")
		p.expectError(CodeUnknownConnection)
	}
	for _, bad := range []string{"", "{", "[]", "null x", `"x"`, `{"id":"1"}`, `{"id":1.5}`, "\xff\xff"} {
		p.command(bad)
		p.expectError(CodeBadJSON)
	}
	for _, tc := range []struct {
		call string
		code int
	}{
		{`{}`, CodeUnknownMethod},
		{`{"id":3,"type":"method","method":"nonsense","params":{}}`, CodeUnknownMethod},
		{`{"id":3,"type":"method","method":"terminate"}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":null}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":"0"}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":0.5}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":-1}}`, CodeUnknownConnection},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":65535}}`, CodeUnknownConnection},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":65536}}`, CodeUnknownConnection},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":7}}`, CodeUnknownConnection},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":0,"code":1006}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"terminate","params":{"index":0,"code":-1}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"ack","params":{"index":-1,"bytes":1}}`, CodeUnknownConnection},
		{`{"id":3,"type":"method","method":"ack","params":{"index":0,"bytes":-1}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"connect"}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"connect","params":{"url":3}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"connect","params":{"url":"ws://127.0.0.1","timeout":-1}}`, CodeBadJSON},
		{`{"id":3,"type":"method","method":"connect","params":{"url":""}}`, CodeDialError},
		{`{"id":3,"type":"method","method":"connect","params":{"url":"http://127.0.0.1"}}`, CodeDialError},
		{`{"id":3,"type":"method","method":"connect","params":{"url":"ws://example.com"}}`, CodeDialError},
		{`{"id":3,"type":"method","method":"connect","params":{"url":"ws://127.0.0.1:1"}}`, CodeDialError},
	} {
		p.command(tc.call)
		e := p.expectError(tc.code)
		if tc.code == CodeDialError {
			require.Equal(t, "url", e.Path)
		}
	}
	p.command(strings.Repeat(" ", maxCommand+1))
	p.expectError(CodeFrameTooLong)
	p.send(index, websocket.TextMessage, "still here")
	p.expect(index, "still here")
}

// TestManyConnects asks for more connections than there are indexes, and reads the replies later.
func TestManyConnects(t *testing.T) {
	_, url := testServer(t, func(s *Server) { s.MaxChannels = 4 })
	p := connectPeer(t, url)
	remote := backend(t, echo)
	go func() {
		for i := range 65_536 {
			b := append([]byte{0xff, 0xff}, fmt.Sprintf(`{"id":%d,"method":"connect","params":{"url":%q}}`, i, remote)...)
			if p.WriteMessage(websocket.TextMessage, b) != nil {
				return
			}
		}
	}()
	connected := 0
	for range 65_536 {
		_, _, m := p.receive()
		if strings.Contains(m, `"result"`) {
			connected++
		}
	}
	require.Equal(t, 4, connected)
	for index := range 4 {
		p.send(index, websocket.TextMessage, "x")
		p.expect(index, "x")
	}
}

// TestIndexInPieces sends a message byte by byte, with the index in a frame of its own.
func TestIndexInPieces(t *testing.T) {
	_, url := testServer(t, nil)
	p := connectRaw(t, url)
	call := fmt.Sprintf(`{"id":1,"method":"connect","params":{"url":%q}}`, backend(t, echo))
	stream := appendFrame(nil, ws.OpText, true, controlPrefix, []byte(call))
	for _, b := range stream {
		_, err := p.Write([]byte{b})
		require.NoError(t, err)
	}
	f, err := ws.ReadFrame(p)
	require.NoError(t, err)
	require.JSONEq(t, `{"id":1,"type":"reply","result":{"index":0}}`, string(f.Payload[2:]))

	stream = appendMasked(nil, byte(ws.OpText), 2, [4]byte{})
	stream = append(stream, 0, 0)
	stream = append(stream, appendFrame(nil, ws.OpPing, true, []byte("between"))...)
	stream = append(stream, appendFrame(nil, ws.OpContinuation, true, []byte("pieces"))...)
	for _, b := range stream {
		_, err := p.Write([]byte{b})
		require.NoError(t, err)
	}
	// The pong and the message may come in any order.
	got := map[ws.OpCode]string{}
	for range 2 {
		f, err := ws.ReadFrame(p)
		require.NoError(t, err)
		got[f.Header.OpCode] = string(f.Payload)
	}
	require.Equal(t, map[ws.OpCode]string{ws.OpPong: "between", ws.OpText: "\x00\x00pieces"}, got)
}

// TestFragmentsPass checks that a message is passed on in the same frames.
func TestFragmentsPass(t *testing.T) {
	_, url := testServer(t, nil)
	got := make(chan []ws.Header, 1)
	p := connectRaw(t, url)
	call := fmt.Sprintf(`{"id":1,"method":"connect","params":{"url":%q}}`, backend(t, func(c *websocket.Conn) {
		var headers []ws.Header
		for range 3 {
			h, err := ws.ReadHeader(c.NetConn())
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = io.CopyN(io.Discard, c.NetConn(), h.Length)
			headers = append(headers, h)
		}
		got <- headers
		b := appendHeader(nil, byte(ws.OpText), 1)
		b = append(b, 'a')
		b = append(b, appendFrame(nil, ws.OpPing, false, []byte("remote's"))...)
		b = append(b, appendHeader(nil, byte(ws.OpContinuation), 0)...)
		b = append(b, appendHeader(nil, finBit|byte(ws.OpContinuation), 1)...)
		_, _ = c.NetConn().Write(append(b, 'b'))
		f, err := ws.ReadFrame(c.NetConn())
		if err != nil || f.Header.OpCode != ws.OpPong || string(ws.UnmaskFrame(f).Payload) != "remote's" {
			t.Errorf("remote gets %v %v for its ping", f, err)
		}
	}))
	_, err := p.Write(appendFrame(nil, ws.OpText, true, controlPrefix, []byte(call)))
	require.NoError(t, err)
	_, err = ws.ReadFrame(p)
	require.NoError(t, err)

	b := appendMasked(nil, byte(ws.OpBinary), 4, [4]byte{})
	b = append(b, 0, 0, 'a', 'b')
	b = append(b, appendMasked(nil, byte(ws.OpContinuation), 0, someMask)...)
	b = append(b, appendMasked(nil, finBit|byte(ws.OpContinuation), 1, someMask)...)
	_, err = p.Write(append(b, 'c'))
	require.NoError(t, err)
	headers := timetest.Receive(t, got)
	require.Equal(t, ws.Header{OpCode: ws.OpBinary, Masked: true, Length: 2}, headers[0])
	require.Equal(t, ws.Header{OpCode: ws.OpContinuation, Masked: true, Mask: someMask}, headers[1])
	require.Equal(t, ws.Header{Fin: true, OpCode: ws.OpContinuation, Masked: true, Mask: someMask, Length: 1}, headers[2])

	var returned []ws.Frame
	for range 3 {
		f, err := ws.ReadFrame(p)
		require.NoError(t, err)
		returned = append(returned, f)
	}
	require.Equal(t, ws.NewFrame(ws.OpText, false, []byte("\x00\x00a")), returned[0])
	require.Equal(t, ws.NewFrame(ws.OpContinuation, false, []byte{}).Header, returned[1].Header)
	require.Equal(t, ws.NewFrame(ws.OpContinuation, true, []byte("b")), returned[2])
}

// TestEndlessFramesOfARemote has a remote that begins a message and then sends empty frames, and another that sends a
// message in frames of one byte.
func TestEndlessFramesOfARemote(t *testing.T) {
	const limit = 1000
	s := startServer(t, false, func(s *Server) { s.MaxMessage = limit })
	p := connectPeer(t, s.url)
	endless := p.connect(backend(t, func(c *websocket.Conn) {
		_, _ = c.NetConn().Write(appendHeader(nil, byte(ws.OpBinary), 0))
		_, _ = c.NetConn().Write(make([]byte, 2*(heldFactor*limit+heldRoom))) // Continuations, not the last.
		_, _, err := c.ReadMessage()
		if !websocket.IsCloseError(err, 1009) {
			t.Errorf("remote gets %v", err)
		}
	}))
	require.Contains(t, p.expectDisconnect(endless, 1009), errFrames.reason)
	fine := p.connect(backend(t, func(c *websocket.Conn) {
		frames := append(appendHeader(nil, byte(ws.OpText), 1), 'x')
		for range limit - 1 {
			frames = append(appendHeader(frames, byte(ws.OpContinuation), 1), 'x')
		}
		_, _ = c.NetConn().Write(appendHeader(frames, finBit|byte(ws.OpContinuation), 0))
		_, _, _ = c.ReadMessage()
	}))
	p.expect(fine, strings.Repeat("x", limit))
}

// TestEndlessFramesOfAClient has a client begin a message for a remote that reads nothing, and then send empty frames.
// The remote's queue bounds them.
func TestEndlessFramesOfAClient(t *testing.T) {
	for name, window := range map[string]int{"with a window": minWindow, "without": 0} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, false, func(s *Server) { s.MaxMessage, s.WriteTimeout = 1000, maxDelay })
			p := connectPeer(t, s.url)
			stop := make(chan struct{})
			defer close(stop)
			remote := backend(t, func(*websocket.Conn) { <-stop })
			p.command(fmt.Sprintf(`{"method":"connect","params":{"url":%q,"window":%d}}`, remote, window))
			p.receive()
			var wg sync.WaitGroup
			defer wg.Wait()
			// Ends with the connection.
			wg.Go(func() {
				_, err := p.NetConn().Write(append(appendMasked(nil, byte(ws.OpBinary), indexSize, [4]byte{}), 0, 0))
				for many := manyFrames(1 << 20); err == nil; {
					_, err = p.NetConn().Write(many)
				}
			})
			p.expectDisconnect(0, 1008)
			_ = p.NetConn().Close()
		})
	}
}

// manyFrames returns about n bytes of a client's empty continuation frames. None is the last of its message.
func manyFrames(n int) []byte {
	frame := appendMasked(nil, byte(ws.OpContinuation), 0, someMask)
	return bytes.Repeat(frame, n/len(frame))
}
