package proto_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// vector is one entry of testdata/vectors.json. README.md describes its fields.
type vector struct {
	Name          string          `json:"name"`
	Direction     string          `json:"direction"`
	Message       string          `json:"message"`
	MessageBase64 []byte          `json:"message_base64"`
	Body          string          `json:"body"`
	BodyBase64    []byte          `json:"body_base64"`
	Decoded       json.RawMessage `json:"decoded"`
	Canonical     bool            `json:"canonical"`
	Optional      bool            `json:"optional"`
	Error         string          `json:"error"`
}

func (v vector) message() []byte {
	if v.MessageBase64 != nil {
		return v.MessageBase64
	}
	return []byte(v.Message)
}

func (v vector) body() []byte {
	if v.BodyBase64 != nil {
		return v.BodyBase64
	}
	return []byte(v.Body)
}

func vectors(t testing.TB) []vector {
	t.Helper()
	f, err := os.Open("testdata/vectors.json")
	require.NoError(t, err)
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	var all []vector
	require.NoError(t, dec.Decode(&all))
	return all
}
