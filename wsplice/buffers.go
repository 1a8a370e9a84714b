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

// put takes a buffer back, unless it has grown to something that is not worth keeping.
func (p *bufferPool) put(b *[]byte) {
	if cap(*b) > 4*p.size {
		return
	}
	*b = (*b)[:0]
	p.pool.Put(b)
}

const (
	// smallChunk is how much is read at a time from a connection that carries little.
	smallChunk = 16 << 10
	// largeChunk is how much is read at a time from one that carries much.
	largeChunk = 256 << 10
)

var (
	smallPool = newBufferPool(smallChunk)
	largePool = newBufferPool(largeChunk)
	// gatherPool has the buffers that batches copy to.
	gatherPool = newBufferPool(64 << 10)
	// queuePool has the blocks of queues.
	queuePool = newBufferPool(queueBlock)
)
