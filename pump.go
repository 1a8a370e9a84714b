package wsep

import "io"

// pump carries what is in a buffer to a writer, by a goroutine that lives while there is something to carry. The buffer's
// lock guards it. A nil pump does nothing.
type pump struct {
	buffer *buffer
	w      io.Writer
	ended  func(error) // called once, at the buffer's end with its error, or with the writer's
	busy   bool        // the goroutine lives
	over   bool        // ended has been called, or is about to be
}

// nowaitWriter is implemented by writers that can be asked to write no more than they can at once. What they have not
// written is written by Write, which also finds the error.
type nowaitWriter interface{ writeNoWait(p []byte) int }

// pumpTo has all that comes written to w until the buffer ends or w fails. After that the producer's bytes stay where
// they are.
func (b *buffer) pumpTo(w io.Writer, ended func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pump = &pump{buffer: b, w: w, ended: ended}
	b.pump.work()
}

// maxDirect is how much at a time is written by the one who brings it. Of more, the writing is better done while the next is
// being read.
const maxDirect = 4 << 10

// try writes what can be written at once, ahead of all that is in the buffer, which must be nothing, and returns how much
// it was. It spares the goroutine, and its waking.
func (m *pump) try(p []byte) int {
	if m == nil || m.busy || m.over || len(p) > maxDirect {
		return 0
	}
	if w, ok := m.w.(nowaitWriter); ok {
		return w.writeNoWait(p)
	}
	return 0
}

// work starts the goroutine if there is something to do and none is at it.
func (m *pump) work() {
	if m == nil || m.busy || m.over || (m.buffer.size == 0 && m.buffer.end == nil) {
		return
	}
	m.busy = true
	// Ends when the buffer is empty, or the writer fails.
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

// next returns what is to be written next, or the buffer's end, or neither, and then the goroutine ends.
func (m *pump) next() ([]byte, error) {
	b := m.buffer
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size > 0 {
		c := b.chunks[0]
		return c.data[c.r:c.w], nil
	}
	m.busy = b.end != nil
	return nil, b.end
}

func (m *pump) finish(err error) {
	m.buffer.mu.Lock()
	m.over = true
	m.buffer.mu.Unlock()
	m.ended(err)
}
