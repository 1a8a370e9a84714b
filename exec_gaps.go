package wsep

import "sync/atomic"

// gaps counts the bytes of a process's outputs that its client does not get. It implements skipTeller.
type gaps struct {
	stdout, stderr atomic.Int64
	do             atomic.Pointer[func()] // called when a number has grown; may be nil
}

// Skipped implements [Skipper].
func (g *gaps) Skipped() (stdout, stderr int64) { return g.stdout.Load(), g.stderr.Load() }

func (g *gaps) onSkip(do func()) { g.do.Store(&do) }

// grown is called when a number has grown.
func (g *gaps) grown() {
	if do := g.do.Load(); do != nil {
		(*do)()
	}
}
