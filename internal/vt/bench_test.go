package vt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// plainOutput is what cat of a text writes, lines of 20 to 100 characters.
func plainOutput() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		b.WriteString(strings.Repeat("the quick brown fox ", 5)[:20+i%81])
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// coloredOutput is what a compiler or ls writes: words in colors.
func coloredOutput() []byte {
	var b bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&b, "\x1b[%dm%s\x1b[0m plain \x1b[1;38;5;%dm%s\x1b[m and \x1b[48;2;%d;0;9mmore\x1b[49m\r\n", 31+i%6, "drwxr-xr-x", i%256, "directory", i%256)
	}
	return b.Bytes()
}

func benchmarkWrite(b *testing.B, data []byte) {
	t := New(24, 80, 10000)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		t.Write(data)
	}
}

func BenchmarkPlain(b *testing.B) { benchmarkWrite(b, plainOutput()) }

func BenchmarkColored(b *testing.B) { benchmarkWrite(b, coloredOutput()) }

func BenchmarkWide(b *testing.B) {
	benchmarkWrite(b, []byte(strings.Repeat("中文字 wide ├──┤ é\r\n", 2000)))
}

func BenchmarkSnapshot(b *testing.B) {
	t := New(24, 80, 10000)
	for range 10 {
		t.Write(plainOutput())
	}
	b.SetBytes(int64(len(t.Snapshot(10000))))
	for b.Loop() {
		t.Snapshot(10000)
	}
}

func BenchmarkResize(b *testing.B) {
	t := New(24, 80, 10000)
	for range 10 {
		t.Write(plainOutput())
	}
	cols := 80
	for b.Loop() {
		cols ^= 80 ^ 100
		t.Resize(24, cols)
	}
}

func TestMemory(t *testing.T) {
	idle := memory(func() *Terminal { return New(24, 80, 10000) })
	t.Logf("idle: %d KiB", idle>>10)
	if idle > 300<<10 {
		t.Errorf("idle: got %d KiB, want at most 300", idle>>10)
	}
	full := memory(func() *Terminal {
		term := New(24, 80, 10000)
		line := []byte(strings.Repeat("x", 80) + "\r\n")
		for range 20000 {
			term.Write(line)
		}
		return term
	})
	t.Logf("10,000 lines of 80 columns: %d KiB", full>>10)
	if full > 1536<<10 {
		t.Errorf("10,000 lines: got %d KiB, want at most 1536", full>>10)
	}
}
