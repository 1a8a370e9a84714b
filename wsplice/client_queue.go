package wsplice

import "encoding/binary"

// messageQueue holds messages. Small ones share a chunk, so that many of them take little more memory than their bytes.
type messageQueue struct {
	chunks [][]byte // messages, each behind its length. The first message is the next to be removed
	count  int
}

// sharedChunk is the size of a chunk that small messages share, in bytes. A message that is alone in the queue has a
// chunk of its own size.
const sharedChunk = 1 << 10

// add appends a copy of a message.
func (q *messageQueue) add(message []byte) {
	var length [binary.MaxVarintLen64]byte
	head := length[:binary.PutUvarint(length[:], uint64(len(message)))]
	size := len(head) + len(message)
	last := len(q.chunks) - 1
	switch {
	case last < 0:
		q.chunks = append(q.chunks, make([]byte, 0, size))
		last++
	case cap(q.chunks[last])-len(q.chunks[last]) < size:
		q.chunks = append(q.chunks, make([]byte, 0, max(size, sharedChunk)))
		last++
	}
	q.chunks[last] = append(append(q.chunks[last], head...), message...)
	q.count++
}

// first returns the first message. It stays valid after it has been removed. The queue must not be empty.
func (q *messageQueue) first() []byte {
	message, _ := q.split()
	return message
}

// remove removes the first message.
func (q *messageQueue) remove() {
	_, rest := q.split()
	q.chunks[0] = rest
	if len(rest) == 0 {
		q.chunks[0] = nil
		q.chunks = q.chunks[1:]
	}
	q.count--
}

// split returns the first message, and the rest of its chunk.
func (q *messageQueue) split() (message, rest []byte) {
	length, n := binary.Uvarint(q.chunks[0])
	end := n + int(length)
	return q.chunks[0][n:end:end], q.chunks[0][end:]
}
