package vt

// A history holds the rows that have scrolled off, the oldest first, packed. See pack for the format.
type history struct {
	max   int // how many rows at most
	n     int
	pages []*page
	spare *page
}

// A page holds packed rows one after the other.
type page struct {
	buf []byte
	// ends holds where each row ends, and first the number of the first that is not dropped.
	ends  []uint32
	first int
}

// pageSize is how many bytes a page has, unless one row needs more.
const pageSize = 16 << 10

func (p *page) row(i int) []byte {
	start := uint32(0)
	if i > 0 {
		start = p.ends[i-1]
	}
	return p.buf[start:p.ends[i]]
}

// push adds a row at the bottom, and drops the oldest where there are too many.
func (h *history) push(packed []byte) {
	if h.max <= 0 {
		return
	}
	var last *page
	if len(h.pages) > 0 {
		last = h.pages[len(h.pages)-1]
	}
	if last == nil || len(last.buf)+len(packed) > cap(last.buf) {
		last = h.newPage(len(packed))
	}
	last.buf = append(last.buf, packed...)
	last.ends = append(last.ends, uint32(len(last.buf)))
	h.n++
	if h.n > h.max {
		h.drop()
	}
}

func (h *history) newPage(atLeast int) *page {
	p := h.spare
	h.spare = nil
	if p == nil || cap(p.buf) < atLeast {
		p = &page{buf: make([]byte, 0, max(pageSize, atLeast))}
	}
	h.pages = append(h.pages, p)
	return p
}

// drop removes the oldest row.
func (h *history) drop() {
	p := h.pages[0]
	p.first++
	h.n--
	if p.first < len(p.ends) {
		return
	}
	h.pages[0] = nil
	h.pages = h.pages[1:]
	if cap(p.buf) == pageSize {
		*p = page{buf: p.buf[:0], ends: p.ends[:0]}
		h.spare = p
	}
}

// pop removes the newest row. It returns a part of the page, valid until the next push.
func (h *history) pop() []byte {
	p := h.pages[len(h.pages)-1]
	i := len(p.ends) - 1
	packed := p.row(i)
	p.ends = p.ends[:i]
	p.buf = p.buf[:len(p.buf)-len(packed)]
	h.n--
	if i == p.first {
		h.pages = h.pages[:len(h.pages)-1]
	}
	return packed
}

func (h *history) clear() { *h = history{max: h.max} }

// rows calls f for each row from number from on, the oldest being 0.
func (h *history) rows(from int, f func(packed []byte)) {
	for _, p := range h.pages {
		if n := len(p.ends) - p.first; n <= from {
			from -= n
			continue
		}
		for i := p.first + from; i < len(p.ends); i++ {
			f(p.row(i))
		}
		from = 0
	}
}

// unwrap clears the wrapped flag of row i.
func (h *history) unwrap(i int) {
	for _, p := range h.pages {
		if n := len(p.ends) - p.first; i >= n {
			i -= n
			continue
		}
		p.row(p.first + i)[0] &^= packedWrapped
		return
	}
}
