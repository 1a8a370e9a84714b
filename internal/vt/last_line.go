package vt

import "strings"

// LastLine returns the text of the last row of the screen that shows any, without spaces around it. It is empty for a blank
// screen.
func (t *Terminal) LastLine() string {
	for y := len(t.on.rows) - 1; y >= 0; y-- {
		if text := strings.TrimSpace(t.rowText(t.on.rows[y])); text != "" {
			return text
		}
	}
	return ""
}

// rowText returns what a row shows, with a space for each blank cell.
func (t *Terminal) rowText(r *row) string {
	var text strings.Builder
	for x := 0; x < r.trimmed(); x += max(1, r.cells[x].width()) {
		if shown := t.text(r.cells[x]); shown != "" {
			text.WriteString(shown)
		} else {
			text.WriteByte(' ')
		}
	}
	return text.String()
}
