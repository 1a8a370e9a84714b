package vt

import "slices"

// A line is a row of the history or of the screen while rows are reflowed. One that is not touched stays packed.
type line struct {
	packed []byte
	row    *row
}

// A reflow is one in progress.
type reflow struct {
	t     *Terminal
	lines []line
	base  int // the number of the line at the top of the screen
	y     int // the cursor's row
	saved int // the saved cursor's line

	oldCols, rows, cols int
	n                   int // how many lines the screen has not lost at its bottom
}

// reflow lets wrapped rows wrap at the new width. All rows have the larger of both widths, and the screen the new number
// of rows.
func (t *Terminal) reflow(b *buffer, rows, cols int) {
	f := &reflow{t: t, base: b.history.n, y: b.y, saved: b.saved.line, oldCols: t.cols, rows: rows, cols: cols}
	b.history.rows(0, func(packed []byte) { f.lines = append(f.lines, line{packed: packed}) })
	for _, r := range b.rows {
		f.lines = append(f.lines, line{row: r})
	}
	if cols > t.cols {
		f.larger()
	} else {
		f.smaller()
	}
	f.store(b)
}

// store makes the lines the buffer's.
func (f *reflow) store(b *buffer) {
	b.y, b.saved.line = f.y, f.saved
	f.base = min(max(f.base, 0), len(f.lines))
	for len(f.lines) < f.base+f.rows {
		f.lines = append(f.lines, line{row: newRow(f.cols, cell{})})
	}
	old := b.history
	b.history = history{max: old.max}
	for i, l := range f.lines[:f.base] {
		if cut := f.cols < f.oldCols; cut && l.row == nil && (l.packed[0]&packedPlain == 0 || len(l.packed)-1 > f.cols) {
			l.row = f.open(i)
		}
		if l.row != nil {
			l.row.cells = l.row.cells[:f.cols]
			f.t.scratch = f.t.pack(f.t.scratch[:0], l.row)
			l.packed = f.t.scratch
		}
		b.history.push(l.packed)
	}
	b.rows = b.rows[:0]
	for i := range f.lines[f.base : f.base+f.rows] {
		b.rows = append(b.rows, f.open(f.base+i))
	}
}

func (f *reflow) wrapped(i int) bool {
	if l := f.lines[i]; l.row == nil {
		return l.packed[0]&packedWrapped != 0
	}
	return f.lines[i].row.wrapped
}

func (f *reflow) trimmed(i int) int {
	if l := f.lines[i]; l.row == nil {
		return f.t.packedTrimmed(l.packed, max(f.oldCols, f.cols))
	}
	return f.lines[i].row.trimmed()
}

// open unpacks line i.
func (f *reflow) open(i int) *row {
	l := &f.lines[i]
	if l.row == nil {
		l.row = newRow(max(f.oldCols, f.cols), cell{})
		f.t.unpack(l.row, l.packed)
		l.packed = nil
	}
	return l.row
}

// group returns the rows of lines from first up to end.
func (f *reflow) group(first, end int) []*row {
	var rows []*row
	for i := first; i < end; i++ {
		rows = append(rows, f.open(i))
	}
	return rows
}

// hasCursor tells whether the cursor is in one of the lines from first up to end. The program redraws these itself.
func (f *reflow) hasCursor(first, end int) bool {
	return f.base+f.y >= first && f.base+f.y < end
}

// length returns how many cells of row i of a group count, which was cols wide: all but the one that a wide character
// left null that did not fit, and in the last row those up to the last with content.
func length(rows []*row, i, cols int) int {
	if i == len(rows)-1 {
		return rows[i].trimmed()
	}
	if last := rows[i].cells[cols-1]; last.ch == 0 && rows[i+1].cells[0].width() == 2 {
		return cols - 1
	}
	return cols
}

// larger joins what a wider screen has room for.
func (f *reflow) larger() {
	kept := f.lines[:0:0]
	for y := 0; y < len(f.lines); {
		end := y + 1
		for end < len(f.lines) && f.wrapped(end) {
			end++
		}
		n := end - y
		if n > 1 && !f.hasCursor(y, end) {
			n = f.unwrapGroup(f.group(y, end))
		}
		kept = append(kept, f.lines[y:y+n]...)
		y = end
	}
	removed := len(f.lines) - len(kept)
	f.lines = kept
	for range removed {
		switch {
		case f.base > 0:
			f.base--
		default:
			f.y = max(f.y-1, 0)
			if len(f.lines) < f.rows {
				f.lines = append(f.lines, line{row: newRow(f.cols, cell{})})
			}
		}
	}
	f.saved = max(f.saved-removed, 0)
}

// unwrapGroup moves the cells of rows to the front, and returns how many rows have any.
func (f *reflow) unwrapGroup(rows []*row) int {
	to, x := 0, length(rows, 0, f.oldCols)
	for from, start := 1, 0; from < len(rows); {
		end := length(rows, from, f.oldCols)
		n := min(end-start, f.cols-x)
		copy(rows[to].cells[x:x+n], rows[from].cells[start:start+n])
		x += n
		start += n
		if x == f.cols {
			to, x = to+1, 0
		}
		if start == end {
			from, start = from+1, 0
		}
		if x == 0 && to > 0 {
			// The first half of a wide character has no room: it goes to the next row.
			if last := &rows[to-1].cells[f.cols-1]; last.width() == 2 {
				rows[to].cells[0] = *last
				x = 1
				*last = cell{}
			}
		}
	}
	if to < len(rows) {
		rows[to].replace(x, f.cols, cell{}, false)
	}
	n := len(rows)
	for n > 1 && (n-1 > to || rows[n-1].trimmed() == 0) {
		n--
	}
	return n
}

// An insertion is rows that come before line at.
type insertion struct {
	at   int
	rows []*row
}

// smaller wraps what a narrower screen has no room for, from the bottom up. Rows that the screen loses at its bottom are
// still wrapped, and what that adds stays, as in xterm.js.
func (f *reflow) smaller() {
	f.n = len(f.lines)
	var insertions []insertion
	count := 0
	room := f.t.normal.history.max + f.rows // how many lines there may be
	for y := len(f.lines) - 1; y >= 0; y-- {
		if !f.wrapped(y) && f.trimmed(y) <= f.cols {
			continue
		}
		end := y + 1
		for y > 0 && f.wrapped(y) {
			y--
		}
		if f.hasCursor(y, end) {
			continue
		}
		added, ok := f.wrapGroup(f.group(y, end))
		if !ok {
			continue
		}
		trimmed := max(0, f.n-room+len(added))
		if f.base == 0 && f.y != f.n-1 {
			trimmed = max(0, f.y-room+len(added))
		}
		if len(added) > 0 {
			insertions = append(insertions, insertion{end, added})
			count += len(added)
		}
		f.makeRoom(len(added)-trimmed, room, count)
		f.saved = min(f.saved+len(added), f.base+f.rows-1)
	}
	f.insert(insertions, count, room)
}

// makeRoom moves the screen for n lines that are added above its end.
func (f *reflow) makeRoom(n, room, count int) {
	for range n {
		switch {
		case f.base > 0:
			if f.base < min(room, f.n+count)-f.rows {
				f.base++
			}
		case f.y < f.rows-1:
			f.y++
			f.n--
		default:
			f.base++
		}
	}
}

// wrapGroup spreads the cells of rows over more rows, which it returns, and tells whether it could.
func (f *reflow) wrapGroup(rows []*row) (added []*row, ok bool) {
	lengths := f.newLengths(rows)
	from := len(rows) - 1
	start := rows[from].trimmed()
	if len(lengths) < len(rows) {
		return nil, false
	}
	for range len(lengths) - len(rows) {
		added = append(added, &row{cells: make([]cell, f.oldCols), wrapped: true})
	}
	old := rows
	rows = slices.Concat(rows, added)
	to := len(lengths) - 1
	x := lengths[to]
	for from >= 0 && to >= 0 {
		n := min(start, x)
		copy(rows[to].cells[x-n:x], rows[from].cells[start-n:start])
		if x -= n; x == 0 {
			if to--; to >= 0 {
				x = lengths[to]
			}
		}
		if start -= n; start == 0 {
			if from--; from >= 0 {
				start = length(old, from, f.oldCols)
			}
		}
	}
	for i, n := range lengths {
		if n < f.cols {
			rows[i].cells[n] = cell{}
		}
	}
	return added, true
}

// newLengths returns how many cells each of the new rows gets. One with a wide character at its end gets one less.
func (f *reflow) newLengths(rows []*row) []int {
	need := 0
	for i := range rows {
		need += length(rows, i, f.oldCols)
	}
	var lengths []int
	x, from := 0, 0
	for have := 0; have < need; {
		if need-have < f.cols {
			return append(lengths, need-have)
		}
		x += f.cols
		if l := length(rows, min(from, len(rows)-1), f.oldCols); x > l {
			x -= l
			from++
		}
		n := f.cols
		if from < len(rows) && x > 0 && rows[from].cells[x-1].width() == 2 {
			x--
			n--
		}
		lengths = append(lengths, n)
		have += n
	}
	return lengths
}

// insert puts the insertions, which are sorted from the bottom up, into the lines. Of too many the first are dropped.
func (f *reflow) insert(insertions []insertion, count, room int) {
	f.lines = f.lines[:max(f.n, 0)]
	if count == 0 {
		return
	}
	n := min(room, len(f.lines)+count)
	var out []line
	i := len(f.lines) - 1
	for len(out) < n && i >= 0 {
		if len(insertions) > 0 && insertions[0].at > i {
			for _, r := range slices.Backward(insertions[0].rows) {
				out = append(out, line{row: r})
			}
			insertions = insertions[1:]
			continue
		}
		out = append(out, f.lines[i])
		i--
	}
	out = out[:min(len(out), n)]
	slices.Reverse(out)
	f.lines = out
}
