// Package proto encodes and decodes wsep's messages. It does no I/O. README.md beside it is the specification.
package proto

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Message types.
const (
	TypeStart      = "start"
	TypeStdin      = "stdin"
	TypeCloseStdin = "close_stdin"
	TypeResize     = "resize"

	TypePid      = "pid"
	TypeStdout   = "stdout"
	TypeStderr   = "stderr"
	TypeExitCode = "exit_code"

	// Types of the extensions.
	TypeAck        = "ack"
	TypeEcho       = "echo"
	TypeSignal     = "signal"
	TypeClose      = "close"
	TypeStartError = "start_error"
	TypeEnd        = "end"

	TypeSkipped = "skipped"

	TypeDone = "done"

	TypeResume      = "resume"
	TypeResumed     = "resumed"
	TypeResumeError = "resume_error"

	// Types of questions about sessions.
	TypeAsk      = "ask"
	TypeAsked    = "asked"
	TypeSessions = "sessions"
	TypeAskError = "ask_error"
)

// The headers of bulk messages, with the delimiter. Every sender of ours writes exactly these bytes, so a receiver
// recognizes them by comparison; other spellings of the same JSON take the slow path.
const (
	StdinHeader  = `{"type":"stdin"}` + "\n"
	StdoutHeader = `{"type":"stdout"}` + "\n"
	StderrHeader = `{"type":"stderr"}` + "\n"
)

const (
	// MaxMessage is the size in bytes, header included, of the largest message that every peer accepts. It is the
	// read limit of wsep v0.2.4.
	MaxMessage = 64000
	// MinReadLimit is what a receiver accepts at least. It is above MaxMessage because a v0.2.4 client counts the
	// header wrongly and sends stdin messages of up to 64,017 bytes.
	MinReadLimit = 65536
	// DefaultRows and DefaultCols are the size of a terminal whose client names none.
	DefaultRows, DefaultCols = 24, 80
)

var (
	errNotObject = errors.New("header is not a JSON object")
	errNoType    = errors.New("header has no type")
)

// UnknownTypeError is a message of a type that this version does not know. The receiver ignores the message.
type UnknownTypeError struct{ Type string }

func (e UnknownTypeError) Error() string { return fmt.Sprintf("unknown message type %q", e.Type) }

// Split separates a message's header from its body. A message without a delimiter is all header.
func Split(msg []byte) (header, body []byte) {
	header, body, _ = bytes.Cut(msg, []byte{'\n'})
	return header, body
}

// Type returns the type that the header names.
func Type(header []byte) (string, error) {
	if trimmed := bytes.TrimLeft(header, " \t\r"); len(trimmed) == 0 || trimmed[0] != '{' {
		return "", errNotObject
	}
	var h struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(header, &h); err != nil {
		return "", fmt.Errorf("decode header: %w", err)
	}
	if h.Type == nil || *h.Type == "" {
		return "", errNoType
	}
	return *h.Type, nil
}

// Decode decodes a message's header. Of a bulk message that is the type alone. It returns one of
// this package's message types by value, or a Stream for a bulk message, or an UnknownTypeError.
func Decode(header []byte) (any, error) {
	if ack, ok := DecodeAck(header); ok {
		return ack, nil
	}
	if echo, ok := DecodeEcho(header); ok {
		return echo, nil
	}
	typ, err := Type(header)
	if err != nil {
		return nil, err
	}
	switch typ {
	case TypeStdin, TypeStdout, TypeStderr:
		return Stream(typ), nil
	case TypeCloseStdin:
		return decodeValid[CloseStdin](typ, header)
	case TypeClose:
		return decodeValid[Close](typ, header)
	case TypeEnd:
		return End{}, nil
	case TypeStart:
		return decodeValid[Start](typ, header)
	case TypePid:
		return decodeValid[Pid](typ, header)
	case TypeResize:
		return decodeValid[Resize](typ, header)
	case TypeExitCode:
		return asAny(decodeAs[ExitCode](typ, header))
	case TypeAck:
		return asAny(decodeAs[Ack](typ, header))
	case TypeEcho:
		return asAny(decodeAs[Echo](typ, header))
	case TypeSignal:
		return decodeValid[Signal](typ, header)
	case TypeStartError:
		return asAny(decodeAs[StartError](typ, header))
	case TypeSkipped:
		return decodeValid[Skipped](typ, header)
	case TypeDone:
		return Done{}, nil
	case TypeResume:
		return decodeValid[Resume](typ, header)
	case TypeResumed:
		return decodeValid[Resumed](typ, header)
	case TypeResumeError:
		return asAny(decodeAs[ResumeError](typ, header))
	case TypeAsk:
		return asAny(decodeAs[Ask](typ, header))
	case TypeAsked:
		return Asked{}, nil
	case TypeSessions:
		return decodeValid[Sessions](typ, header)
	case TypeAskError:
		return asAny(decodeAs[AskError](typ, header))
	}
	return nil, UnknownTypeError{Type: typ}
}

// Stream names the stream of a bulk message: TypeStdin, TypeStdout or TypeStderr.
type Stream string

func decodeAs[T any](typ string, header []byte) (T, error) {
	var m T
	return m, wrap(typ, json.Unmarshal(header, &m))
}

// decodeValid is decodeAs for a type with rules beyond those of its fields' types.
func decodeValid[T interface{ validate() error }](typ string, header []byte) (any, error) {
	m, err := decodeAs[T](typ, header)
	if err == nil {
		err = wrap(typ, m.validate())
	}
	return asAny(m, err)
}

func asAny[T any](m T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return m, nil
}

func wrap(typ string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("decode %s: %w", typ, err)
}

// Encode returns the message for one of this package's message types.
func Encode(m any) ([]byte, error) {
	switch m := m.(type) {
	case Start:
		return encodeAs(TypeStart, m)
	case CloseStdin:
		return encodeAs(TypeCloseStdin, m)
	case Close:
		return encodeAs(TypeClose, m)
	case End:
		return encodeAs(TypeEnd, m)
	case Resize:
		return encodeAs(TypeResize, m)
	case Signal:
		return encodeAs(TypeSignal, m)
	case Pid:
		return encodeAs(TypePid, m)
	case ExitCode:
		return encodeAs(TypeExitCode, m)
	case StartError:
		return encodeAs(TypeStartError, m)
	case Skipped:
		return encodeAs(TypeSkipped, m)
	case Done:
		return encodeAs(TypeDone, m)
	case Resume:
		return encodeAs(TypeResume, m)
	case Resumed:
		return encodeAs(TypeResumed, m)
	case ResumeError:
		return encodeAs(TypeResumeError, m)
	case Ask:
		return encodeAs(TypeAsk, m)
	case Asked:
		return encodeAs(TypeAsked, m)
	case Sessions:
		return encodeAs(TypeSessions, m)
	case AskError:
		return encodeAs(TypeAskError, m)
	case Ack:
		return encodeAs(TypeAck, m)
	case Echo:
		return encodeAs(TypeEcho, m)
	}
	return nil, fmt.Errorf("encode %T: not a message", m)
}

// encodeAs puts the type in front of m's own fields. There is no delimiter: a v0.2.4 peer parses the whole pid message
// as JSON, and a message without a body needs none.
func encodeAs(typ string, m any) ([]byte, error) {
	fields, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", typ, err)
	}
	msg := append([]byte(`{"type":"`), typ...)
	msg = append(msg, '"')
	if len(fields) > len("{}") {
		msg = append(msg, ',')
	}
	return append(msg, fields[1:]...), nil
}

// AckField names a field of ack: a stream or AckSeq.
type AckField = Stream

// AckSeq names the number of the last request that was taken.
const AckSeq AckField = "seq"

// AppendAck appends an ack of one field to dst without allocating.
func AppendAck(dst []byte, field AckField, value int64) []byte {
	dst = append(dst, `{"type":"ack","`...)
	dst = append(dst, field...)
	dst = append(dst, `":`...)
	dst = strconv.AppendInt(dst, value, 10)
	return append(dst, '}')
}

// DecodeAck recognizes what AppendAck writes, without allocating.
func DecodeAck(header []byte) (ack Ack, ok bool) {
	rest, ok := bytes.CutPrefix(header, []byte(`{"type":"ack","`))
	if !ok {
		return ack, false
	}
	name, rest, _ := bytes.Cut(rest, []byte(`":`))
	n, ok := lastNumber(rest)
	if !ok {
		return ack, false
	}
	switch string(name) {
	case TypeStdin:
		ack.Stdin = n
	case TypeStdout:
		ack.Stdout = n
	case TypeStderr:
		ack.Stderr = n
	case string(AckSeq):
		ack.Seq = n
	default:
		return ack, false
	}
	return ack, true
}

// echoHeader is what an echo's header begins with.
const echoHeader = `{"type":"echo","n":`

// AppendEcho appends an echo to dst without allocating.
func AppendEcho(dst []byte, n int64) []byte {
	return append(strconv.AppendInt(append(dst, echoHeader...), n, 10), '}')
}

// DecodeEcho recognizes what AppendEcho writes, without allocating.
func DecodeEcho(header []byte) (echo Echo, ok bool) {
	rest, ok := bytes.CutPrefix(header, []byte(echoHeader))
	if !ok {
		return echo, false
	}
	echo.N, ok = lastNumber(rest)
	return echo, ok
}

// lastNumber decodes the value of a header's last field, and the brace after it: a number as senders write them, above 0.
func lastNumber(rest []byte) (n int64, ok bool) {
	if len(rest) < 2 || len(rest) > 19 || rest[0] == '0' || rest[len(rest)-1] != '}' {
		return 0, false
	}
	for _, c := range rest[:len(rest)-1] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
