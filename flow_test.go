package wsep

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// randomBytes returns n bytes that are the same in every run.
func randomBytes(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// piecesReader returns data in pieces of the sizes that next gives, 0 included, and then io.EOF.
type piecesReader struct {
	data []byte
	next func() int
}

func (r *piecesReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.next(), len(p))], r.data)
	r.data = r.data[n:]
	return n, nil
}

// upTo returns a function that returns random numbers from 0 to most.
func upTo(most int) func() int {
	r := rand.New(rand.NewPCG(1, uint64(most)))
	return func() int { return r.IntN(most + 1) }
}

// bufferLimits are limits on both sides of what a chunk holds.
var bufferLimits = []int{1, 100, chunkSize - 1, chunkSize, chunkSize + 1, 5 * chunkSize / 2}

// fillAndClose fills b and then ends it, with the error of fill if there is one.
func fillAndClose(b *buffer, r io.Reader) {
	err := b.fill(r, nil)
	if err == nil {
		err = io.EOF
	}
	b.close(err)
}

// requireNoMemory shows that the buffer holds no chunk, also not behind its back.
func requireNoMemory(t *testing.T, b *buffer) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Zero(t, b.size)
	require.Empty(t, b.chunks)
	for _, c := range b.chunks[:cap(b.chunks)] {
		require.Nil(t, c)
	}
}

// requireFull shows that a buffer whose producer waits holds its limit. One byte more is allowed, since only who reads
// on learns whether there is more.
func requireFull(t *testing.T, b *buffer) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Contains(t, []int{b.limit, b.limit + 1}, b.size)
}

func TestBufferTakesItsLimitAndNoMore(t *testing.T) {
	for _, limit := range bufferLimits {
		synctest.Test(t, func(t *testing.T) {
			data := randomBytes(3*limit + 7)
			b := newBuffer(limit)
			go fillAndClose(b, bytes.NewReader(data))
			synctest.Wait()
			requireFull(t, b)
			require.LessOrEqual(t, len(b.chunks), limit/chunkSize+1)

			first := make([]byte, 1)
			_, err := io.ReadFull(b, first)
			require.NoError(t, err)
			synctest.Wait()
			requireFull(t, b) // Room is used as soon as there is some.

			rest, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Equal(t, data, append(first, rest...))
			requireNoMemory(t, b)
		})
	}
}

// TestBufferTakesWhatJustFits: what the producer reads next, the exit code perhaps, must not wait for a consumer.
func TestBufferTakesWhatJustFits(t *testing.T) {
	for _, limit := range bufferLimits {
		synctest.Test(t, func(t *testing.T) {
			b := newBuffer(limit)
			stop := make(chan struct{})
			filled := make(chan error, 1)
			go func() { filled <- b.fill(bytes.NewReader(randomBytes(limit)), stop) }()
			synctest.Wait()
			close(stop)
			require.NoError(t, <-filled, "limit %d", limit)
		})
	}
}

func TestBufferStopsWaitingForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(10)
		stop := make(chan struct{})
		filled := make(chan error, 1)
		go func() { filled <- b.fill(bytes.NewReader(randomBytes(25)), stop) }()
		synctest.Wait()
		require.Empty(t, filled)
		close(stop)
		require.ErrorIs(t, <-filled, errStopped)

		b.close(io.ErrUnexpectedEOF)
		got, err := io.ReadAll(b)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.GreaterOrEqual(t, len(got), 10)
		require.Equal(t, randomBytes(25)[:len(got)], got, "what was taken is not lost")
	})
}

func TestBufferTellsThatItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(10)
		told := 0
		b.full = func() { told++ }
		go fillAndClose(b, bytes.NewReader(randomBytes(15)))
		time.Sleep(10*fullInterval + fullInterval/2)
		synctest.Wait()
		require.Equal(t, 10, told)

		_, err := io.ReadFull(b, make([]byte, 9))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Equal(t, 10, told, "nobody waits")
	})
}

func TestStrictBufferRefusesMoreThanItsLimit(t *testing.T) {
	for _, limit := range bufferLimits {
		b := newBuffer(limit)
		b.strict = true
		require.NoError(t, b.fill(bytes.NewReader(randomBytes(limit)), nil))
		err := b.fill(bytes.NewReader([]byte("x")), nil)
		require.ErrorIs(t, err, errWindowExceeded)
		code, reason := CloseStatus(err)
		require.Equal(t, statusProtocolError, code)
		require.NotEmpty(t, reason)

		b = newBuffer(limit)
		b.strict = true
		for range 3 {
			require.NoError(t, b.fill(bytes.NewReader(randomBytes(limit)), nil))
			_, err := io.ReadFull(b, make([]byte, limit))
			require.NoError(t, err, "what was read is room again")
		}
	}
}

func TestStrictBufferIsBounded(t *testing.T) {
	for _, limit := range bufferLimits {
		b := newBuffer(limit)
		b.strict = true
		var taken countingWriter
		endless := io.TeeReader(&piecesReader{randomBytes(limit + 10*chunkSize), upTo(5000)}, &taken)
		require.ErrorIs(t, b.fill(endless, nil), errWindowExceeded)
		require.LessOrEqual(t, taken.n, limit+chunkSize)
	}
}

type countingWriter struct{ n int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.n += len(p)
	return len(p), nil
}

func TestBufferKeepsWhatCameBeforeAnError(t *testing.T) {
	for _, r := range []io.Reader{
		io.MultiReader(bytes.NewReader(randomBytes(100)), iotest.ErrReader(io.ErrClosedPipe)),
		&failingWithData{randomBytes(100)},
	} {
		b := newBuffer(1000)
		require.ErrorIs(t, b.fill(r, nil), io.ErrClosedPipe)
		b.close(io.EOF)
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, randomBytes(100), got)
	}
}

// failingWithData returns its last bytes together with an error.
type failingWithData struct{ data []byte }

func (r *failingWithData) Read(p []byte) (int, error) {
	n := copy(p, r.data)
	r.data = r.data[n:]
	if len(r.data) > 0 {
		return n, nil
	}
	return n, io.ErrClosedPipe
}

func TestBufferDiscards(t *testing.T) {
	for _, strict := range []bool{false, true} {
		var consumed int
		b := newBuffer(2 * chunkSize)
		b.strict = strict
		b.consumed = func(n int) { consumed += n }
		require.NoError(t, b.fill(bytes.NewReader(randomBytes(chunkSize+10)), nil))
		_, err := io.ReadFull(b, make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 10, consumed)

		b.discard()
		require.Equal(t, chunkSize+10, consumed)
		requireNoMemory(t, b)

		require.NoError(t, b.fill(bytes.NewReader(randomBytes(10*chunkSize)), nil), "there is no limit any more")
		require.Equal(t, 11*chunkSize+10, consumed)
		requireNoMemory(t, b)

		b.close(io.EOF)
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Empty(t, got)
	}
}

func TestDiscardWakesProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var consumed atomic.Int64
		b := newBuffer(10)
		b.consumed = func(n int) { consumed.Add(int64(n)) }
		filled := make(chan error, 1)
		go func() { filled <- b.fill(bytes.NewReader(randomBytes(1000)), nil) }()
		synctest.Wait()
		require.Empty(t, filled)
		b.discard()
		require.NoError(t, <-filled)
		require.EqualValues(t, 1000, consumed.Load())
		requireNoMemory(t, b)
	})
}

// actingReader calls act during its first read, as somebody may who is not the producer.
type actingReader struct {
	io.Reader
	act func()
}

func (r *actingReader) Read(p []byte) (int, error) {
	if r.act != nil {
		r.act()
		r.act = nil
	}
	return r.Reader.Read(p)
}

func TestDiscardWhileProducerReads(t *testing.T) {
	var consumed int
	b := newBuffer(1000)
	b.consumed = func(n int) { consumed += n }
	require.NoError(t, b.fill(bytes.NewReader(randomBytes(100)), nil))
	discard := func() {
		b.discard()
		require.Len(t, b.chunks, 1, "the producer is writing to it")
	}
	require.NoError(t, b.fill(&actingReader{bytes.NewReader(randomBytes(200)), discard}, nil))
	require.Equal(t, 300, consumed)
	requireNoMemory(t, b)
}

func TestReadWhileProducerReads(t *testing.T) {
	b := newBuffer(1000)
	require.NoError(t, b.fill(bytes.NewReader(randomBytes(100)), nil))
	got := make([]byte, 100)
	readAll := func() {
		_, err := io.ReadFull(b, got)
		require.NoError(t, err)
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Len(t, b.chunks, 1, "the producer is writing to it")
	}
	require.NoError(t, b.fill(&actingReader{bytes.NewReader(randomBytes(200)), readAll}, nil))
	require.Equal(t, randomBytes(100), got)
	b.close(io.EOF)
	rest, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, randomBytes(200), rest)
	requireNoMemory(t, b)
}

func TestBufferGivesMemoryBack(t *testing.T) {
	b := newBuffer(20 * chunkSize)
	require.NoError(t, b.fill(bytes.NewReader(nil), nil))
	requireNoMemory(t, b)

	require.NoError(t, b.fill(bytes.NewReader(randomBytes(10*chunkSize)), nil))
	p := make([]byte, 1000)
	for left := 10 * chunkSize; left > 0; {
		n, err := b.Read(p)
		require.NoError(t, err)
		left -= n
		b.mu.Lock()
		held := len(b.chunks)
		b.mu.Unlock()
		require.LessOrEqual(t, held, (left+chunkSize-1)/chunkSize+1, "%d bytes left", left)
	}
	requireNoMemory(t, b)
}

func TestBufferKeepsData(t *testing.T) {
	data := randomBytes(1 << 20)
	consumers := map[string]func(b *buffer, got *bytes.Buffer, size func() int) error{
		"Read": func(b *buffer, got *bytes.Buffer, size func() int) error {
			for {
				p := make([]byte, size())
				n, err := b.Read(p)
				got.Write(p[:n])
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		},
		"WriteTo": func(b *buffer, got *bytes.Buffer, _ func() int) error {
			_, err := b.WriteTo(got)
			return err
		},
		"first one, then the other": func(b *buffer, got *bytes.Buffer, _ func() int) error {
			if _, err := io.CopyN(got, b, 300000); err != nil {
				return err
			}
			_, err := b.WriteTo(got)
			return err
		},
	}
	// All at a time, so that a chunk that two buffers hold would be noticed.
	var all sync.WaitGroup
	defer all.Wait()
	for name, consume := range consumers {
		for i, limit := range bufferLimits[1:] {
			all.Go(func() {
				var consumed int
				b := newBuffer(limit)
				b.consumed = func(n int) { consumed += n }
				var producer io.Reader = &piecesReader{data, upTo(3 * limit / 2)}
				if i%2 == 0 {
					producer = iotest.DataErrReader(producer) // The end comes with the last bytes.
				}
				go fillAndClose(b, producer)
				var got bytes.Buffer
				if err := consume(b, &got, upTo(3*limit/2)); err != nil {
					t.Errorf("%s, limit %d: %v", name, limit, err)
				}
				if !bytes.Equal(data, got.Bytes()) {
					t.Errorf("%s, limit %d: other data came out", name, limit)
				}
				if consumed != len(data) {
					t.Errorf("%s, limit %d: %d bytes counted as consumed", name, limit, consumed)
				}
			})
		}
	}
}

func TestConcurrentReadsTakeTurns(t *testing.T) {
	data := randomBytes(1 << 20)
	b := newBuffer(chunkSize)
	go fillAndClose(b, &piecesReader{data, upTo(10000)})
	var mu sync.Mutex
	var got []byte
	take := func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, p...)
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		if _, err := b.WriteTo(yieldingWriter(take)); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		readers.Go(func() {
			own, err := io.ReadAll(iotest.HalfReader(b))
			take(own)
			if err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	want := slices.Clone(data)
	slices.Sort(want)
	slices.Sort(got)
	require.True(t, bytes.Equal(want, got), "every byte comes out once")
}

// yieldingWriter lets others run while it has bytes of the buffer's.
type yieldingWriter func(p []byte)

func (w yieldingWriter) Write(p []byte) (int, error) {
	for range 100 {
		runtime.Gosched()
	}
	w(p)
	return len(p), nil
}

func TestEmptyReadReturnsAtOnce(t *testing.T) {
	n, err := newBuffer(10).Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestBufferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBuffer(10)
		require.NoError(t, b.fill(bytes.NewReader([]byte("abc")), nil))
		b.close(io.ErrClosedPipe)
		b.close(io.EOF)
		got, err := io.ReadAll(b)
		require.Equal(t, "abc", string(got), "the end comes after the last byte")
		require.ErrorIs(t, err, io.ErrClosedPipe, "the first end counts")
		_, err = b.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.ErrClosedPipe, "and stays")
		_, err = b.WriteTo(io.Discard)
		require.ErrorIs(t, err, io.ErrClosedPipe)

		b = newBuffer(10)
		read := make(chan error, 1)
		go func() {
			_, err := b.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		require.Empty(t, read)
		b.close(io.EOF)
		require.Equal(t, io.EOF, <-read, "a reader that waits is woken")

		n, err := b.WriteTo(io.Discard)
		require.NoError(t, err, "the end is no error for WriteTo")
		require.Zero(t, n)
	})
}

// limitedWriter takes n bytes and then returns err.
type limitedWriter struct {
	n   int
	err error
	got []byte
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) <= w.n {
		w.n -= len(p)
		w.got = append(w.got, p...)
		return len(p), nil
	}
	n := w.n
	w.n = 0
	w.got = append(w.got, p[:n]...)
	return n, w.err
}

func TestWriteToFailingWriter(t *testing.T) {
	data := randomBytes(3 * chunkSize)
	for _, taken := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize - 1} {
		for _, tc := range []struct{ err, want error }{
			{io.ErrClosedPipe, io.ErrClosedPipe},
			{nil, io.ErrShortWrite},
		} {
			consumed := 0
			b := newBuffer(2 * len(data))
			b.consumed = func(n int) { consumed += n }
			require.NoError(t, b.fill(bytes.NewReader(data), nil))
			b.close(io.EOF)

			w := &limitedWriter{n: taken, err: tc.err}
			n, err := b.WriteTo(w)
			require.ErrorIs(t, err, tc.want)
			require.EqualValues(t, taken, n)
			require.Equal(t, taken, consumed)
			require.True(t, bytes.Equal(data[:taken], w.got))

			rest, err := io.ReadAll(b)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data[taken:], rest), "what was not written is still there")
		}
	}
}

func TestConsumedIsCalledWithoutLock(t *testing.T) {
	b := newBuffer(10)
	b.consumed = func(int) { b.close(io.ErrClosedPipe) }
	require.NoError(t, b.fill(bytes.NewReader([]byte("ab")), nil))
	_, err := io.ReadFull(b, make([]byte, 1))
	require.NoError(t, err)
	b.discard()
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestCreditWithoutFlowControl(t *testing.T) {
	c := newCredit(0)
	for range 3 {
		n, err := c.available(1<<30, nil)
		require.NoError(t, err)
		require.Equal(t, 1<<30, n)
		c.spend(n)
	}
}

func TestCredit(t *testing.T) {
	c := newCredit(100)
	available := func(most, want int) {
		t.Helper()
		n, err := c.available(most, nil)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	available(60, 60)
	available(100, 100)
	available(101, 100)
	c.spend(60)
	available(60, 40)
	available(40, 40)
	available(10, 10)
	require.NoError(t, c.ack(25))
	available(100, 65)
	c.spend(65)
	require.NoError(t, c.ack(25), "twice the same says nothing new")
	require.NoError(t, c.ack(125))
	available(1000, 100)
}

func TestBadAcks(t *testing.T) {
	c := newCredit(100)
	c.spend(80)
	require.NoError(t, c.ack(50))
	for _, offset := range []int64{81, 1 << 62, 49, 1, -1, -1 << 63} {
		err := c.ack(offset)
		require.Error(t, err, "%d", offset)
		code, _ := CloseStatus(err)
		require.Equal(t, statusProtocolError, code)
	}
	n, err := c.available(1000, nil)
	require.NoError(t, err)
	require.Equal(t, 70, n, "a bad ack changes nothing")
	require.NoError(t, c.ack(0), "0 says that the stream was left out")
	n, err = c.available(1000, nil)
	require.NoError(t, err)
	require.Equal(t, 70, n)

	require.Error(t, newCredit(100).ack(1), "nothing was sent")
	require.Error(t, newCredit(0).ack(1), "nor without flow control")
}

func TestCreditIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredit(100)
		stop := make(chan struct{})
		type result struct {
			n   int
			err error
		}
		results := make(chan result, 1)
		await := func() {
			n, err := c.available(1000, stop)
			results <- result{n, err}
		}
		c.spend(100)
		go await()
		synctest.Wait()
		require.Empty(t, results)
		require.NoError(t, c.ack(0))
		synctest.Wait()
		require.Empty(t, results, "an ack of nothing grants nothing")
		require.NoError(t, c.ack(30))
		require.Equal(t, result{n: 30}, <-results)

		c.spend(30)
		go await()
		synctest.Wait()
		require.Empty(t, results)
		close(stop)
		require.Equal(t, result{err: errStopped}, <-results)
	})
}

// TestStaleGrantGrantsNothing: the grant of an ack that came while nobody waited must not be taken for credit later.
func TestStaleGrantGrantsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCredit(100)
		c.spend(50)
		require.NoError(t, c.ack(50))
		c.spend(100)
		got := make(chan int, 1)
		go func() {
			n, _ := c.available(1, nil)
			got <- n
		}()
		synctest.Wait()
		require.Empty(t, got)
		require.NoError(t, c.ack(51))
		require.Equal(t, 1, <-got)
	})
}

func TestReceipts(t *testing.T) {
	var told []int64
	r := newReceipts(400, func(offset int64) { told = append(told, offset) })
	for _, tc := range []struct {
		n    int
		want []int64
	}{
		{99, nil},
		{1, []int64{100}},
		{50, []int64{100}},
		{49, []int64{100}},
		{300, []int64{100, 499}},
		{0, []int64{100, 499}},
		{100, []int64{100, 499, 599}},
	} {
		r.add(tc.n)
		require.Equal(t, tc.want, told)
	}
}

func TestReceiptsFromManyReaders(t *testing.T) {
	var told []int64
	r := newReceipts(4000, func(offset int64) { told = append(told, offset) })
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 1000 {
				r.add(7)
			}
		})
	}
	readers.Wait()
	require.NotEmpty(t, told)
	last := int64(0)
	for _, offset := range told {
		require.GreaterOrEqual(t, offset, last+1000)
		last = offset
	}
	require.LessOrEqual(t, last, int64(8*7000))
	require.Greater(t, last+1000, int64(8*7000))
}

// TestWindowKeepsSenderWithinBuffer joins the three: what the credit lets through fits the strict buffer, and the
// receipts keep it flowing, whatever the sizes.
func TestWindowKeepsSenderWithinBuffer(t *testing.T) {
	data := randomBytes(1 << 20)
	for _, window := range []int{4096, 5000, chunkSize, 300000, 4 << 20} {
		b := newBuffer(window)
		b.strict = true
		c := newCredit(int64(window))
		failed := make(chan error, 1)
		b.consumed = newReceipts(int64(window), func(offset int64) {
			if err := c.ack(offset); err != nil {
				failed <- err
			}
		}).add
		go func() {
			left, size := data, upTo(2*window)
			for len(left) > 0 {
				n, err := c.available(min(size(), len(left)), nil)
				if err == nil {
					c.spend(n)
					err = b.fill(bytes.NewReader(left[:n]), nil)
				}
				if err != nil {
					b.close(err)
					return
				}
				left = left[n:]
			}
			b.close(io.EOF)
		}()
		got, err := io.ReadAll(&limitedReads{b, upTo(window)})
		require.NoError(t, err, "window %d", window)
		require.True(t, bytes.Equal(data, got), "window %d", window)
		require.Empty(t, failed)
	}
}

// limitedReads reads in pieces of the sizes that next gives, or of one byte instead of none.
type limitedReads struct {
	r    io.Reader
	next func() int
}

func (l *limitedReads) Read(p []byte) (int, error) {
	return l.r.Read(p[:min(max(1, l.next()), len(p))])
}

func BenchmarkBuffer(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
	}{{"100 B", 100}, {"32 KiB", 32 << 10}, {"256 KiB", 256 << 10}} {
		b.Run("fill and Read/"+bc.name, func(b *testing.B) {
			buf := newBuffer(defaultWindow)
			data, p := bytes.NewReader(make([]byte, bc.size)), make([]byte, bc.size)
			b.SetBytes(int64(bc.size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = data.Seek(0, io.SeekStart)
				if err := buf.fill(data, nil); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(buf, p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("between two goroutines/"+bc.name, func(b *testing.B) {
			buf := newBuffer(defaultWindow)
			drained := make(chan error, 1)
			go func() {
				_, err := buf.WriteTo(discardWriter{})
				drained <- err
			}()
			data := bytes.NewReader(make([]byte, bc.size))
			b.SetBytes(int64(bc.size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = data.Seek(0, io.SeekStart)
				if err := buf.fill(data, nil); err != nil {
					b.Fatal(err)
				}
			}
			buf.close(io.EOF)
			if err := <-drained; err != nil {
				b.Fatal(err)
			}
		})
	}
}

type discardWriter struct{}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkCredit(b *testing.B) {
	c := newCredit(defaultWindow)
	r := newReceipts(defaultWindow, func(offset int64) {
		if err := c.ack(offset); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		n, err := c.available(32<<10, nil)
		if err != nil {
			b.Fatal(err)
		}
		c.spend(n)
		r.add(n)
	}
}

// TestSteadyStateDoesNotAllocate: streams of any length cost no memory but what they hold.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	b := newBuffer(defaultWindow)
	c := newCredit(defaultWindow)
	b.consumed = newReceipts(defaultWindow, func(offset int64) { _ = c.ack(offset) }).add
	data, p := bytes.NewReader(make([]byte, 1000)), make([]byte, 1000)
	allocs := testing.AllocsPerRun(1000, func() {
		_, _ = data.Seek(0, io.SeekStart)
		n, err := c.available(len(p), nil)
		c.spend(n)
		err = errors.Join(err, b.fill(data, nil))
		_, readErr := io.ReadFull(b, p)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
	})
	require.Zero(t, allocs)
}
