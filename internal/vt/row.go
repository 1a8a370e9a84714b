package vt

// A row is one line of a screen.
type row struct {
	cells []cell
	// wrapped tells that the row continues the one above.
	wrapped bool
}

func newRow(cols int, fill cell) *row {
	r := &row{cells: make([]cell, cols)}
	if fill != (cell{}) {
		r.fill(fill)
	}
	return r
}

func (r *row) fill(c cell) {
	if c == (cell{}) {
		clear(r.cells)
		return
	}
	for i := range r.cells {
		r.cells[i] = c
	}
}

// trimmed returns how many cells there are up to the last with content.
func (r *row) trimmed() int {
	for i := len(r.cells) - 1; i >= 0; i-- {
		if r.cells[i].hasContent() {
			return min(i+r.cells[i].width(), len(r.cells)) // a resize can cut a wide character in half
		}
	}
	return 0
}

// resize cuts the row, or adds null cells.
func (r *row) resize(cols int) {
	if cols <= len(r.cells) {
		r.cells = r.cells[:cols:cols]
		return
	}
	cells := make([]cell, cols)
	copy(cells, r.cells)
	r.cells = cells
}

// null returns the null cell that looks like c.
func (c cell) null() cell {
	c.ch = 0
	return c
}

// insert puts n cells like fill at column x and pushes the rest to the right. No half of a wide character stays.
func (r *row) insert(x, n int, fill cell) {
	cols := len(r.cells)
	x %= cols
	if x > 0 && r.cells[x-1].width() == 2 {
		r.cells[x-1] = fill
	}
	n = min(n, cols-x)
	copy(r.cells[x+n:], r.cells[x:])
	for i := x; i < x+n; i++ {
		r.cells[i] = fill
	}
	if r.cells[cols-1].width() == 2 {
		r.cells[cols-1] = fill
	}
}

// remove takes n cells at column x out, and fills up at the right.
func (r *row) remove(x, n int, fill cell) {
	cols := len(r.cells)
	x %= cols
	n = min(n, cols-x)
	copy(r.cells[x:], r.cells[x+n:])
	for i := cols - n; i < cols; i++ {
		r.cells[i] = fill
	}
	if x > 0 && r.cells[x-1].width() == 2 {
		r.cells[x-1] = fill
	}
	if r.cells[x].width() == 0 && !r.cells[x].hasContent() {
		r.cells[x] = fill
	}
}

// replace fills the columns from start up to end. With spare, it leaves protected cells as they are.
func (r *row) replace(start, end int, fill cell, spare bool) {
	cols := len(r.cells)
	spared := func(i int) bool { return spare && r.cells[i].bg&bgProtected != 0 }
	if start > 0 && start <= cols && r.cells[start-1].width() == 2 && !spared(start-1) {
		r.cells[start-1] = fill
	}
	if end > 0 && end < cols && r.cells[end-1].width() == 2 && !spared(end) {
		r.cells[end] = fill
	}
	for i := start; i < min(end, cols); i++ {
		if !spared(i) {
			r.cells[i] = fill
		}
	}
}
