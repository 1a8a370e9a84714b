package wsplice

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// WebSocket frames (RFC 6455 section 5.2), parsed from and written to slices. There is no I/O in this file.

const (
	finBit     = 0x80
	rsvBits    = 0x70
	opcodeBits = 0x0f
	maskBit    = 0x80

	// indexSize is the size of the index that a message starts with.
	indexSize = 2
	// maxHeader is the size of the longest header.
	maxHeader = 14
)

// header is a frame's header.
type header struct {
	first  byte // FIN, RSV and opcode, as on the wire
	masked bool
	mask   [4]byte
	size   int   // of the header itself
	length int64 // negative if a frame may not have it
}

// badLength is the length of a frame that does not write it in the fewest bytes (RFC 6455 section 5.2).
const badLength = -1

func (h *header) fin() bool         { return h.first&finBit != 0 }
func (h *header) opcode() ws.OpCode { return ws.OpCode(h.first & opcodeBits) }

// parse reads the header at the start of b. It reports false if the header is incomplete.
func (h *header) parse(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	h.first, h.masked = b[0], b[1]&maskBit != 0
	h.size = 2
	switch n := b[1] &^ maskBit; n {
	case 126:
		if len(b) < 4 {
			return false
		}
		h.length, h.size = int64(binary.BigEndian.Uint16(b[2:])), 4
		if h.length < 126 {
			h.length = badLength
		}
	case 127:
		if len(b) < 10 {
			return false
		}
		// A length with the highest bit set becomes negative.
		h.length, h.size = int64(binary.BigEndian.Uint64(b[2:])), 10
		if h.length <= 0xffff {
			h.length = badLength
		}
	default:
		h.length = int64(n)
	}
	if h.masked {
		if len(b) < h.size+4 {
			return false
		}
		h.mask = [4]byte(b[h.size:])
		h.size += 4
	}
	return true
}

// check returns an error if the header breaks the protocol. masked says whether the sender must mask its frames.
// fragmented says whether a message has begun and not ended.
func (h *header) check(masked, fragmented bool) error {
	op := h.opcode()
	switch {
	case h.first&rsvBits != 0:
		return &violation{ws.StatusProtocolError, "reserved bit set, no extension is in use"}
	case op.IsReserved():
		return &violation{ws.StatusProtocolError, fmt.Sprintf("reserved opcode %d", op)}
	case h.masked != masked && masked:
		return &violation{ws.StatusProtocolError, "frame from a client is not masked"}
	case h.masked != masked:
		return &violation{ws.StatusProtocolError, "frame from a server is masked"}
	case h.length < 0:
		return &violation{ws.StatusProtocolError, "length is not written in the fewest bytes, or has its highest bit set"}
	case op.IsControl() && (!h.fin() || h.length > ws.MaxControlFramePayloadSize):
		return &violation{ws.StatusProtocolError, "control frame is fragmented or too long"}
	case op == ws.OpContinuation && !fragmented:
		return &violation{ws.StatusProtocolError, "continuation of no message"}
	case !op.IsControl() && op != ws.OpContinuation && fragmented:
		return &violation{ws.StatusProtocolError, "message begins within another"}
	}
	return nil
}

// violation is the error of a peer that breaks the WebSocket protocol or a limit. The peer's connection is closed with
// the code.
type violation struct {
	code   ws.StatusCode
	reason string
}

func (v *violation) Error() string { return v.reason }

func tooBig(limit int64) error {
	return &violation{ws.StatusMessageTooBig, fmt.Sprintf("message of more than %d bytes", limit)}
}

// appendHeader appends a header without a mask.
func appendHeader(dst []byte, first byte, length int64) []byte {
	return appendLength(append(dst, first), 0, length)
}

// appendMasked appends a header with a mask.
func appendMasked(dst []byte, first byte, length int64, mask [4]byte) []byte {
	return append(appendLength(append(dst, first), maskBit, length), mask[:]...)
}

func appendLength(dst []byte, bit byte, length int64) []byte {
	switch {
	case length < 126:
		return append(dst, bit|byte(length))
	case length <= 0xffff:
		return append(dst, bit|126, byte(length>>8), byte(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, bit|127), uint64(length))
}

// rotate returns the mask of a payload without its first two bytes.
func rotate(m [4]byte) [4]byte { return [4]byte{m[2], m[3], m[0], m[1]} }

// appendFrame appends a whole frame. If masked is set, as for a client's, it has a random mask.
func appendFrame(dst []byte, op ws.OpCode, masked bool, payload ...[]byte) []byte {
	length := 0
	for _, p := range payload {
		length += len(p)
	}
	if dst == nil {
		dst = make([]byte, 0, maxHeader+length)
	}
	if !masked {
		dst = appendHeader(dst, finBit|byte(op), int64(length))
		for _, p := range payload {
			dst = append(dst, p...)
		}
		return dst
	}
	mask := ws.NewMask()
	dst = appendMasked(dst, finBit|byte(op), int64(length), mask)
	start := len(dst)
	for _, p := range payload {
		dst = append(dst, p...)
	}
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// closing is the content of a close frame.
type closing struct {
	code   ws.StatusCode
	reason string
}

// closeError is a peer's close frame, as an error.
type closeError struct{ closing }

func (e *closeError) Error() string { return fmt.Sprintf("closed with %d %q", e.code, e.reason) }

// CloseStatus returns the close frame's code and reason. The code is 1005 if the frame had none.
func (e *closeError) CloseStatus() (code int, reason string) { return int(e.code), e.reason }

// payload returns the close frame's payload. Reserved codes never go on the wire (RFC 6455 section 7.4.1).
func (c closing) payload() []byte {
	switch {
	case c.code == ws.StatusNoStatusRcvd:
		return nil
	case c.code.IsProtocolReserved() || c.code.IsNotUsed():
		c.code = ws.StatusGoingAway
	}
	return ws.NewCloseFrameBody(c.code, cutReason(c.reason))
}

// maxReason is how many bytes of reason a close frame has room for.
const maxReason = ws.MaxControlFramePayloadSize - 2

// cutReason shortens a reason to maxReason, without cutting a character.
func cutReason(s string) string {
	n := len(s)
	if n <= maxReason {
		return s
	}
	for n = maxReason; n > 0 && !utf8.RuneStart(s[n]); {
		n--
	}
	return s[:n]
}

// parseClosing reads a close frame's payload.
func parseClosing(p []byte) (closing, error) {
	switch len(p) {
	case 0:
		return closing{code: ws.StatusNoStatusRcvd}, nil
	case 1:
		return closing{}, &violation{ws.StatusProtocolError, "close frame of one byte"}
	}
	code, reason := ws.ParseCloseFrameData(p)
	if !sendable(int64(code)) {
		return closing{}, &violation{ws.StatusProtocolError, fmt.Sprintf("close code %d", code)}
	}
	if !utf8.ValidString(reason) {
		return closing{}, &violation{ws.StatusInvalidFramePayloadData, "close reason is not UTF-8"}
	}
	return closing{code, reason}, nil
}

// sendable reports whether a close code may stand in a close frame (RFC 6455 section 7.4).
func sendable(code int64) bool {
	switch {
	case code == 1004 || code == 1005 || code == 1006 || code == 1015:
		return false
	}
	return code >= 1000 && code <= 1014 || code >= 3000 && code <= 4999
}
