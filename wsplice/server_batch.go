package wsplice

import (
	"sync"
	"sync/atomic"
)

// batch gathers frames for one connection, to be sent with one write. Headers and small payloads are copied to blocks.
// Large payloads stay where they are, and must not change until the batch has been sent. A batch is not safe for
// concurrent use.
type batch struct {
	*gathering       // nil while the batch is empty
	payload    int64 // bytes of messages, without headers and indexes
	// urgent is a frame to be sent before the next one. Other goroutines may set it at any time.
	urgent atomic.Pointer[[]byte]
}

// gathering is the content of a batch.
type gathering struct {
	block  []byte    // where headers and small payloads are copied to
	open   int       // where in block the last piece begins
	pieces [][]byte  // all pieces before that one
	full   []*[]byte // blocks before block
	last   *[]byte   // the memory of block, which goes back to blockPool
}

var gatheringPool = sync.Pool{New: func() any { return new(gathering) }}

// maxCopied is the size of the largest payload that is copied, in bytes. A larger one is cheaper as a piece of its own.
const maxCopied = 2 << 10

// minRoom is how many bytes a block has room for when begin or resume returns it.
const minRoom = maxCopied + maxHeader + indexSize

// empty reports whether there is nothing to send.
func (b *batch) empty() bool { return b.gathering == nil }

// begin returns the buffer to append a header to.
func (b *batch) begin() []byte {
	block := b.resume()
	if b.urgent.Load() == nil {
		return block
	}
	if frame := b.urgent.Swap(nil); frame != nil {
		b.block = append(block, *frame...)
	}
	return b.resume()
}

// resume returns the buffer to append to within a frame.
func (b *batch) resume() []byte {
	if b.gathering == nil {
		b.gathering = gatheringPool.Get().(*gathering)
	}
	if cap(b.block)-len(b.block) < minRoom {
		b.nextBlock()
	}
	return b.block
}

// add appends payload bytes to block. This is the buffer of begin or resume, to which the caller may have appended.
func (b *batch) add(block, payload []byte) {
	b.payload += int64(len(payload))
	if len(payload) <= maxCopied {
		b.block = append(block, payload...)
		return
	}
	b.block = block
	b.addPiece(payload)
}

// addPiece adds bytes without copying them.
func (b *batch) addPiece(p []byte) {
	if b.gathering == nil {
		b.gathering = gatheringPool.Get().(*gathering)
	}
	b.closePiece()
	b.pieces = append(b.pieces, p)
}

// all returns everything, in order. It is valid until reset. The caller may change it.
func (b *batch) all() [][]byte {
	if b.gathering == nil {
		return nil
	}
	b.closePiece()
	return b.pieces
}

func (g *gathering) closePiece() {
	if len(g.block) > g.open {
		g.pieces = append(g.pieces, g.block[g.open:])
		g.open = len(g.block)
	}
}

func (g *gathering) nextBlock() {
	g.closePiece()
	if g.last != nil {
		g.full = append(g.full, g.last)
	}
	g.last = blockPool.get()
	g.block, g.open = *g.last, 0
}

// reset makes the batch empty.
func (b *batch) reset() {
	g := b.gathering
	if g == nil {
		return
	}
	for i, block := range g.full {
		blockPool.put(block)
		g.full[i] = nil
	}
	if g.last != nil {
		blockPool.put(g.last)
	}
	clear(g.pieces)
	*g = gathering{pieces: g.pieces[:0], full: g.full[:0]}
	gatheringPool.Put(g)
	b.gathering, b.payload = nil, 0
}
