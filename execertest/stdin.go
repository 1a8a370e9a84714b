package execertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
)

var stdinLines = []line{
	{"HalfClose", stdinHalfClose},
	{"Sort", stdinSort},
	{"Big", stdinBig},
	{"Echo", stdinEcho},
	{"WriteSizes", stdinWriteSizes},
	{"ConcurrentWriters", stdinConcurrentWriters},
	{"Unread", stdinUnread},
	{"LastWrite", stdinLastWrite},
	{"WriteAfterClose", stdinWriteAfterClose},
	{"WriteAfterEnd", stdinWriteAfterEnd},
	{"None", stdinNone},
}

// stdinHalfClose: closing stdin is an end of file for the program. Its output stays open.
func stdinHalfClose(f *fixture) {
	p := f.start(typed(f.command(program{cat, out("after\n"), errOut("after\n"), exit(5)})))
	p.write("before\n")
	p.out().await("before\n")
	p.closeStdin()
	require.Equal(f, "before\nafter\n", p.out().all())
	require.Equal(f, "after\n", p.errOut().all())
	p.requireExit(5)
}

// stdinSort: a program can read all of stdin first, and then answer.
func stdinSort(f *fixture) {
	p := f.start(typed(f.command(program{sorted})))
	p.write("b\nc\n")
	p.write("a\n")
	p.closeStdin()
	require.Equal(f, "a\nb\nc\n", p.out().all())
	p.requireExit(0)
}

// stdinBig: large input arrives whole and unchanged.
func stdinBig(f *fixture) {
	want, err := digest(io.LimitReader(noise(), int64(bigSize)))
	require.NoError(f, err)
	p := f.start(typed(f.command(program{sum})))
	p.feed(io.LimitReader(noise(), int64(bigSize)))()
	require.Equal(f, want, strings.Fields(p.out().all())[0])
	p.requireExit(0)
}

// stdinEcho: large data flow both ways at once.
func stdinEcho(f *fixture) {
	want, err := digest(io.LimitReader(noise(), int64(bigSize)))
	require.NoError(f, err)
	p := f.start(typed(f.command(program{cat})))
	written := p.feed(io.LimitReader(noise(), int64(bigSize)))
	require.Equal(f, want, p.digest()())
	written()
	p.requireExit(0)
}

// stdinWriteSizes: a write of any size arrives whole. Write neither keeps nor changes its argument.
func stdinWriteSizes(f *fixture) {
	sizes := []int{
		0, 1, 2, 15, 16, 1000, 4095, 4096, 4097, 32767, 32768, 32769, 63980, 64000, 64001, 65535, 65536, 65537, 100_000,
		262_143, 262_144, 262_145, 1 << 20, 5 << 20, 0, 1,
	}
	p := f.start(typed(f.command(program{cat})))
	got := p.digest()
	source := noise()
	want := sha256.New()
	for _, size := range sizes {
		block := make([]byte, size)
		_, err := io.ReadFull(source, block)
		require.NoError(f, err)
		_, _ = want.Write(block)
		original := bytes.Clone(block)
		var n int
		f.within(patience, "a write to stdin", func() { n, err = p.Stdin().Write(block) })
		require.NoError(f, err)
		require.Equal(f, size, n)
		require.True(f, bytes.Equal(original, block), "Write changed its argument")
		clear(block)
	}
	p.closeStdin()
	require.Equal(f, hex.EncodeToString(want.Sum(nil)), got(), "what came back is not what was written")
	p.requireExit(0)
}

// stdinConcurrentWriters: writes of several goroutines are not interleaved up to 32 KiB each.
func stdinConcurrentWriters(f *fixture) {
	const writers, writes, size = 8, 40, 32 << 10
	p := f.start(typed(f.command(program{cat})))
	out := p.out()
	errs := make([]error, writers)
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range writes {
				// Each writer has its letter, and lines of very different lengths.
				text := bytes.Repeat([]byte{byte('a' + w)}, size>>(i%16)-1)
				if _, err := p.Stdin().Write(append(text, '\n')); err != nil {
					errs[w] = err
				}
			}
		})
	}
	f.within(patience, "the concurrent writes", writing.Wait)
	require.NoError(f, errors.Join(errs...))
	p.closeStdin()
	lines := strings.Split(strings.TrimSuffix(out.all(), "\n"), "\n")
	require.Equal(f, writers*writes, len(lines), "lines")
	for _, text := range lines {
		require.True(f, text == "" || strings.Trim(text, text[:1]) == "", "writes are interleaved")
	}
	p.requireExit(0)
}

// stdinUnread: a full stdin that the program does not read delays neither its output nor its exit code.
func stdinUnread(f *fixture) {
	g := f.gate()
	p := f.start(typed(f.command(program{out("ready\n"), atGate(1), zeros(bigSize, "1"), errOut("err\n"), exit(5)}, g.file)))
	p.awaitReady()
	p.fill()
	g.open()
	require.EqualValues(f, bigSize, p.count("stdout", p.Stdout())(), "bytes")
	require.Equal(f, "err\n", p.errOut().all())
	p.requireExit(5)
}

// stdinLastWrite: a write that the program has read succeeds, also if the program exits at once.
func stdinLastWrite(f *fixture) {
	for range repetitions {
		p := f.start(typed(f.command(program{readLine, exit(5)})))
		p.write("last\n")
		p.requireExit(5)
	}
}

// stdinWriteAfterClose: writing to a closed stdin fails.
func stdinWriteAfterClose(f *fixture) {
	p := f.start(typed(f.command(program{cat})))
	p.write("before")
	p.closeStdin()
	require.Error(f, p.tryWrite("after"))
	require.Equal(f, "before", p.out().all())
	p.requireExit(0)
}

// tryWrite writes to stdin and returns the error.
func (p *process) tryWrite(text string) (err error) {
	p.f.Helper()
	p.f.within(patience, "a write to stdin", func() { _, err = io.WriteString(p.Stdin(), text) })
	return err
}

// stdinWriteAfterEnd: writing to the stdin of a program that has exited fails, and closing it does no harm.
func stdinWriteAfterEnd(f *fixture) {
	p := f.start(typed(f.command(program{exit(5)})))
	p.requireExit(5)
	require.Error(f, p.tryWrite(strings.Repeat("x", 1<<20)))
	f.within(patience, "closing stdin", func() { _ = p.Stdin().Close() })
	p.requireExit(5)
}

// stdinNone: without Stdin writing fails, the program reads an end of file, and closing does nothing.
func stdinNone(f *fixture) {
	g := f.gate()
	p := f.start(f.command(program{cat, out("end\n"), atGate(1), exit(5)}, g.file))
	require.Error(f, p.tryWrite("lost"))
	p.closeStdin()
	require.Error(f, p.tryWrite("lost"))
	p.closeStdin()
	g.open()
	require.Equal(f, "end\n", p.out().all())
	p.requireExit(5)
}
