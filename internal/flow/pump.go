package flow

import "io"

// pump carries what is in a buffer to a writer. Its goroutine lives while there is something that it may carry. The buffer's lock
// guards it. A nil pump does nothing.
type pump struct {
	buffer *Buffer
	w      io.Writer
	ended  func(error) // called once: with the buffer's end, or with the writer's error
	busy   bool        // the goroutine lives
	over   bool        // ended was called, or is about to be
}

// NowaitWriter is implemented by writers that can write without waiting. WriteNoWait writes what it can at once and
// returns how many bytes that was. Write then writes the rest, and finds the error if there is one.
type NowaitWriter interface{ WriteNoWait(p []byte) int }

// PumpTo writes all that comes to w, until the buffer ends or w fails. Then it calls ended, once, with the buffer's end
// or the writer's error. After a writer's error the bytes stay in the buffer.
func (b *Buffer) PumpTo(w io.Writer, ended func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pump = &pump{buffer: b, w: w, ended: ended}
	b.pump.work()
}

// Hold makes the pump wait before the bytes that are still to come. Each call needs a Release.
func (b *Buffer) Hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = append(b.holds, b.total)
}

// Release undoes the oldest Hold.
func (b *Buffer) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = b.holds[1:]
	b.pump.work()
}

// free returns how many bytes the pump may write. The lock is held.
func (b *Buffer) free() int {
	if b.size == 0 || len(b.holds) == 0 {
		return b.size
	}
	return min(b.size, int(b.holds[0]-(b.total-int64(b.size))))
}

// hasEnded reports whether the pump has nothing more to write. The lock is held.
func (b *Buffer) hasEnded() bool { return b.size == 0 && b.end != nil }

// maxDirect is the size, in bytes, of the largest chunk that the producer writes itself. Larger chunks go to the pump, so
// that writing overlaps reading.
const maxDirect = 4 << 10

// try writes what it can at once, and returns how many bytes that was. The buffer must be empty. A write by the producer
// spares the goroutine, and its wake-up.
func (m *pump) try(p []byte) int {
	if m == nil || m.busy || m.over || len(p) > maxDirect {
		return 0
	}
	if w, ok := m.w.(NowaitWriter); ok {
		return w.WriteNoWait(p)
	}
	return 0
}

// work starts the goroutine if there is something to do and none runs.
func (m *pump) work() {
	if m == nil || m.busy || m.over || (m.buffer.free() == 0 && !m.buffer.hasEnded()) {
		return
	}
	m.busy = true
	// Ends when there is nothing that may be written, or the writer fails.
	go m.run()
}

func (m *pump) run() {
	for {
		front, err := m.next()
		if front == nil && err == nil {
			return
		}
		if err == nil {
			var n int
			n, err = m.w.Write(front)
			m.buffer.advance(n)
		}
		if err != nil {
			m.finish(err)
			return
		}
	}
}

// next returns what is to be written next, or the buffer's end. If it returns neither, the goroutine ends.
func (m *pump) next() ([]byte, error) {
	b := m.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if free := b.free(); free > 0 {
		c := b.chunks[0]
		return c.data[c.r:min(c.w, c.r+free)], nil
	}
	if b.hasEnded() {
		return nil, b.end
	}
	m.busy = false
	return nil, nil
}

func (m *pump) finish(err error) {
	m.buffer.mu.Lock()
	m.over = true
	m.buffer.mu.Unlock()
	m.ended(err)
}
