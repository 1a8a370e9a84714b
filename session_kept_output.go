package wsep

import (
	"bytes"
	"io"
	"sync"
	"time"

	"cdr.dev/wsep/internal/vt"
)

// keptOutput is one output of a kept command. It holds the newest bytes, up to a limit, for readers that come at any time.
// Offsets count bytes from the start of the output.
type keptOutput struct {
	limit int64

	mu      sync.Mutex    // guards what follows
	pieces  [][]byte      // the oldest first. Only the last one grows
	first   int64         // the offset of the first piece
	end     int64         // the offset of the next byte
	newest  time.Time     // when the last byte came
	err     error         // why there is no next byte; nil while there may be one, and io.EOF after the last
	changed chan struct{} // closed at the next change; nil if nobody waits for it
}

const (
	// minPiece and maxPiece bound the size of a piece, in bytes.
	minPiece = 1 << 10
	maxPiece = 64 << 10
)

// fill reads an output to its end.
func (o *keptOutput) fill(r io.Reader) {
	for {
		n, err := r.Read(o.space())
		o.commit(n, err)
		if err != nil {
			return
		}
	}
}

// space returns where the next bytes are to be put. Only fill puts them there, and readers see them after commit.
func (o *keptOutput) space() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := len(o.pieces) - 1
	if last < 0 || len(o.pieces[last]) == cap(o.pieces[last]) {
		size := min(max(o.end-o.first, minPiece), maxPiece)
		o.pieces = append(o.pieces, make([]byte, 0, size))
		last++
	}
	piece := o.pieces[last]
	return piece[len(piece):cap(piece)]
}

// commit makes the first n bytes of space part of the output. err says why no more bytes come.
func (o *keptOutput) commit(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	last := len(o.pieces) - 1
	o.pieces[last] = o.pieces[last][:len(o.pieces[last])+n]
	o.end += int64(n)
	o.err = err
	if n > 0 {
		o.newest = time.Now()
	}
	for len(o.pieces) > 1 && o.first+int64(len(o.pieces[0])) <= o.start() {
		o.first += int64(len(o.pieces[0]))
		o.pieces[0] = nil
		o.pieces = o.pieces[1:]
	}
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// start returns the offset of the oldest byte that is kept. The lock is held.
func (o *keptOutput) start() int64 { return max(o.first, o.end-o.limit) }

// oldest returns the offset of the oldest byte that is kept.
func (o *keptOutput) oldest() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.start()
}

// size returns how many bytes were written in all, and how many of them are kept.
func (o *keptOutput) size() (written, kept int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.end, o.end - o.start()
}

// readAt copies bytes from an offset on, or from the oldest that is kept, and returns the offset that it has read from. If there
// is no byte yet it returns a channel that is closed at the next change. After the last byte it returns the error.
func (o *keptOutput) readAt(p []byte, offset int64) (n int, from int64, changed <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	from = max(offset, o.start())
	if from == o.end {
		if o.err != nil {
			return 0, from, nil, o.err
		}
		if o.changed == nil {
			o.changed = make(chan struct{})
		}
		return 0, from, o.changed, nil
	}
	skip := from - o.first
	for _, piece := range o.pieces {
		if skip >= int64(len(piece)) {
			skip -= int64(len(piece))
			continue
		}
		n += copy(p[n:], piece[skip:])
		skip = 0
		if n == len(p) {
			break
		}
	}
	return n, from, nil, nil
}

// maxKeptLine is how many bytes of an output's end are searched for its last line.
const maxKeptLine = 1 << 10

// lastLine returns the last line that is not blank, as a terminal shows it and without spaces around it, and when the last byte came.
func (o *keptOutput) lastLine() (line string, newest time.Time) {
	o.mu.Lock()
	end, newest := o.end, o.newest
	o.mu.Unlock()
	tail := make([]byte, maxKeptLine)
	n, _, _, _ := o.readAt(tail, max(0, end-maxKeptLine))
	tail = tail[:n]
	for line == "" && len(tail) > 0 {
		start := bytes.LastIndexByte(tail, '\n') + 1
		line, tail = shownLine(tail[start:]), tail[:max(0, start-1)]
	}
	return line, newest
}

// shownLine returns what a terminal shows of a line: a program may write colors, or a line again and again.
func shownLine(line []byte) string {
	if len(bytes.TrimSpace(line)) == 0 {
		return ""
	}
	terminal := vt.New(1, maxKeptLine, 0)
	terminal.Write(line)
	return terminal.LastLine()
}
