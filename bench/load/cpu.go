package load

import (
	"context"
	"net/http"
	"syscall"
	"time"
)

// cpuPath is the path of the processor time that a server has used.
const cpuPath = "/cpu"

// cpu returns the processor time of the server, in seconds, for each GiB that a work moves. The time of commands does not count.
func (b *Bench) cpu(ctx context.Context, move func(*Bench, context.Context) (float64, error)) (float64, error) {
	before, err := b.CPU(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := move(b, ctx); err != nil {
		return 0, err
	}
	after, err := b.CPU(ctx)
	return (after - before).Seconds() / (float64(b.Size) / (1 << 30)), err
}

// serveCPU is the handler that tells the processor time of the server.
func serveCPU(w http.ResponseWriter, _ *http.Request) { answer(w, ownCPU) }

// ownCPU returns the processor time that this process has used, in its own code and in the system's.
func ownCPU() (time.Duration, error) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0, err
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), nil
}

// fetchCPU asks the server at the URL.
func fetchCPU(ctx context.Context, url string) (used time.Duration, err error) {
	err = ask(ctx, url+cpuPath, &used)
	return used, err
}
