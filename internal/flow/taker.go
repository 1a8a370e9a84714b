package flow

import "io"

// Taker is implemented by writers that can take bytes from some readers by themselves, without a copy. TakeFrom waits until r has
// bytes, and takes what it can at once. If that is nothing, now or for good, it returns 0 and no error, and the bytes are to be read
// and written. It returns r's errors only, at r's end io.EOF.
type Taker interface {
	TakeFrom(r io.Reader) (n int, err error)
}

// pass lets the writer take r's bytes while the buffer is empty. It returns nil when bytes must be read.
func (b *Buffer) pass(r io.Reader) error {
	for {
		t := b.taker()
		if t == nil {
			return nil
		}
		n, err := t.TakeFrom(r)
		b.passed(n)
		if n == 0 || err != nil {
			return err
		}
	}
}

// taker returns the writer if it may take the next bytes: no others wait for it. Only the producer makes it work.
func (b *Buffer) taker() Taker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.drop || b.size > 0 || len(b.holds) > 0 || b.pump == nil || b.pump.busy || b.pump.over {
		return nil
	}
	t, _ := b.pump.w.(Taker)
	return t
}

// passed counts n bytes that did not go through the buffer.
func (b *Buffer) passed(n int) {
	b.mu.Lock()
	b.total += int64(n)
	b.mu.Unlock()
	b.used(n)
}
