//go:build linux && !race

package wsep_test

import (
	"encoding/base64"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// The race detector takes memory of its own, so this file is not for it.

// TestIdleDetachedProcessIsSmall: a process that waits for its client, and has nothing to say, costs little.
func TestIdleDetachedProcessIsSmall(t *testing.T) {
	const most = 40 << 10
	processes := often(100, 1000)
	url := serveCut(t, &wsep.Handler{})
	start := func(i int) {
		c := dialRaw(t, url)
		key := base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(make([]byte, 28), uint32(i)))
		c.send(startWith(key, 60, "exec sleep 1000"))
		c.next("pid")
		c.drop()
	}
	start(0) // The first costs what all share.
	before := heapAndStacks()
	for i := range processes {
		start(i + 1)
	}
	var each int
	require.Eventually(t, func() bool {
		each = (heapAndStacks() - before) / processes
		return each < most
	}, patience, 100*time.Millisecond)
	t.Logf("%d bytes for each of %d", each, processes)
}

// heapAndStacks returns how much memory the heap's objects and all stacks take.
func heapAndStacks() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
