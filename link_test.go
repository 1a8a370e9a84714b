package wsep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/flow"
	"cdr.dev/wsep/internal/proto"
	"cdr.dev/wsep/internal/streamtest"
	"cdr.dev/wsep/internal/wstest"
)

// scriptConn is a Conn whose reads are scripted and whose writes are kept.
type scriptConn struct {
	Conn
	incoming []io.Reader
	sent     [][]byte
	onWrite  func() error // if set, decides what a write returns
}

func (c *scriptConn) SetReadLimit(int64)             {}
func (c *scriptConn) Ping(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
func (c *scriptConn) CloseNow() error                { return nil }
func (c *scriptConn) Close(int, string) error        { return nil }
func (c *scriptConn) Reader(context.Context) (io.Reader, error) {
	if len(c.incoming) == 0 {
		return nil, io.EOF
	}
	r := c.incoming[0]
	c.incoming = c.incoming[1:]
	return &endingReader{r: r}, nil
}

// endingReader can't be read beyond its end.
type endingReader struct {
	r     io.Reader
	ended bool
}

func (r *endingReader) Read(p []byte) (int, error) {
	if r.ended {
		return 0, errors.New("read beyond the end")
	}
	n, err := r.r.Read(p)
	r.ended = n == 0 && err != nil
	return n, err
}

func (c *scriptConn) Write(_ context.Context, p []byte) error {
	if c.onWrite != nil {
		if err := c.onWrite(); err != nil {
			return err
		}
	}
	c.sent = append(c.sent, bytes.Clone(p))
	return nil
}

// wireVectors are the messages of the wire specification. Some are malformed or unknown.
func wireVectors(t testing.TB) []wireVector {
	t.Helper()
	file, err := os.ReadFile("internal/proto/testdata/vectors.json")
	require.NoError(t, err)
	var all []wireVector
	require.NoError(t, json.Unmarshal(file, &all))
	return all
}

type wireVector struct {
	Name          string
	Message       string
	MessageBase64 []byte `json:"message_base64"`
	Body          string
	BodyBase64    []byte `json:"body_base64"`
	Error         string
}

func (v wireVector) message() []byte { return append([]byte(v.Message), v.MessageBase64...) }
func (v wireVector) body() string    { return v.Body + string(v.BodyBase64) }

// received is the result of one read of a link.
type received struct {
	stream proto.Stream
	body   string
	msg    any
	err    string
	kind   string // of the error
}

// receiveOver reads one message and its body.
func receiveOver(l *link, canonical string) received {
	data, msg, err := l.read(canonical)
	if err != nil {
		return received{err: err.Error(), kind: errorKind(err)}
	}
	switch msg := msg.(type) {
	case *proto.Ack:
		return received{msg: *msg}
	case *proto.Echo:
		return received{msg: *msg}
	}
	if msg != nil {
		return received{msg: msg}
	}
	body, err := io.ReadAll(data.body)
	if err != nil {
		return received{err: err.Error(), kind: errorKind(err)}
	}
	return received{stream: data.stream, body: string(body)}
}

func errorKind(err error) string {
	if _, ok := errors.AsType[*protocolError](err); ok {
		return "malformed"
	}
	if _, ok := errors.AsType[proto.UnknownTypeError](err); ok {
		return "unknown_type"
	}
	return "connection"
}

// canonicals are the headers that the two ends expect.
var canonicals = []string{proto.StdinHeader, proto.StdoutHeader}

// carry carries r, and ignores how r ends.
func carry(s *sender, r io.Reader) error {
	_, _, err := s.carry(r)
	return err
}

func TestLinkReadsVectors(t *testing.T) {
	for _, v := range wireVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			header, _ := proto.Split(v.message())
			want, _ := proto.Decode(header)
			for _, canonical := range canonicals {
				for name, pieces := range map[string]func(io.Reader) io.Reader{
					"whole":            func(r io.Reader) io.Reader { return r },
					"one byte":         iotest.OneByteReader,
					"end with the end": iotest.DataErrReader,
				} {
					l := &link{conn: &scriptConn{incoming: []io.Reader{pieces(bytes.NewReader(v.message()))}}}
					got := receiveOver(l, canonical)
					require.Equal(t, v.Error, got.kind, "%s: %s", name, got.err)
					if v.Error != "" {
						continue
					}
					if stream, ok := want.(proto.Stream); ok {
						require.Equal(t, received{stream: stream, body: v.body()}, got, name)
						continue
					}
					require.Equal(t, received{msg: want}, got, name)
				}
			}
		})
	}
}

// TestSpecificationNamesKinds: the kinds of errors are part of the wire.
func TestSpecificationNamesKinds(t *testing.T) {
	readme, err := os.ReadFile("internal/proto/README.md")
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(readme), "| kind | the error is | in Go it matches |\n|---|---|---|\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n\n")
	var names []string
	for row := range strings.Lines(table) {
		names = append(names, strings.Split(row, "`")[1])
	}
	var want []string
	for _, k := range kinds {
		want = append(want, k.name)
	}
	require.Equal(t, append(want, kindOther), names)
}

func TestMalformedMessageIsProtocolError(t *testing.T) {
	l := &link{conn: &scriptConn{incoming: []io.Reader{strings.NewReader("[]")}}}
	_, _, err := l.read(proto.StdinHeader)
	code, reason := CloseStatus(err)
	require.Equal(t, statusProtocolError, code)
	require.NotEmpty(t, reason)
}

func TestLinkReadPassesConnectionErrorsOn(t *testing.T) {
	for _, message := range []string{
		"", `{"type`, proto.StdoutHeader, proto.StdoutHeader + "body", `{"type":"exit_code","exit_c`,
		`{"type":"stdout","x":1}` + "\nbody",
	} {
		// A library may say "unexpected EOF" of a frame, and return some bytes of it, which it has not unmasked.
		for _, lost := range []error{io.ErrClosedPipe, io.ErrUnexpectedEOF} {
			failing := io.MultiReader(strings.NewReader(message), readFunc(func(p []byte) (int, error) { return copy(p, "?"), lost }))
			l := &link{conn: &scriptConn{incoming: []io.Reader{failing}}}
			got := receiveOver(l, proto.StdoutHeader)
			require.Equal(t, lost.Error(), got.err, "%q", message)
			require.Equal(t, "connection", got.kind, "%q: a lost connection is not the peer's mistake", message)
		}
	}
	_, _, err := (&link{conn: &scriptConn{}}).read(proto.StdinHeader)
	require.Equal(t, io.EOF, err)
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestLinkKeepsNoLargeControlMessage(t *testing.T) {
	large := `{"type":"exit_code","exit_code":1,"error":"` + strings.Repeat("x", 100000) + `"}`
	small := `{"type":"exit_code","exit_code":1,"error":"x"}`
	l := &link{conn: &scriptConn{incoming: []io.Reader{strings.NewReader(large), strings.NewReader(small)}}}
	require.Len(t, receiveOver(l, proto.StdoutHeader).msg.(proto.ExitCode).Error, 100000)
	require.LessOrEqual(t, cap(l.control), 4<<10)
	require.Equal(t, "x", receiveOver(l, proto.StdoutHeader).msg.(proto.ExitCode).Error)
	require.LessOrEqual(t, cap(l.control), 4<<10)
}

func TestReadingBulkDoesNotAllocate(t *testing.T) {
	l := &link{conn: &nullConn{message: proto.StdoutHeader + "some output"}}
	p := make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		data, _, err := l.read(proto.StdoutHeader)
		if err != nil || data.stream != proto.TypeStdout {
			t.Fatal(data.stream, err)
		}
		for err == nil {
			_, err = data.body.Read(p)
		}
	}))
}

// scriptedPieces returns msg in pieces of the given sizes, repeated. io.EOF comes with the last piece or after it.
func scriptedPieces(msg, sizes []byte) io.Reader {
	progress := false
	for _, n := range sizes {
		progress = progress || n > 0
	}
	if !progress {
		return bytes.NewReader(msg)
	}
	i := 0
	var r io.Reader = &streamtest.PiecesReader{Data: msg, Next: func() int {
		n := int(sizes[i%len(sizes)])
		i++
		return n
	}}
	if sizes[0]%2 == 1 {
		r = iotest.DataErrReader(r)
	}
	return r
}

// spellings are other headers with the same meaning as the constant bulk headers.
var spellings = []string{
	`{"type":"%s"} `,
	` {"type":"%s"}`,
	`{"type": "%s"}`,
	`{ "type" : "%s" }` + "\t\r",
	`{"type":"%s","x":1}`,
	`{"x":[{"type":"y"}],"type":"%s"}`,
	`{"t\u0079pe":"%s"}`,
}

func FuzzLinkBulk(f *testing.F) {
	f.Add([]byte("body"), []byte{1}, uint8(0))
	f.Add([]byte(""), []byte{0, 3}, uint8(1))
	f.Add([]byte("\n\nbo\ndy\n"), []byte{17, 1}, uint8(2))
	f.Add([]byte(proto.StdoutHeader), []byte{18}, uint8(3))
	f.Add(bytes.Repeat([]byte("0123456789"), 1000), []byte{255, 2, 0}, uint8(4))
	f.Add([]byte{0, 255, 10, 13}, []byte{}, uint8(5))
	f.Fuzz(func(t *testing.T, body, sizes []byte, n uint8) {
		spelling := spellings[int(n)%len(spellings)]
		for _, stream := range []proto.Stream{proto.TypeStdin, proto.TypeStdout, proto.TypeStderr} {
			constant := fmt.Sprintf("{\"type\":%q}\n%s", stream, body)
			other := fmt.Sprintf(spelling, stream) + "\n" + string(body)
			want := received{stream: stream, body: string(body)}
			for _, canonical := range canonicals {
				l := &link{conn: &scriptConn{incoming: []io.Reader{
					scriptedPieces([]byte(constant), sizes),
					scriptedPieces([]byte(other), sizes),
					scriptedPieces([]byte(constant), sizes),
				}}}
				for range 3 {
					require.Equal(t, want, receiveOver(l, canonical))
				}
			}
		}
	})
}

func FuzzLinkRead(f *testing.F) {
	for _, v := range wireVectors(f) {
		f.Add(v.message(), []byte{1, 2, 0})
	}
	f.Add([]byte(strings.Repeat("[", 5000)), []byte{255})
	f.Fuzz(func(t *testing.T, msg, sizes []byte) {
		after := received{stream: proto.TypeStderr, body: "after"}
		for _, canonical := range canonicals {
			var results []received
			for _, r := range []io.Reader{bytes.NewReader(msg), scriptedPieces(msg, sizes)} {
				l := &link{conn: &scriptConn{incoming: []io.Reader{r, strings.NewReader(proto.StderrHeader + "after")}}}
				results = append(results, receiveOver(l, canonical))
				require.NotEqual(t, "connection", results[0].kind)
				require.Equal(t, after, receiveOver(l, canonical), "a message does not reach into the next")
			}
			require.Equal(t, results[0], results[1], "the pieces in which a message comes mean nothing")
		}
	})
}

// senderTo returns a sender of stdout to a Conn, whose peer takes messages of at most limit bytes, and window bytes
// unacknowledged. It sets no pace.
func senderTo(conn Conn, limit int, window int64) *sender {
	s := newSender(proto.StdoutHeader, nil)
	s.attach(&link{conn: conn}, &proto.Extensions{Window: window})
	s.limit, s.pace = limit-len(proto.StdoutHeader), 0
	s.out.SetLargest(s.limit)
	return s
}

// newScriptSender is senderTo for a scriptConn.
func newScriptSender(limit int, window int64) (*sender, *scriptConn) {
	conn := &scriptConn{}
	return senderTo(conn, limit, window), conn
}

// requireSent shows that the messages carry exactly data, none of them empty or larger than limit.
func requireSent(t *testing.T, conn *scriptConn, limit int, data []byte) {
	t.Helper()
	var got []byte
	for _, m := range conn.sent {
		require.LessOrEqual(t, len(m), limit)
		body, ok := bytes.CutPrefix(m, []byte(proto.StdoutHeader))
		require.True(t, ok, "%.30q", m)
		require.NotEmpty(t, body)
		got = append(got, body...)
	}
	require.True(t, bytes.Equal(data, got), "sent %d bytes of %d", len(got), len(data))
}

var senderLimits = []int{proto.MaxMessage, 100000, defaultMaxMessage}

func TestSenderCarriesWhateverTheReaderReturns(t *testing.T) {
	readers := map[string]func(r io.Reader) io.Reader{
		"as much as asked for": func(r io.Reader) io.Reader { return r },
		"one byte":             iotest.OneByteReader,
		"half":                 iotest.HalfReader,
		"the end with data":    iotest.DataErrReader,
		"an error":             func(r io.Reader) io.Reader { return io.MultiReader(r, iotest.ErrReader(io.ErrClosedPipe)) },
		"nothing and something": func(r io.Reader) io.Reader {
			data, _ := io.ReadAll(r)
			return &streamtest.PiecesReader{Data: data, Next: streamtest.UpTo(2)}
		},
		"large and small": func(r io.Reader) io.Reader {
			data, _ := io.ReadAll(r)
			size, large := streamtest.UpTo(300000), streamtest.UpTo(1)
			return &streamtest.PiecesReader{Data: data, Next: func() int { return size() * large() / (1 + 1000*large()) }}
		},
	}
	const header = len(proto.StdoutHeader)
	sizes := []int{0, 1, 1023, 1024, 1025, 5000} // on both sides of an idle stream's room
	for name, reader := range readers {
		for _, limit := range senderLimits {
			for _, size := range slices.Concat(sizes, []int{limit - header, limit, limit + 1, 3 * limit}) {
				if size > 5000 && (name == "one byte" || name == "nothing and something") {
					continue // The race detector makes these slow.
				}
				t.Run(fmt.Sprintf("%s, limit %d, size %d", name, limit, size), func(t *testing.T) {
					data := streamtest.RandomBytes(size)
					s, conn := newScriptSender(limit, 0)
					require.NoError(t, carry(s, reader(bytes.NewReader(data))))
					requireSent(t, conn, limit, data)
				})
			}
		}
	}
}

func TestSenderSends(t *testing.T) {
	const header = len(proto.StdoutHeader)
	for _, limit := range senderLimits {
		for _, size := range []int{0, 1, limit - header - 1, limit - header, limit - header + 1, limit, 3 * limit} {
			data := streamtest.RandomBytes(size)
			s, conn := newScriptSender(limit, 0)
			n, err := s.write(data)
			require.NoError(t, err)
			require.Equal(t, size, n)
			requireSent(t, conn, limit, data)
			require.Equal(t, (size+limit-header-1)/(limit-header), len(conn.sent), "in as few messages as possible")
		}
	}
}

// TestSenderKeepsToItsWindow sends with windows that are smaller and larger than messages. The peer acknowledges
// whenever the sender has nothing left.
func TestSenderKeepsToItsWindow(t *testing.T) {
	data := streamtest.RandomBytes(600000)
	for _, window := range []int64{4096, 5000, 64000, 300000} {
		for name, send := range map[string]func(s *sender) error{
			"carry": func(s *sender) error { return carry(s, bytes.NewReader(data)) },
			"carry in pieces": func(s *sender) error {
				return carry(s, &streamtest.PiecesReader{Data: data, Next: streamtest.UpTo(20000)})
			},
			"send": func(s *sender) error {
				n, err := s.write(data)
				require.Equal(t, len(data), n)
				return err
			},
		} {
			conn := &ackingConn{window: window}
			s := senderTo(conn, proto.MaxMessage, window)
			conn.ack = s.ack
			require.NoError(t, send(s), name)
			s.awaitIdle()
			require.NoError(t, conn.err, name)
			requireSent(t, &conn.scriptConn, proto.MaxMessage, data)
		}
	}
}

// ackingConn is a scriptConn whose peer acknowledges what it has when its window is full.
type ackingConn struct {
	scriptConn
	window, got, acked int64
	ack                func(int64) error
	err                error
}

func (c *ackingConn) Write(ctx context.Context, p []byte) error {
	c.got += int64(len(p) - len(proto.StdoutHeader))
	if c.got > c.acked+c.window {
		c.err = errors.New("over the window")
	}
	if c.got == c.acked+c.window {
		c.acked = c.got
		c.err = errors.Join(c.err, c.ack(c.got))
	}
	return c.scriptConn.Write(ctx, p)
}

// TestCarryNoticesEndWhenWindowIsFull: output that exactly fills the window must not delay the exit code.
func TestCarryNoticesEndWhenWindowIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := streamtest.RandomBytes(5000)
		s, conn := newScriptSender(proto.MaxMessage, int64(len(data)))
		stop := make(chan struct{})
		s.stop = stop
		carried := make(chan error, 1)
		go func() { carried <- carry(s, bytes.NewReader(data)) }()
		synctest.Wait()
		close(stop)
		require.NoError(t, <-carried)
		requireSent(t, conn, proto.MaxMessage, data)
	})
}

func TestSenderStopsWaiting(t *testing.T) {
	data := streamtest.RandomBytes(10000)
	for name, send := range map[string]func(s *sender) (int, error){
		"carry": func(s *sender) (int, error) { return 5000, carry(s, bytes.NewReader(data)) },
		"send":  func(s *sender) (int, error) { return s.write(data) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, conn := newScriptSender(proto.MaxMessage, 5000)
			stop := make(chan struct{})
			s.stop = stop
			type result struct {
				n   int
				err error
			}
			results := make(chan result, 1)
			go func() {
				n, err := send(s)
				results <- result{n, err}
			}()
			synctest.Wait()
			require.Empty(t, results, name)
			close(stop)
			r := <-results
			require.ErrorIs(t, r.err, flow.ErrStopped, name)
			require.NotErrorIs(t, r.err, ErrDisconnected, name)
			require.Equal(t, 5000, r.n, name)
			requireSent(t, conn, proto.MaxMessage, data[:5000])
		})
	}
}

func TestSenderTellsLostConnection(t *testing.T) {
	s, conn := newScriptSender(proto.MaxMessage, 0)
	conn.onWrite = func() error { return io.ErrClosedPipe }
	err := carry(s, zeros{})
	require.ErrorIs(t, err, ErrDisconnected)
	require.ErrorIs(t, err, io.ErrClosedPipe)

	s, conn = newScriptSender(proto.MaxMessage, 0)
	conn.onWrite = func() error {
		if len(conn.sent) == 2 {
			return io.ErrClosedPipe
		}
		return nil
	}
	n, err := s.write(make([]byte, 3*proto.MaxMessage))
	require.ErrorIs(t, err, ErrDisconnected)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	require.Equal(t, 2*(proto.MaxMessage-len(proto.StdoutHeader)), n)
}

// askedReader returns as many bytes as sizes say, repeated. It records how many were asked for.
type askedReader struct {
	sizes []int
	reads int // how many there are
	asked []int
}

func (r *askedReader) Read(p []byte) (int, error) {
	done := len(r.asked)
	if done == r.reads {
		return 0, io.EOF
	}
	r.asked = append(r.asked, len(p))
	return min(r.sizes[done%len(r.sizes)], len(p)), nil
}

// burst is one large read and n small ones.
func burst(n int) []int { return append([]int{1 << 20}, slices.Repeat([]int{10}, n)...) }

// slowConn is a Conn that writes at a rate, in bytes a second, and keeps the messages' sizes.
type slowConn struct {
	Conn
	rate  int
	sizes []int
}

func (c *slowConn) takes(size int) time.Duration {
	return time.Duration(size) * time.Second / time.Duration(c.rate)
}

func (c *slowConn) Write(_ context.Context, p []byte) error {
	c.sizes = append(c.sizes, len(p))
	time.Sleep(c.takes(len(p)))
	return nil
}

// TestSlowNetworkGetsSmallMessages: other senders wait for the message that is being written.
func TestSlowNetworkGetsSmallMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{rate: 32 << 10}
		s := newSender(proto.StdoutHeader, nil)
		s.attach(&link{conn: conn}, &proto.Extensions{MaxMessage: defaultMaxMessage})
		for _, send := range []func([]byte) error{
			func(p []byte) error { _, err := s.write(p); return err },
			func(p []byte) error { return carry(s, bytes.NewReader(p)) },
		} {
			conn.sizes = nil
			require.NoError(t, send(make([]byte, 1<<20)))
			for _, size := range conn.sizes[4:] {
				require.LessOrEqual(t, conn.takes(size), slowMessage*5/4)
			}
			require.Less(t, len(conn.sizes), 1000, "no smaller than needed")
		}
		conn.rate, conn.sizes = 1<<30, nil
		require.NoError(t, carry(s, bytes.NewReader(make([]byte, 4<<20))))
		require.Contains(t, conn.sizes, defaultMaxMessage, "the network is fast again")
	})
}

// TestFirstMessagesAreSmall: at first the speed of the network is unknown.
func TestFirstMessagesAreSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := wstest.Pipe()
		client.Record()
		server.Record()
		execer := untilEnded()
		execer.stdin = nopCloser{io.Discard}
		execer.stdout = bytes.NewReader(make([]byte, 1<<20))
		go func() { _ = new(Server).ServeConn(t.Context(), server, execer, nil) }()
		p, err := RemoteExecerConn(client).Start(t.Context(), Command{Command: "x", Stdin: true})
		require.NoError(t, err)
		_, err = p.Stdin().Write(make([]byte, 1<<20))
		require.NoError(t, err)
		_, err = io.ReadFull(p.Stdout(), make([]byte, 1<<20))
		require.NoError(t, err)
		for header, sent := range map[string][]wstest.Message{
			proto.StdinHeader: client.Sent(), proto.StdoutHeader: server.Sent(),
		} {
			var sizes []int
			for _, m := range sent {
				if bytes.HasPrefix(m, []byte(header)) {
					sizes = append(sizes, len(m)-len(header))
				}
			}
			require.NotEmpty(t, sizes)
			require.LessOrEqual(t, sizes[0], firstPace, header)
			require.Greater(t, slices.Max(sizes), firstPace, "the network is fast")
		}
		_ = client.CloseNow()
	})
}

// calm is how many small reads make a stream one that carries little.
const calm = 16

// TestLargeFramesAreShared: streams take turns with the large frames, also streams that are busy only sometimes.
func TestLargeFramesAreShared(t *testing.T) {
	const rounds = 200
	for name, tc := range map[string]struct{ reads, frames int }{
		"busy now and then":    {3 * (calm + 1), 3},
		"busy to its very end": {1, 1},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			s := senderTo(&nullConn{}, proto.MaxMessage, 0)
			require.NoError(t, carry(s, &askedReader{sizes: burst(calm), reads: tc.reads}))
			s.end()
		}
		runtime.ReadMemStats(&after)
		// Under the race detector sync.Pool drops a quarter of its values.
		most := uint64(rounds * tc.frames * defaultMaxMessage / 2)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, most, name)
	}
}

func TestSizeLimit(t *testing.T) {
	for _, tc := range []struct {
		peer *proto.Extensions
		want int
	}{
		{nil, proto.MaxMessage},
		{&proto.Extensions{}, proto.MaxMessage},
		{&proto.Extensions{MaxMessage: proto.MaxMessage}, proto.MaxMessage},
		{&proto.Extensions{MaxMessage: 100000}, 100000},
		{&proto.Extensions{MaxMessage: defaultMaxMessage}, defaultMaxMessage},
		{&proto.Extensions{MaxMessage: 1 << 40}, defaultMaxMessage},
	} {
		require.Equal(t, tc.want, sizeLimit(tc.peer))
	}
}

// attachedReceipt returns what acknowledges a field over a connection.
func attachedReceipt(conn Conn, field proto.AckField) *receipt {
	r := &receipt{field: field}
	r.attach(&link{conn: conn})
	return r
}

func TestReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &scriptConn{}
		stdout, stderr := attachedReceipt(conn, proto.TypeStdout), attachedReceipt(conn, proto.TypeStderr)
		for _, send := range []func(){
			func() { stdout.send(1) }, func() { stderr.send(math.MaxInt64) }, func() { stdout.send(20) },
		} {
			send()
			synctest.Wait()
		}
		require.Equal(t, []string{
			`{"type":"ack","stdout":1}`, `{"type":"ack","stderr":9223372036854775807}`, `{"type":"ack","stdout":20}`,
		}, stringsOf(conn.sent))
		require.LessOrEqual(t, len(conn.sent[1]), maxNumberMessage)
	})
	acks := attachedReceipt(&nullConn{}, proto.TypeStdout)
	require.Zero(t, testing.AllocsPerRun(100, func() { acks.send(math.MaxInt64) }))
}

// TestReceiptIsRepeatedOverNextLink: what was sent over a link that is lost may not have arrived.
func TestReceiptIsRepeatedOverNextLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := &scriptConn{}, &scriptConn{}, &scriptConn{}
		r := attachedReceipt(first, proto.AckSeq)
		r.attach(&link{conn: first})
		r.detach()
		r.attach(&link{conn: second})
		synctest.Wait()
		require.Empty(t, second.sent, "there is nothing to acknowledge")
		r.send(7)
		synctest.Wait()
		r.detach()
		r.send(8)
		r.attach(&link{conn: third})
		synctest.Wait()
		require.Equal(t, []string{`{"type":"ack","seq":7}`}, stringsOf(second.sent))
		require.Equal(t, []string{`{"type":"ack","seq":8}`}, stringsOf(third.sent))
	})
}

// stuckConn is a Conn that writes nothing until it is let go.
type stuckConn struct {
	scriptConn
	free chan struct{}
}

func (c *stuckConn) Write(ctx context.Context, p []byte) error {
	<-c.free
	return c.scriptConn.Write(ctx, p)
}

// newFailingConn returns a stuckConn whose writes fail once it is let go.
func newFailingConn() *stuckConn {
	return &stuckConn{scriptConn: scriptConn{onWrite: refuseWrite}, free: make(chan struct{})}
}

func refuseWrite() error { return io.ErrClosedPipe }

// TestStreamFailsOverFormerLink: a write to a connection that is lost may fail after the next connection is there. The bytes
// go over that one.
func TestStreamFailsOverFormerLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		former, next := newFailingConn(), &scriptConn{}
		lost, current := &link{conn: former}, &link{conn: next}
		s := newSender(proto.StdoutHeader, nil)
		s.lasting = true
		s.attach(lost, &offer)
		written := make(chan error, 1)
		go func() {
			_, err := s.write([]byte("bytes"))
			written <- err
		}()
		synctest.Wait()
		s.detach(lost)
		require.NoError(t, s.rewind(0))
		s.attach(current, &offer)
		close(former.free)
		require.NoError(t, <-written)
		synctest.Wait()
		require.Equal(t, []string{proto.StdoutHeader + "bytes"}, stringsOf(next.sent))
	})
}

// TestReceiptWaitsForNobody: acks wait behind a message that can't be written. Their senders do not wait.
func TestReceiptWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &stuckConn{free: make(chan struct{})}
		acks := attachedReceipt(conn, proto.TypeStdin)
		for offset := range int64(100) {
			acks.send(offset + 1)
			synctest.Wait()
		}
		close(conn.free)
		synctest.Wait()
		require.Equal(t, []string{`{"type":"ack","stdin":1}`, `{"type":"ack","stdin":100}`}, stringsOf(conn.sent))
	})
}

func stringsOf(messages [][]byte) []string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m))
	}
	return all
}

// TestStreamOverLinks sends a stream from link to link over a connection. Acks come back.
func TestStreamOverLinks(t *testing.T) {
	data := streamtest.RandomBytes(2 << 20)
	for _, window := range []int64{4096, 64 << 10, defaultWindow} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			near, far := wstest.Pipe()
			sending, receiving := &link{conn: near}, &link{conn: far}
			s := newSender(proto.StdoutHeader, nil)
			s.attach(sending, &proto.Extensions{Window: window})
			b := flow.NewBuffer(int(window))
			b.Strict = true
			acks := &receipt{field: proto.TypeStdout}
			acks.attach(receiving)
			b.Consumed = flow.NewReceipts(window, 0, acks.send).Add

			var all sync.WaitGroup
			all.Go(func() {
				if err := carry(s, &streamtest.PiecesReader{Data: data, Next: streamtest.UpTo(100000)}); err != nil {
					t.Error(err)
				}
				s.awaitIdle()
				_ = sending.send(proto.ExitCode{})
			})
			all.Go(func() {
				for {
					_, msg, err := sending.read(proto.StdinHeader)
					if err != nil {
						return // The other end has closed.
					}
					if err := s.ack(msg.(*proto.Ack).Stdout); err != nil {
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for {
					data, msg, err := receiving.read(proto.StdoutHeader)
					if err == nil && msg == nil {
						err = b.Fill(data.body, nil)
					}
					if err == nil && msg != nil {
						err = io.EOF
					}
					if err != nil {
						b.Close(err)
						return
					}
				}
			})
			got, err := io.ReadAll(&streamtest.LimitedReader{R: b, Next: streamtest.UpTo(50000)})
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, got))
			_ = near.CloseNow()
			_ = far.CloseNow()
			all.Wait()
		})
	}
}

// TestStdinIsNotSentAfterItsEnd: a server would close the connection of a client that does this.
func TestStdinIsNotSentAfterItsEnd(t *testing.T) {
	for name, peer := range map[string]*proto.Extensions{"without flow control": nil, "with": &offer} {
		synctest.Test(t, func(t *testing.T) {
			conn := &scriptConn{}
			p := newRemoteProcess(Command{Stdin: true}, nil)
			l := p.use(conn)
			if peer != nil {
				p.peer = *peer
			}
			p.agree()
			p.attach(l)
			_, err := p.Stdin().Write([]byte("before"))
			require.NoError(t, err)
			require.NoError(t, p.Stdin().Close())
			n, err := p.Stdin().Write([]byte("after"))
			require.ErrorIs(t, err, os.ErrClosed, name)
			require.Zero(t, n)
			require.NoError(t, p.Stdin().Close())
			synctest.Wait()
			p.end()
			require.Equal(t, []string{proto.StdinHeader + "before", `{"type":"close_stdin"}`}, stringsOf(conn.sent), name)
		})
	}
}

// TestBlockedWriteIsNoticedAmongMany: while one write waits for a peer that does not read, another write returns. The
// connection must still count as blocked.
func TestBlockedWriteIsNoticedAmongMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l liveness
		require.False(t, l.blocked())
		l.begin()
		l.begin()
		time.Sleep(2 * slowWrite)
		require.True(t, l.blocked())
		l.end(1)
		time.Sleep(2 * slowWrite)
		require.True(t, l.blocked())
		time.Sleep(2 * slowWrite)
		require.True(t, l.blocked(), "the second write is still under way")
		require.NotZero(t, l.writing.Load())
		l.end(1)
		require.Zero(t, l.writing.Load())
		require.EqualValues(t, 2, l.written.Load())
		_ = l.blocked()
		require.False(t, l.blocked())
	})
}

// TestSlowPeerIsNotGone: a slow network takes long to send a message, and an idle command is silent after it.
func TestSlowPeerIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, program := io.Pipe()
		execer := untilEnded()
		execer.stdout = out
		client, served := serveFake(t, execer, nil)
		startRaw(t, client, &offer)
		go func() {
			for range 40 { // More than the connection holds.
				_, _ = program.Write(make([]byte, 1000))
			}
		}()
		time.Sleep(2 * slowWrite)
		go drain(client)
		time.Sleep(time.Hour)
		pings, ended := client.Pings(), len(served) == 1
		_ = client.CloseNow()
		_ = program.Close()
		err := <-served
		require.False(t, ended, "%v", err)
		require.Greater(t, pings, 200)
	})
}

// TestClientThatVanishesAtOnceIsNoticed: every client reads pid. So after pid a client without flow control has to answer.
func TestClientThatVanishesAtOnceIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, served := serveFake(t, untilEnded(), nil)
		startRaw(t, client, nil)
		client.Cut()
		time.Sleep(2*defaultKeepAlive + time.Second)
		noticed := len(served) == 1
		_ = client.CloseNow()
		<-served
		require.True(t, noticed)
	})
}

func BenchmarkLinkRead(b *testing.B) {
	for _, bc := range []struct{ name, message string }{
		{"bulk of 32 KiB", proto.StdoutHeader + strings.Repeat("x", 32<<10)},
		{"bulk by another spelling", "{\"type\": \"stdout\"}\n" + strings.Repeat("x", 32<<10)},
		{"ack", `{"type":"ack","stdin":1073741824}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			l := &link{conn: &nullConn{message: bc.message}}
			p := make([]byte, 32<<10)
			b.SetBytes(int64(len(bc.message)))
			b.ReportAllocs()
			for b.Loop() {
				data, msg, err := l.read(proto.StdoutHeader)
				if err != nil {
					b.Fatal(err)
				}
				for msg == nil && err == nil {
					_, err = data.body.Read(p)
				}
			}
		})
	}
}

func BenchmarkSenderCarry(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
	}{{"10 B", 10}, {"32 KiB", 32 << 10}, {"as much as fits", 1 << 30}} {
		b.Run(bc.name, func(b *testing.B) {
			s := senderTo(&nullConn{}, defaultMaxMessage, 0)
			r := &benchReader{b: b, n: bc.size}
			b.ReportAllocs()
			if err := carry(s, r); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// benchReader returns n bytes, or as many as asked for, in each round of b.
type benchReader struct {
	b *testing.B
	n int
}

func (r *benchReader) Read(p []byte) (int, error) {
	if !r.b.Loop() {
		return 0, io.EOF
	}
	return min(r.n, len(p)), nil
}

func BenchmarkSenderSend(b *testing.B) {
	s := senderTo(&nullConn{}, defaultMaxMessage, 0)
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.write(p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReceipt(b *testing.B) {
	acks := attachedReceipt(&nullConn{}, proto.TypeStdout)
	b.ReportAllocs()
	for b.Loop() {
		acks.send(1 << 30)
	}
}
