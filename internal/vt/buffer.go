package vt

// A buffer is one of the two screens.
type buffer struct {
	rows        []*row // none while the alternate screen is not shown
	history     history
	x, y        int
	top, bottom int // margins, the rows of the scrolling region
	tabs        tabs
	saved       saved
}

// A saved is what saving the cursor keeps.
type saved struct {
	x int
	// line counts from the oldest row of the history, so that it moves with the text.
	line    int
	fg, bg  uint32
	charset charset
}

// setUp gives the buffer no rows, and margins and tabs as at the start. The saved cursor stays.
func (b *buffer) setUp(rows, cols int) {
	b.rows = nil
	b.x, b.y = 0, 0
	b.top, b.bottom = 0, rows-1
	b.tabs = tabs{}
	b.tabs.setFrom(0, cols)
}

// show gives a buffer without rows blank ones.
func (b *buffer) show(rows, cols int, fill cell) {
	if b.rows != nil {
		return
	}
	for range rows {
		b.rows = append(b.rows, newRow(cols, fill))
	}
}

// row returns the row with the cursor.
func (b *buffer) row() *row { return b.rows[b.y] }

// clampCursor puts the cursor onto the screen, and into the margins with origin. Column last is the rightmost.
func (t *Terminal) clampCursor(last int) {
	b := t.on
	b.x = min(b.x, last)
	if t.modes.origin {
		b.y = min(max(b.y, b.top), b.bottom)
	}
	b.y = min(max(b.y, 0), t.rows-1)
}

// moveTo puts the cursor at a column and a row, which counts from the upper margin with origin.
func (t *Terminal) moveTo(x, y int) {
	if t.modes.origin {
		y += t.on.top
	}
	t.on.x, t.on.y = max(x, 0), y
	t.clampCursor(t.cols - 1)
}

// moveBy moves the cursor. With origin, xterm.js counts the row from the upper margin once more.
func (t *Terminal) moveBy(dx, dy int) {
	t.clampCursor(t.cols - 1)
	t.moveTo(t.on.x+dx, t.on.y+dy)
}

// scroll moves the rows within the margins up by one. What leaves the normal screen at its top goes to the history.
func (t *Terminal) scroll(wrapped bool) {
	b := t.on
	r := b.rows[b.top]
	if b.top == 0 && b == &t.normal {
		t.scratch = t.pack(t.scratch[:0], r)
		b.history.push(t.scratch)
	}
	copy(b.rows[b.top:b.bottom], b.rows[b.top+1:b.bottom+1])
	b.rows[b.bottom] = r
	r.fill(t.blank())
	r.wrapped = wrapped
}

// insertRows puts n blank rows at row y, and removes as many at the lower margin.
func (b *buffer) insertRows(y, n int, fill cell) {
	n = min(n, b.bottom-y+1)
	region := b.rows[y : b.bottom+1]
	gone := append([]*row(nil), region[len(region)-n:]...)
	copy(region[n:], region)
	copy(region, gone)
	renew(gone, fill)
}

// removeRows removes n rows at row y, and puts as many blank ones at the lower margin.
func (b *buffer) removeRows(y, n int, fill cell) {
	n = min(n, b.bottom-y+1)
	region := b.rows[y : b.bottom+1]
	gone := append([]*row(nil), region[:n]...)
	copy(region, region[n:])
	copy(region[len(region)-n:], gone)
	renew(gone, fill)
}

func renew(rows []*row, fill cell) {
	for _, r := range rows {
		r.fill(fill)
		r.wrapped = false
	}
}

// tabs are the columns with a tab stop. Columns beyond the screen count after a resize.
type tabs struct {
	bits [(maxSize+maxOverhang)/64 + 1]uint64
}

func (s *tabs) at(x int) bool { return s.bits[x/64]>>(x%64)&1 != 0 }
func (s *tabs) set(x int)     { s.bits[x/64] |= 1 << (x % 64) }
func (s *tabs) clear(x int)   { s.bits[x/64] &^= 1 << (x % 64) }

const tabWidth = 8

// setFrom sets a stop at x and each 8 columns after.
func (s *tabs) setFrom(x, cols int) {
	for ; x < cols; x += tabWidth {
		s.set(x)
	}
}

// extend sets the stops that a new width needs.
func (s *tabs) extend(cols int) {
	x := cols
	if !s.at(x) {
		x = s.before(x, cols)
	}
	s.setFrom(x, cols)
}

// next returns the column of the stop after x, or the last column.
func (s *tabs) next(x, cols int) int {
	for x++; x < cols && !s.at(x); x++ {
	}
	return min(x, cols-1)
}

// before returns the column of the stop before x, or the first column.
func (s *tabs) before(x, cols int) int {
	for x--; x > 0 && !s.at(x); x-- {
	}
	return min(max(x, 0), cols-1)
}
