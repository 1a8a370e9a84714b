package wsplice

import "sync"

// bufferPool holds buffers of one capacity.
type bufferPool struct {
	size int
	pool sync.Pool
}

func newBufferPool(size int) *bufferPool {
	p := &bufferPool{size: size}
	p.pool.New = func() any { b := make([]byte, 0, size); return &b }
	return p
}

// get returns an empty buffer.
func (p *bufferPool) get() *[]byte { return p.pool.Get().(*[]byte) }

// put takes a buffer back, unless it has grown.
func (p *bufferPool) put(b *[]byte) {
	if cap(*b) != p.size {
		return
	}
	*b = (*b)[:0]
	p.pool.Put(b)
}

const (
	// smallChunk is how many bytes are read at a time from a connection that carries little.
	smallChunk = 16 << 10
	// largeChunk is how many bytes are read at a time from a connection that carries much.
	largeChunk = 256 << 10
)

var (
	smallPool = newBufferPool(smallChunk)
	largePool = newBufferPool(largeChunk)
	// blockPool has the blocks of batches and queues.
	blockPool = newBufferPool(blockSize)
)

// blockSize is the size of the blocks of batches and queues, in bytes.
const blockSize = 64 << 10

// newFrame returns an empty buffer for a frame of n bytes.
func newFrame(n int) *[]byte {
	switch {
	case n <= smallChunk:
		return smallPool.get()
	case n <= largeChunk:
		return largePool.get()
	}
	b := make([]byte, 0, n)
	return &b
}

// putFrame takes back what newFrame returned.
func putFrame(b *[]byte) {
	switch cap(*b) {
	case smallChunk:
		smallPool.put(b)
	case largeChunk:
		largePool.put(b)
	}
}
