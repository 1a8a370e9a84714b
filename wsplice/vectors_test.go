package wsplice

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/stretchr/testify/require"
)

var repeated = regexp.MustCompile(`<(\d+)\*(..)>`)

func TestVectors(t *testing.T) {
	v := readVectors(t)
	for _, tc := range v.ToRemote {
		t.Run("to the remote/"+tc.Name, func(t *testing.T) {
			r := &record{}
			d := fromClient{maxMessage: defaultMaxMessage, events: r}
			in := unhex(t, tc.Client)
			used, err := d.feed(in)
			require.NoError(t, err)
			require.Equal(t, len(in), used)
			require.Equal(t, []int{tc.Index}, r.indexes)
			require.Equal(t, unhex(t, tc.Remote), r.sent())
		})
	}
	for _, tc := range v.ToClient {
		t.Run("to the client/"+tc.Name, func(t *testing.T) {
			r := &record{}
			m := toClient{index: [2]byte{byte(tc.Index >> 8), byte(tc.Index)}, maxMessage: defaultMaxMessage, events: r}
			in := unhex(t, tc.Remote)
			used, err := m.feed(in, &r.to)
			require.NoError(t, err)
			require.Equal(t, len(in), used)
			require.Equal(t, unhex(t, tc.Client), r.sent())
		})
	}
	index, code := int64(0), int64(4001)
	one := int64(1)
	for i, got := range [][]byte{
		encodeCall(42, methodConnect, connectParams{URL: "ws://example.com", Headers: map[string]string{"Authorization": "Bearer x"},
			Subprotocols: []string{"chat"}, Timeout: 5000}),
		encodeCall(43, methodConnect, connectParams{URL: "ws://example.com", Window: 1 << 20}),
		encodeReply(42, connectResult{}),
		encodeReply(43, connectResult{Index: 1, Window: 1 << 20}),
		encodeError(42, fmt.Errorf("example.com:80: %w", errHostname)),
		encodeCall(44, methodTerminate, terminateParams{&index, &code, "enough"}),
		encodeReply(44, struct{}{}),
		encodeCall(0, methodDisconnect, disconnectParams{0, 4123, "bye"}),
		encodeCall(0, methodClosed, disconnectParams{0, 1006, ""}),
		encodeCall(0, methodAck, ackParams{&one, 1 << 18}),
		encodeCall(0, methodWarn, unknownConnection(7)),
	} {
		require.Equal(t, v.Control[i].JSON, string(got), v.Control[i].Name)
	}
}

// FuzzFromClient checks that the pieces in which a client's bytes come make no difference, and that the output is valid
// frames.
func FuzzFromClient(f *testing.F) {
	v := readVectors(f)
	for _, tc := range v.ToRemote {
		addSeed(f, unhex(f, tc.Client))
	}
	for _, tc := range brokenFrames {
		f.Add(tc.bytes, uint8(1))
	}
	f.Add(appendFrame(nil, ws.OpText, true, controlPrefix, []byte("{}")), uint8(2))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		feed := func(size int) (*record, error) {
			r := &record{}
			d := fromClient{maxMessage: 1 << 20, events: r}
			var rest []byte
			for in := stream; len(in) > 0; {
				n := min(size, len(in))
				chunk := append(bytes.Clone(rest), in[:n]...)
				in = in[n:]
				used, err := d.feed(chunk)
				require.LessOrEqual(t, used, len(chunk))
				if err != nil {
					return r, err
				}
				rest = chunk[used:]
				require.LessOrEqual(t, len(rest), maxHeader+ws.MaxControlFramePayloadSize)
			}
			return r, nil
		}
		whole, wholeErr := feed(len(stream) + 1)
		cut, cutErr := feed(int(piece) + 1)
		require.Equal(t, wholeErr, cutErr)
		require.Equal(t, whole.short, cut.short)
		require.Equal(t, whole.commands, cut.commands)
		require.Equal(t, whole.controls, cut.controls)
		if wholeErr == nil {
			require.Equal(t, whole.sent(), cut.sent())
		}
		requireFrames(t, whole.sent())
	})
}

// FuzzToClient is FuzzFromClient for a remote's bytes.
func FuzzToClient(f *testing.F) {
	for _, tc := range readVectors(f).ToClient {
		addSeed(f, unhex(f, tc.Remote))
	}
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		feed := func(size int) (*record, error) {
			r := &record{}
			m := toClient{maxMessage: 1 << 20, events: r}
			var rest []byte
			for in := stream; len(in) > 0; {
				n := min(size, len(in))
				chunk := append(bytes.Clone(rest), in[:n]...)
				in = in[n:]
				used, err := m.feed(chunk, &r.to)
				require.LessOrEqual(t, used, len(chunk))
				if err != nil {
					return r, err
				}
				rest = chunk[used:]
			}
			return r, nil
		}
		whole, wholeErr := feed(len(stream) + 1)
		cut, cutErr := feed(int(piece) + 1)
		require.Equal(t, wholeErr, cutErr)
		require.Equal(t, whole.controls, cut.controls)
		require.Equal(t, whole.sent(), cut.sent())
		requireFrames(t, whole.sent())
	})
}

// FuzzCommands checks that no control message causes a panic or a wrong index.
func FuzzCommands(f *testing.F) {
	for _, tc := range readVectors(f).Control {
		f.Add([]byte(tc.JSON))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		c, err := decodeCall(p)
		if err != nil {
			return
		}
		if params, err := decodeParams[terminateParams](c); err == nil {
			if index, err := checkIndex(params.Index); err == nil {
				require.Less(t, int(index), controlIndex)
			}
		}
		_, _ = decodeParams[ackParams](c)
		_, _ = decodeParams[connectParams](c)
	})
}

// vectors are the golden vectors of the specification. Frames are in hexadecimal, with blanks. <n*xx> is n times the
// byte xx.
type vectors struct {
	ToRemote []frameVector
	ToClient []frameVector
	Control  []struct{ Name, JSON string }
}

type frameVector struct {
	Name           string
	Client, Remote string
	Index          int
}

func readVectors(t testing.TB) (v vectors) {
	b, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	require.NotEmpty(t, v.ToRemote)
	require.NotEmpty(t, v.ToClient)
	require.NotEmpty(t, v.Control)
	return v
}

func unhex(t testing.TB, text string) []byte {
	text = repeated.ReplaceAllStringFunc(text, func(s string) string {
		m := repeated.FindStringSubmatch(s)
		n, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		return strings.Repeat(m[2], n)
	})
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	require.NoError(t, err)
	return b
}

// record keeps all events and messages of a connection.
type record struct {
	to       batch
	indexes  []int
	short    int
	commands []string
	controls []string
}

func (r *record) route(index int) *batch { r.indexes = append(r.indexes, index); return &r.to }

func (r *record) tooShort() { r.short++ }

func (r *record) command(_ ws.OpCode, p []byte) { r.commands = append(r.commands, string(p)) }

func (r *record) mayPass(int64) bool { return true }

func (r *record) control(op ws.OpCode, p []byte) error {
	r.controls = append(r.controls, fmt.Sprintf("%d %q", op, p))
	return nil
}

func (r *record) sent() []byte { return bytes.Join(r.to.all(), nil) }

// addSeed adds a seed, unless it is long: minimizing it would take long.
func addSeed(f *testing.F, stream []byte) {
	if len(stream) < 1000 {
		f.Add(stream, uint8(3))
	}
}

// requireFrames checks that all headers are valid. The last frame's payload may be incomplete.
func requireFrames(t *testing.T, b []byte) {
	inMessage := false
	for len(b) > 0 {
		var h header
		require.True(t, h.parse(b))
		require.NoError(t, h.check(h.masked, inMessage))
		inMessage = !h.fin()
		b = b[min(int64(len(b)), int64(h.size)+h.length):]
	}
}
