package vt

// Limits of what a Terminal keeps. What is longer is ignored as a whole.
const (
	maxSize     = 1024     // rows, and columns
	minCols     = 2        // a wide character needs them
	maxPayload  = 64 << 10 // bytes of an OSC's or a DCS's payload
	keptPayload = 4 << 10  // bytes of memory for payloads that an idle Terminal keeps
	maxTitle    = 4 << 10  // bytes of a title
	maxLink     = 4 << 10  // bytes of a hyperlink, its id included
	maxCluster  = 128      // bytes of the characters that share a cell: more combining ones are dropped
	maxReplies  = 4 << 10  // bytes of replies that wait for [Terminal.Replies]
	maxOverhang = 1        // how far beyond a pending wrap the cursor can be: a character of width 0 was printed there
)

// A Terminal is the model: two screens, what has scrolled off, and the state that the next bytes meet.
type Terminal struct {
	parser
	rows, cols  int
	normal, alt buffer
	on          *buffer // normal or alt: the one that is shown

	pen pen
	shift
	modes    modes
	extras   table[extra]
	clusters table[string]
	// join is the width of the character that a combining one joins, and 0 where it joins none.
	join int
	// joinLost tells that the character of join is not on the screen.
	joinLost bool

	title, icon string
	colors      map[int]string
	replies     []byte
	scratch     []byte // for packing a row
}

// A pen is how the next character looks. It has fg, bg and ext of a cell, but ext counts only with bgExtra: restoring a
// cursor changes that flag alone.
type pen struct {
	fg, bg uint32
	ext    uint32
}

// cell returns a null cell that looks like the pen.
func (p pen) cell() cell {
	c := cell{fg: p.fg, bg: p.bg}
	if p.bg&bgExtra != 0 {
		c.ext = p.ext
	}
	return c
}

// blank returns what erasing leaves: a null cell with the pen's background.
func (t *Terminal) blank() cell { return cell{bg: t.pen.bg & colorMask} }

// New returns a terminal of rows and cols that keeps up to scrollback rows that have scrolled off. A size that is out of
// the bounds 1 to 1024 rows, 2 to 1024 columns is brought into them.
func New(rows, cols, scrollback int) *Terminal {
	rows, cols = clampSize(rows, cols)
	t := &Terminal{rows: rows, cols: cols, extras: newTable[extra](), clusters: newTable[string]()}
	t.normal.history.max = max(scrollback, 0)
	t.params.reset()
	t.reset()
	return t
}

func clampSize(rows, cols int) (int, int) {
	return min(max(rows, 1), maxSize), min(max(cols, minCols), maxSize)
}

// Size returns the terminal's rows and columns.
func (t *Terminal) Size() (rows, cols int) { return t.rows, t.cols }

// Scrollback returns how many rows are kept that have scrolled off.
func (t *Terminal) Scrollback() int { return t.normal.history.n }

// Title returns the title that the command has set last.
func (t *Terminal) Title() string { return t.title }

// Between tells whether the parser is between two sequences and two characters. Only then can other bytes be put
// between those that were written and those that will be.
func (t *Terminal) Between() bool { return t.between() }

// Replies returns what the terminal answers to the queries that were written since the last call, and forgets it.
func (t *Terminal) Replies() []byte {
	r := t.replies
	t.replies = nil
	return r
}

// reset is what RIS does. A hidden cursor, its blinking, and the mode of line feeds stay, as they do in xterm.js.
func (t *Terminal) reset() {
	t.pen = pen{}
	t.shift = shift{}
	t.modes = modes{noCursor: t.modes.noCursor, blink: t.modes.blink, newLine: t.modes.newLine}
	t.normal = buffer{history: history{max: t.normal.history.max}}
	t.alt = buffer{}
	t.normal.setUp(t.rows, t.cols)
	t.alt.setUp(t.rows, t.cols)
	t.normal.show(t.rows, t.cols, cell{})
	t.on = &t.normal
}
