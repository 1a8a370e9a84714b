package vt

// A cell is one column of one row. The zero cell is null: nothing was ever written there. A null cell shows as a blank,
// but is not copied when rows reflow, so it is not the same as a space.
type cell struct {
	// ch holds a code point, or with chCombined an index into the Terminal's clusters, and the width.
	ch uint32
	// fg and bg hold a color each, and flags.
	fg, bg uint32
	// ext is an index into the Terminal's extras, 0 without bgExtra.
	ext uint32
}

const (
	chCode     = 1<<21 - 1
	chCombined = 1 << 21
	chContent  = chCode | chCombined
	chWidth    = 3 << 22 // the width, exclusive-or 1, so that 0 is width 1
	chWide     = 3 << 22
	chNarrow   = 0
	chZero     = 1 << 22

	// A color's mode and value. The value of colorRGB has 24 bits, that of the others 8.
	colorMode    = 3 << 24
	colorDefault = 0
	color16      = 1 << 24
	color256     = 2 << 24
	colorRGB     = 3 << 24
	colorValue   = 1<<24 - 1
	colorMask    = colorMode | colorValue

	fgInverse   = 1 << 26
	fgBold      = 1 << 27
	fgUnderline = 1 << 28
	fgBlink     = 1 << 29
	fgInvisible = 1 << 30
	fgStrike    = 1 << 31

	bgItalic    = 1 << 26
	bgDim       = 1 << 27
	bgExtra     = 1 << 28 // ext counts
	bgProtected = 1 << 29
	bgOverline  = 1 << 30
)

// width returns how many columns the cell's character takes: 0, 1 or 2. The second cell of a wide character has width 0
// and no content.
func (c cell) width() int { return int(c.ch>>22 ^ 1) }

// widthBits returns the bits of a cell's ch for a width.
func widthBits(w int) uint32 { return uint32(w^1) << 22 }

func (c cell) hasContent() bool { return c.ch&chContent != 0 }

// An extra is the part of a cell's look that few cells have.
type extra struct {
	style uint8  // of the underline: 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed
	color uint32 // of the underline
	// A hyperlink: what its parameter id says, and where it leads. No link without uri.
	id, uri string
}

// empty tells whether a cell with this extra looks like one without. The underline's color alone shows nowhere.
func (e extra) empty() bool { return e.style == 0 && e.uri == "" }

// A table gives values small numbers, so that a cell can hold one. Number 0 is the zero value.
type table[T comparable] struct {
	values  []T
	numbers map[T]uint32
	free    []uint32
	sweepAt int
}

// sweepFirst is how many values a table holds before it looks which are still in use.
const sweepFirst = 256

func newTable[T comparable]() table[T] {
	return table[T]{values: make([]T, 1), sweepAt: sweepFirst}
}

func (t *table[T]) get(n uint32) T { return t.values[n] }

// number returns the number of v. It returns 0 where there is no room.
func (t *table[T]) number(v T) uint32 {
	var zero T
	if v == zero {
		return 0
	}
	if n, ok := t.numbers[v]; ok {
		return n
	}
	if t.numbers == nil {
		t.numbers = make(map[T]uint32)
	}
	var n uint32
	switch last := len(t.free) - 1; {
	case last >= 0:
		n, t.free = t.free[last], t.free[:last]
		t.values[n] = v
	case len(t.values) > chCode:
		return 0
	default:
		n = uint32(len(t.values))
		t.values = append(t.values, v)
	}
	t.numbers[v] = n
	return n
}

// full tells whether it is time to call keep.
func (t *table[T]) full() bool { return len(t.numbers) >= t.sweepAt }

// keep frees all numbers but those in used.
func (t *table[T]) keep(used map[uint32]bool) {
	var zero T
	for v, n := range t.numbers {
		if !used[n] {
			delete(t.numbers, v)
			t.values[n] = zero
			t.free = append(t.free, n)
		}
	}
	if len(t.numbers) == 0 {
		*t = newTable[T]()
	}
	t.sweepAt = max(sweepFirst, 2*len(t.numbers))
}

// sweep frees the extras and clusters that no cell of a screen uses. History has its own copies. Nothing but the
// screens and the pen may hold numbers when it is called.
func (t *Terminal) sweep() {
	if !t.extras.full() && !t.clusters.full() {
		return
	}
	extras, clusters := map[uint32]bool{t.pen.ext: true}, map[uint32]bool{}
	for _, b := range []*buffer{&t.normal, &t.alt} {
		for _, r := range b.rows {
			for _, c := range r.cells {
				if c.ext != 0 {
					extras[c.ext] = true
				}
				if c.ch&chCombined != 0 {
					clusters[c.ch&chCode] = true
				}
			}
		}
	}
	t.extras.keep(extras)
	t.clusters.keep(clusters)
}

// text returns what the cell shows, empty for a null cell.
func (t *Terminal) text(c cell) string {
	if c.ch&chCombined != 0 {
		return t.clusters.get(c.ch & chCode)
	}
	if r := rune(c.ch & chCode); r != 0 {
		return string(r)
	}
	return ""
}
