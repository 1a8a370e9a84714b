package vt

import (
	"math/rand/v2"
	"testing"
)

func TestLawSoups(t *testing.T) {
	checkSoups(t, *soups, func(seed uint64) script {
		r := rand.New(rand.NewPCG(seed, 7))
		s := soup{r, 3 + r.IntN(22), 10 + r.IntN(71)}
		b := s.make(150)
		return script{rows: s.rows, cols: s.cols, scrollback: 100, steps: []any{b}, cuts: someCuts(r, len(b), 40)}
	})
}
