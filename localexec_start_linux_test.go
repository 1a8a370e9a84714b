package wsep_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// BenchmarkStart runs a command that does nothing, from start to end: by the system's means alone, by LocalExecer, and over a
// connection that is used again. cpu-us/op is the processor time of this process, without the command's.
func BenchmarkStart(b *testing.B) {
	b.Run("system", func(b *testing.B) { benchmarkStart(b, startBySystem) })
	b.Run("local", func(b *testing.B) { benchmarkStart(b, startBy(wsep.LocalExecer{})) })
	b.Run("reused", func(b *testing.B) {
		benchmarkStart(b, startBy(wsep.Dialer{URL: serve(b, wsep.LocalExecer{})}))
	})
}

func benchmarkStart(b *testing.B, start func() error) {
	require.NoError(b, start())
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		if err := start(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/1e3/float64(b.N), "cpu-us/op")
}

func startBy(e wsep.Execer) func() error {
	return func() error {
		p, err := e.Start(context.Background(), wsep.Command{Command: "true"})
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, p.Stdout()); err != nil {
			return err
		}
		return p.Wait()
	}
}

func startBySystem() error {
	path, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	p, err := os.StartProcess(path, []string{"true"}, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{nil, w, w}})
	if err != nil {
		return err
	}
	_ = w.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// processorTime returns the processor time of this process in nanoseconds.
func processorTime(b *testing.B) int64 {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return used.Utime.Nano() + used.Stime.Nano()
}
