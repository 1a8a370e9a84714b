package wsplice

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The messages of the control channel. There is no I/O in this file.

// The codes of Error.
const (
	CodeBadJSON           = 4000
	CodeFrameTooShort     = 4001
	CodeFrameTooLong      = 4002
	CodeUnknownMethod     = 4003
	CodeUnknownConnection = 4004
	CodeInvalidURL        = 4005
	CodeInvalidHostname   = 4006
	CodeDialError         = 4007
)

// Error is what a wsplice server says of a call, or of something else that it was sent.
type Error struct {
	// Code is one of the codes above. Every refused Connect has CodeDialError.
	Code int `json:"code"`
	// Message is for people.
	Message string `json:"message"`
	// Path names the parameter that is at fault, if it is one.
	Path string `json:"path,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

const (
	typeMethod = "method"
	typeReply  = "reply"

	methodConnect    = "connect"
	methodTerminate  = "terminate"
	methodAck        = "ack"
	methodWarn       = "warn"
	methodDisconnect = "onSocketDisconnect"
	// methodClosed is methodDisconnect in the binaries of version 0.1.0.
	methodClosed = "onSocketClosed"
)

// call is a control message that asks for something or tells something.
type call struct {
	ID     int64           `json:"id"`
	Type   string          `json:"type"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

// reply is the answer to a call.
type reply struct {
	ID     int64  `json:"id"`
	Type   string `json:"type"`
	Result any    `json:"result,omitempty"`
	Error  *Error `json:"error,omitempty"`
}

// connectParams are what connect takes.
type connectParams struct {
	URL          string            `json:"url"`
	Headers      map[string]string `json:"headers,omitempty"`
	Subprotocols []string          `json:"subprotocols,omitempty"`
	Timeout      int64             `json:"timeout,omitempty"` // in ms; 0 means the server's
	Window       int64             `json:"window,omitempty"`
}

// connectResult is what connect returns.
type connectResult struct {
	Index       uint16 `json:"index"`
	Window      int64  `json:"window,omitempty"`
	Subprotocol string `json:"subprotocol,omitempty"`
}

// terminateParams are what terminate takes.
type terminateParams struct {
	Index  *int64 `json:"index"`
	Code   *int64 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// disconnectParams are what onSocketDisconnect says.
type disconnectParams struct {
	Index  uint16 `json:"index"`
	Code   uint16 `json:"code"`
	Reason string `json:"reason"`
}

// ackParams say that bytes of a channel's messages have been consumed since the last ack.
type ackParams struct {
	Index *int64 `json:"index"`
	Bytes int64  `json:"bytes"`
}

// decodeCall reads a control message.
func decodeCall(p []byte) (call, error) {
	var c call
	if err := json.Unmarshal(p, &c); err != nil {
		return call{}, badJSON(err)
	}
	return c, nil
}

// decodeParams reads a call's parameters.
func decodeParams[T any](c call) (T, error) {
	var params T
	if len(c.Params) == 0 {
		return params, &Error{Code: CodeBadJSON, Message: "no params"}
	}
	if err := json.Unmarshal(c.Params, &params); err != nil {
		return params, badJSON(err)
	}
	return params, nil
}

func badJSON(err error) error {
	return &Error{Code: CodeBadJSON, Message: "bad JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
}

// checkIndex returns a parameter as a channel's index.
func checkIndex(index *int64) (uint16, error) {
	switch {
	case index == nil:
		return 0, &Error{Code: CodeBadJSON, Message: "no index", Path: "index"}
	case *index < 0 || *index >= controlIndex:
		return 0, unknownConnection(*index)
	}
	return uint16(*index), nil
}

func unknownConnection(index int64) error {
	return &Error{Code: CodeUnknownConnection, Message: fmt.Sprintf("there is no connection %d", index)}
}

// encodeCall returns a control message. Its parameters can be encoded whatever they hold.
func encodeCall(id int64, method string, params any) []byte {
	return encode(call{ID: id, Type: typeMethod, Method: method, Params: encode(params)})
}

func encodeReply(id int64, result any) []byte {
	return encode(reply{ID: id, Type: typeReply, Result: result})
}

// encodeError returns the reply that says why a call failed.
func encodeError(id int64, err error) []byte {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeDialError, Message: refusal(err), Path: "url"}
	}
	return encode(reply{ID: id, Type: typeReply, Error: e})
}

func encode(v any) []byte {
	p, err := json.Marshal(v)
	if err != nil {
		panic(err) // All that is encoded here consists of strings and numbers.
	}
	return p
}
