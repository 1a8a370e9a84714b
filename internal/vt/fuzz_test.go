package vt

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// FuzzTerminal looks for what makes a terminal panic, hang or grow. The first bytes say sizes and where to resize. A
// snapshot has to lead a terminal of our own to the same snapshot.
func FuzzTerminal(f *testing.F) {
	files, _ := filepath.Glob("testdata/cases/*.bin")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(24), uint8(80), uint8(10), uint8(40), uint16(len(b)/2), b)
	}
	for seed := range uint64(20) {
		b := soup{rand.New(rand.NewPCG(seed, 11)), 5, 20}.make(60)
		f.Add(uint8(5), uint8(20), uint8(7), uint8(9+seed), uint16(len(b)/2), b)
	}
	f.Fuzz(func(t *testing.T, rows, cols, rows2, cols2 uint8, at uint16, data []byte) {
		term := New(int(rows), int(cols), 50)
		half := min(int(at), len(data))
		term.Write(data[:half])
		term.Resize(int(rows2), int(cols2))
		term.Write(data[half:])
		checkBounds(t, term)
		snapshot := term.Snapshot(50)
		again := New(int(rows2), int(cols2), 50)
		again.Write(snapshot)
		checkBounds(t, again)
		if term.state != again.state {
			t.Errorf("the parser is in state %d, and from the snapshot in %d", term.state, again.state)
		}
		if !term.lostPen() && term.pen.cell().looksLike(cell{}) != again.pen.cell().looksLike(cell{}) {
			t.Errorf("the pen is %v, and from the snapshot %v: %q", term.pen, again.pen, snapshot)
		}
		again.Write(term.Reset())
		checkBounds(t, again)
	})
}
