//go:build !windows

package wsep

import (
	"os"
	"sync"
	"sync/atomic"
)

// maxWide bounds how many pipes are wide at once. A user without privileges has 64 MiB for all pipes by default, and beyond
// that each new one, whoever makes it, holds two pages (pipe(7), /proc/sys/fs/pipe-user-pages-soft).
const maxWide = 16

// wide is how many pipes are wide.
var wide atomic.Int32

// widening makes one pipe wide, if not too many are.
type widening struct {
	once    sync.Once
	counted bool
}

// widen is called when the pipe carries much.
func (w *widening) widen(f *os.File) {
	w.once.Do(func() {
		if wide.Add(1) > maxWide {
			wide.Add(-1)
			return
		}
		w.counted = true
		widen(f)
	})
}

// end is called once, when the pipe is closed.
func (w *widening) end() {
	w.once.Do(func() {})
	if w.counted {
		wide.Add(-1)
	}
}
