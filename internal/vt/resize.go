package vt

import "slices"

// Resize changes the size, within the bounds that [New] names. Rows of the normal screen that wrap are reflowed, as
// xterm.js does it: all but those with the cursor.
func (t *Terminal) Resize(rows, cols int) {
	rows, cols = clampSize(rows, cols)
	if rows == t.rows && cols == t.cols {
		return
	}
	t.resizeBuffer(&t.normal, rows, cols)
	t.resizeBuffer(&t.alt, rows, cols)
	t.rows, t.cols = rows, cols
	t.normal.tabs.extend(cols)
	t.alt.tabs.extend(cols)
}

func (t *Terminal) resizeBuffer(b *buffer, rows, cols int) {
	b.bottom = rows - 1
	if b.rows == nil {
		return
	}
	if b == &t.normal {
		b.unwrapOldest()
	}
	b.top = 0
	if cols > t.cols {
		b.setCols(cols)
	}
	t.setRows(b, rows, cols)
	b.x = min(b.x, cols-1)
	b.saved.x = min(b.saved.x, cols-1)
	if cols != t.cols && b == &t.normal {
		t.reflow(b, rows, cols)
	}
	b.setCols(cols)
}

// unwrapOldest makes the oldest row continue nothing: what came before is lost. A snapshot does not have it either.
func (b *buffer) unwrapOldest() {
	if b.history.n > 0 {
		b.history.unwrap(0)
	} else {
		b.rows[0].wrapped = false
	}
}

func (b *buffer) setCols(cols int) {
	for _, r := range b.rows {
		r.resize(cols)
	}
}

// setRows adds or takes rows. The cursor's row stays on the screen: rows move from and to the history.
func (t *Terminal) setRows(b *buffer, rows, cols int) {
	h := &b.history
	cols = max(cols, t.cols) // what is too wide is cut after the reflow
	for len(b.rows) < rows {
		if h.n > 0 && b.y == len(b.rows)-1 {
			r := newRow(cols, cell{})
			t.unpack(r, h.pop())
			b.rows = slices.Insert(b.rows, 0, r)
			b.y++
		} else {
			b.rows = append(b.rows, newRow(cols, cell{}))
		}
	}
	for len(b.rows) > rows {
		if b.y < len(b.rows)-1 {
			b.rows = b.rows[:len(b.rows)-1]
			continue
		}
		if b == &t.normal {
			t.scratch = t.pack(t.scratch[:0], b.rows[0])
			trim := h.n == h.max
			h.push(t.scratch)
			if trim {
				b.saved.line = max(b.saved.line-1, 0)
			}
		} else {
			b.saved.line = max(b.saved.line-1, 0)
		}
		b.rows = b.rows[1:]
		b.y--
	}
}
