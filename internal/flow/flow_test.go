package flow

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/streamtest"
)

// testWindow is the window of a stream in use.
const testWindow = 2 << 20

// bufferLimits are limits below and above the size of a chunk.
var bufferLimits = []int{1, 100, chunkSize - 1, chunkSize, chunkSize + 1, 5 * chunkSize / 2}

func TestBufferTakesItsLimitAndNoMore(t *testing.T) {
	for _, limit := range bufferLimits {
		synctest.Test(t, func(t *testing.T) {
			data := streamtest.RandomBytes(3*limit + 7)
			b := NewBuffer(limit)
			go fillAndClose(b, bytes.NewReader(data))
			synctest.Wait()
			requireFull(t, b)
			require.LessOrEqual(t, len(b.chunks), limit/chunkSize+1)

			first := make([]byte, 1)
			_, err := io.ReadFull(b, first)
			require.NoError(t, err)
			synctest.Wait()
			requireFull(t, b) // The producer uses room as soon as there is some.

			rest, err := io.ReadAll(b)
			require.NoError(t, err)
			require.Equal(t, data, append(first, rest...))
			requireNoMemory(t, b)
		})
	}
}

// TestBufferTakesWhatJustFits fills a buffer exactly. The producer must not wait for a consumer before its next read,
// which may be the exit code.
func TestBufferTakesWhatJustFits(t *testing.T) {
	for _, limit := range bufferLimits {
		synctest.Test(t, func(t *testing.T) {
			b := NewBuffer(limit)
			stop := make(chan struct{})
			filled := make(chan error, 1)
			go func() { filled <- b.Fill(bytes.NewReader(streamtest.RandomBytes(limit)), stop) }()
			synctest.Wait()
			close(stop)
			require.NoError(t, <-filled, "limit %d", limit)
		})
	}
}

func TestBufferStopsWaitingForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer(10)
		stop := make(chan struct{})
		filled := make(chan error, 1)
		go func() { filled <- b.Fill(bytes.NewReader(streamtest.RandomBytes(25)), stop) }()
		synctest.Wait()
		require.Empty(t, filled)
		close(stop)
		require.ErrorIs(t, <-filled, ErrStopped)

		b.Close(io.ErrUnexpectedEOF)
		got, err := io.ReadAll(b)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.GreaterOrEqual(t, len(got), 10)
		require.Equal(t, streamtest.RandomBytes(25)[:len(got)], got, "what was taken is not lost")
	})
}

func TestBufferTellsThatItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer(10)
		told := 0
		b.Full = func() { told++ }
		go fillAndClose(b, bytes.NewReader(streamtest.RandomBytes(15)))
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
		b := NewBuffer(limit)
		b.Strict = true
		require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(limit)), nil))
		err := b.Fill(bytes.NewReader([]byte("x")), nil)
		require.ErrorIs(t, err, ErrWindow)

		b = NewBuffer(limit)
		b.Strict = true
		for range 3 {
			require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(limit)), nil))
			_, err := io.ReadFull(b, make([]byte, limit))
			require.NoError(t, err, "what was read is room again")
		}
	}
}

func TestStrictBufferIsBounded(t *testing.T) {
	for _, limit := range bufferLimits {
		b := NewBuffer(limit)
		b.Strict = true
		var taken countingWriter
		endless := io.TeeReader(&streamtest.PiecesReader{Data: streamtest.RandomBytes(limit + 10*chunkSize), Next: streamtest.UpTo(5000)}, &taken)
		require.ErrorIs(t, b.Fill(endless, nil), ErrWindow)
		require.LessOrEqual(t, taken.n, limit+chunkSize)
	}
}

func TestBufferKeepsWhatCameBeforeAnError(t *testing.T) {
	data := streamtest.RandomBytes(100)
	for _, r := range []io.Reader{
		io.MultiReader(bytes.NewReader(data), iotest.ErrReader(io.ErrClosedPipe)),
		io.MultiReader(bytes.NewReader(data), &failingWithData{[]byte("not unmasked")}),
	} {
		b := NewBuffer(1000)
		require.ErrorIs(t, b.Fill(r, nil), io.ErrClosedPipe)
		b.Close(io.EOF)
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Equal(t, data, got)
		require.EqualValues(t, len(data), b.Received())
	}
}

func TestBufferDiscards(t *testing.T) {
	for _, strict := range []bool{false, true} {
		var consumed int
		b := NewBuffer(2 * chunkSize)
		b.Strict = strict
		b.Consumed = func(n int) { consumed += n }
		require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(chunkSize+10)), nil))
		_, err := io.ReadFull(b, make([]byte, 10))
		require.NoError(t, err)
		require.Equal(t, 10, consumed)

		b.Discard()
		require.Equal(t, chunkSize+10, consumed)
		requireNoMemory(t, b)

		require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(10*chunkSize)), nil), "there is no limit any more")
		require.Equal(t, 11*chunkSize+10, consumed)
		requireNoMemory(t, b)

		b.Close(io.EOF)
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		require.Empty(t, got)
	}
}

func TestDiscardWakesProducer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var consumed atomic.Int64
		b := NewBuffer(10)
		b.Consumed = func(n int) { consumed.Add(int64(n)) }
		filled := make(chan error, 1)
		go func() { filled <- b.Fill(bytes.NewReader(streamtest.RandomBytes(1000)), nil) }()
		synctest.Wait()
		require.Empty(t, filled)
		b.Discard()
		require.NoError(t, <-filled)
		require.EqualValues(t, 1000, consumed.Load())
		requireNoMemory(t, b)
	})
}

func TestDiscardWhileProducerReads(t *testing.T) {
	var consumed int
	b := NewBuffer(1000)
	b.Consumed = func(n int) { consumed += n }
	require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(100)), nil))
	discard := func() {
		b.Discard()
		require.Len(t, b.chunks, 1, "the producer is writing to it")
	}
	require.NoError(t, b.Fill(&actingReader{bytes.NewReader(streamtest.RandomBytes(200)), discard}, nil))
	require.Equal(t, 300, consumed)
	requireNoMemory(t, b)
}

func TestReadWhileProducerReads(t *testing.T) {
	b := NewBuffer(1000)
	require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(100)), nil))
	got := make([]byte, 100)
	readAll := func() {
		_, err := io.ReadFull(b, got)
		require.NoError(t, err)
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Len(t, b.chunks, 1, "the producer is writing to it")
	}
	require.NoError(t, b.Fill(&actingReader{bytes.NewReader(streamtest.RandomBytes(200)), readAll}, nil))
	require.Equal(t, streamtest.RandomBytes(100), got)
	b.Close(io.EOF)
	rest, err := io.ReadAll(b)
	require.NoError(t, err)
	require.Equal(t, streamtest.RandomBytes(200), rest)
	requireNoMemory(t, b)
}

func TestBufferGivesMemoryBack(t *testing.T) {
	b := NewBuffer(20 * chunkSize)
	require.NoError(t, b.Fill(bytes.NewReader(nil), nil))
	requireNoMemory(t, b)

	require.NoError(t, b.Fill(bytes.NewReader(streamtest.RandomBytes(10*chunkSize)), nil))
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
	data := streamtest.RandomBytes(1 << 20)
	consumers := map[string]func(b *Buffer, got *bytes.Buffer, size func() int) error{
		"Read": func(b *Buffer, got *bytes.Buffer, size func() int) error {
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
		"WriteTo": func(b *Buffer, got *bytes.Buffer, _ func() int) error {
			_, err := b.WriteTo(got)
			return err
		},
		"first one, then the other": func(b *Buffer, got *bytes.Buffer, _ func() int) error {
			if _, err := io.CopyN(got, b, 300000); err != nil {
				return err
			}
			_, err := b.WriteTo(got)
			return err
		},
	}
	// They run at the same time, so that a chunk in two buffers would be noticed.
	var all sync.WaitGroup
	defer all.Wait()
	for name, consume := range consumers {
		for i, limit := range bufferLimits[1:] {
			all.Go(func() {
				var consumed int
				b := NewBuffer(limit)
				b.Consumed = func(n int) { consumed += n }
				var producer io.Reader = &streamtest.PiecesReader{Data: data, Next: streamtest.UpTo(3 * limit / 2)}
				if i%2 == 0 {
					producer = iotest.DataErrReader(producer) // The end comes with the last bytes.
				}
				go fillAndClose(b, producer)
				var got bytes.Buffer
				if err := consume(b, &got, streamtest.UpTo(3*limit/2)); err != nil {
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
	data := streamtest.RandomBytes(1 << 20)
	b := NewBuffer(chunkSize)
	go fillAndClose(b, &streamtest.PiecesReader{Data: data, Next: streamtest.UpTo(10000)})
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

func TestEmptyReadReturnsAtOnce(t *testing.T) {
	n, err := NewBuffer(10).Read(nil)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestBufferEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBuffer(10)
		require.NoError(t, b.Fill(bytes.NewReader([]byte("abc")), nil))
		b.Close(io.ErrClosedPipe)
		b.Close(io.EOF)
		got, err := io.ReadAll(b)
		require.Equal(t, "abc", string(got), "the end comes after the last byte")
		require.ErrorIs(t, err, io.ErrClosedPipe, "the first end counts")
		_, err = b.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.ErrClosedPipe, "and stays")
		_, err = b.WriteTo(io.Discard)
		require.ErrorIs(t, err, io.ErrClosedPipe)

		b = NewBuffer(10)
		read := make(chan error, 1)
		go func() {
			_, err := b.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		require.Empty(t, read)
		b.Close(io.EOF)
		require.Equal(t, io.EOF, <-read, "a reader that waits is woken")

		n, err := b.WriteTo(io.Discard)
		require.NoError(t, err, "the end is no error for WriteTo")
		require.Zero(t, n)
	})
}

func TestWriteToFailingWriter(t *testing.T) {
	data := streamtest.RandomBytes(3 * chunkSize)
	for _, taken := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 3*chunkSize - 1} {
		for _, tc := range []struct{ err, want error }{
			{io.ErrClosedPipe, io.ErrClosedPipe},
			{nil, io.ErrShortWrite},
		} {
			consumed := 0
			b := NewBuffer(2 * len(data))
			b.Consumed = func(n int) { consumed += n }
			require.NoError(t, b.Fill(bytes.NewReader(data), nil))
			b.Close(io.EOF)

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
	b := NewBuffer(10)
	b.Consumed = func(int) { b.Close(io.ErrClosedPipe) }
	require.NoError(t, b.Fill(bytes.NewReader([]byte("ab")), nil))
	_, err := io.ReadFull(b, make([]byte, 1))
	require.NoError(t, err)
	b.Discard()
	_, err = b.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestReceipts(t *testing.T) {
	var told []int64
	r := NewReceipts(400, 0, func(offset int64) { told = append(told, offset) })
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
		r.Add(tc.n)
		require.Equal(t, tc.want, told)
	}
}

func TestReceiptsFromManyReaders(t *testing.T) {
	var told []int64
	r := NewReceipts(4000, 0, func(offset int64) { told = append(told, offset) })
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 1000 {
				r.Add(7)
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

// TestWindowKeepsSenderWithinBuffer joins the three: what the outbox lets through fits the strict buffer, and the receipts
// keep it flowing, whatever the sizes.
func TestWindowKeepsSenderWithinBuffer(t *testing.T) {
	data := streamtest.RandomBytes(1 << 20)
	for _, window := range []int{4096, 5000, chunkSize, 300000, 4 << 20} {
		b := NewBuffer(window)
		b.Strict = true
		o := NewOutbox(testHeader, int64(window))
		acks := make(chan int64, len(data))
		b.Consumed = NewReceipts(int64(window), 0, func(offset int64) { acks <- offset }).Add
		failed := make(chan error, 1)
		go func() {
			err := sendAll(o, data, b, acks)
			b.Close(io.EOF)
			failed <- err
		}()
		got, err := io.ReadAll(&streamtest.LimitedReader{R: b, Next: streamtest.UpTo(window)})
		require.NoError(t, err, "window %d", window)
		require.NoError(t, <-failed, "window %d", window)
		require.True(t, bytes.Equal(data, got), "window %d", window)
	}
}

func BenchmarkBuffer(b *testing.B) {
	for _, bc := range []struct {
		name string
		size int
	}{{"100 B", 100}, {"32 KiB", 32 << 10}, {"256 KiB", 256 << 10}} {
		b.Run("fill and Read/"+bc.name, func(b *testing.B) {
			buf := NewBuffer(testWindow)
			data, p := bytes.NewReader(make([]byte, bc.size)), make([]byte, bc.size)
			b.SetBytes(int64(bc.size))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = data.Seek(0, io.SeekStart)
				if err := buf.Fill(data, nil); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(buf, p); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("between two goroutines/"+bc.name, func(b *testing.B) {
			buf := NewBuffer(testWindow)
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
				if err := buf.Fill(data, nil); err != nil {
					b.Fatal(err)
				}
			}
			buf.Close(io.EOF)
			if err := <-drained; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkOutbox(b *testing.B) {
	o := NewOutbox(testHeader, testWindow)
	r := NewReceipts(testWindow, 0, func(offset int64) {
		if err := o.Ack(offset); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		o.Expect(32 << 10)
		n := min(len(o.Space()), 32<<10)
		o.Commit(n)
		sent := len(o.Message(n)) - len(testHeader)
		o.Written()
		r.Add(sent)
	}
}

// TestSteadyStateDoesNotAllocate checks that a stream takes no memory beyond the bytes that it holds.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	b := NewBuffer(testWindow)
	o := NewOutbox(testHeader, testWindow)
	b.Consumed = NewReceipts(testWindow, 0, func(offset int64) { _ = o.Ack(offset) }).Add
	data, p := bytes.NewReader(nil), make([]byte, 1000)
	carry := func() {
		o.Commit(copy(o.Space(), p))
		for o.Unsent() > 0 {
			data.Reset(o.Message(len(p))[len(testHeader):])
			err := b.Fill(data, nil)
			o.Written()
			_, readErr := io.ReadFull(b, p[:data.Size()])
			if err = errors.Join(err, readErr); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 3000 {
		carry()
	}
	require.Zero(t, testing.AllocsPerRun(1000, carry))
}

func (discardWriter) Write(p []byte) (int, error) { return len(p), nil }
