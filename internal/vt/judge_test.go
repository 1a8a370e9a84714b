package vt

import "testing"

// Judge asks xterm.js, for tests that import this package. It returns how two terminals of 24 by 80 differ once both have got all
// of the input: one that got it from the start, and one that was shown something in place of the bytes before the offset.
// Nothing means that they do not differ.
func Judge(t testing.TB, input []byte, offset int, shown []byte) string {
	t.Helper()
	a := theOracle.ask(t, question{
		Rows: 24, Cols: 80, Scrollback: 1000, Steps: []any{input},
		Cases: []oracleCase{{Offset: offset, Rows: 24, Cols: 80, Snapshot: shown}},
	})
	if a.Error != "" {
		t.Fatal(a.Error)
	}
	difference := ""
	for _, d := range a.Differences {
		difference += d.Key + ": want " + d.Want + ", got " + d.Got + "\n"
	}
	return difference
}
