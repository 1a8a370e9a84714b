package vt

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestLawSoups(t *testing.T) {
	for seed := range *soups {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := soup{r, 3 + r.IntN(22), 10 + r.IntN(71)}
			b := s.make(150)
			checkLaw(t, script{rows: s.rows, cols: s.cols, scrollback: 100, steps: []any{b}, cuts: someCuts(r, len(b), 40), mayInexact: 30})
		})
	}
}
