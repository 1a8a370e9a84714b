package wsplice

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The messages of the control channel. There is no I/O in this file.

// The codes of [Error].
const (
	// CodeBadJSON means that a control message is no JSON, or has a field of a wrong type.
	CodeBadJSON = 4000
	// CodeFrameTooShort means that a message, or its first frame, is too short for an index.
	CodeFrameTooShort = 4001
	// CodeFrameTooLong means that a control message has more than 64 KiB.
	CodeFrameTooLong = 4002
	// CodeUnknownMethod means that the server has no such method.
	CodeUnknownMethod = 4003
	// CodeUnknownConnection means that no connection has the index.
	CodeUnknownConnection = 4004
	// CodeInvalidURL is reserved, and not used: an invalid URL has CodeDialError.
	CodeInvalidURL = 4005
	// CodeInvalidHostname is reserved, and not used: a host that is not allowed has CodeDialError.
	CodeInvalidHostname = 4006
	// CodeDialError means that the server could not, or must not, connect to the remote.
	CodeDialError = 4007
)

// Error is a wsplice server's error about a call, or about a message of another kind.
type Error struct {
	// Code is one of the Code constants. Every refused [Client.Connect] has [CodeDialError].
	Code int `json:"code"`
	// Message is for people.
	Message string `json:"message"`
	// Path names the parameter that is at fault, if there is one.
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

// call is a control message that is no reply.
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

// connectParams are the parameters of connect.
type connectParams struct {
	URL          string            `json:"url"`
	Headers      map[string]string `json:"headers,omitempty"`
	Subprotocols []string          `json:"subprotocols,omitempty"`
	Timeout      int64             `json:"timeout,omitempty"` // in ms; 0 means the server's
	Window       int64             `json:"window,omitempty"`
}

// connectResult is the result of connect.
type connectResult struct {
	Index       uint16 `json:"index"`
	Window      int64  `json:"window,omitempty"`
	Subprotocol string `json:"subprotocol,omitempty"`
}

// terminateParams are the parameters of terminate.
type terminateParams struct {
	Index  *int64 `json:"index"`
	Code   *int64 `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// disconnectParams are the parameters of onSocketDisconnect.
type disconnectParams struct {
	Index  uint16 `json:"index"`
	Code   uint16 `json:"code"`
	Reason string `json:"reason"`
}

// ackParams are the parameters of ack: how many bytes of a channel's messages were consumed since the last ack.
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

// encodeCall returns a call as JSON.
func encodeCall(id int64, method string, params any) []byte {
	return encode(call{ID: id, Type: typeMethod, Method: method, Params: encode(params)})
}

func encodeReply(id int64, result any) []byte {
	return encode(reply{ID: id, Type: typeReply, Result: result})
}

// encodeError returns the reply to a call that failed with the error.
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
		panic(err) // It can't happen: all parameters and results consist of strings and numbers.
	}
	return p
}
