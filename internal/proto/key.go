package proto

import (
	"encoding/base64"
	"errors"
)

// Key names a conversation: 32 random bytes, on the wire in base64url without padding. A client with the key can take up
// the conversation, so a key must not be in a log. Its own text does not show it.
type Key [32]byte

var errKey = errors.New("key is not 32 bytes in base64url")

// String keeps the key out of logs.
func (Key) String() string { return "(key)" }

// GoString keeps the key out of logs.
func (Key) GoString() string { return "(key)" }

// MarshalText implements encoding.TextMarshaler.
func (k Key) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, k[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *Key) UnmarshalText(text []byte) error {
	if len(text) != base64.RawURLEncoding.EncodedLen(len(k)) {
		return errKey
	}
	// The decoder skips newlines, so that there may be fewer bytes.
	if n, err := base64.RawURLEncoding.Strict().Decode(k[:], text); err != nil || n != len(k) {
		return errKey
	}
	return nil
}
