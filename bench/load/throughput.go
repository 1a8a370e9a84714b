package load

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// upload returns the rate at which a command takes its stdin. It measures until the command exits, because only then has the
// command read everything.
func (b *Bench) upload(ctx context.Context) (float64, error) {
	p, err := b.Start(ctx, Sink)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := b.write(p.Stdin()); err != nil {
		return 0, err
	}
	if err := p.Wait(); err != nil {
		return 0, err
	}
	return rate(b.Size, time.Since(began)), p.Close()
}

// download returns the rate at which a command's output arrives.
func (b *Bench) download(ctx context.Context) (float64, error) {
	p, err := b.Start(ctx, Source(b.Size))
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := drain(p, b.Size); err != nil {
		return 0, err
	}
	return rate(b.Size, time.Since(began)), p.Close()
}

// drain reads n bytes of output and then its end, and waits for the process.
func drain(p Process, n int64) error {
	got, err := io.CopyBuffer(discard{}, p.Stdout(), make([]byte, 64<<10))
	if err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("got %d bytes of %d", got, n)
	}
	return p.Wait()
}

// discard drops all bytes. With io.Discard, io.Copy would read small pieces.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// echo returns the rate, in each direction, at which data goes through a command and back unchanged.
func (b *Bench) echo(ctx context.Context) (float64, error) {
	took, err := b.echoTime(ctx, b.Size)
	return rate(b.Size, took), err
}

func (b *Bench) echoTime(ctx context.Context, size int64) (time.Duration, error) {
	p, err := b.Start(ctx, Cat)
	if err != nil {
		return 0, err
	}
	var (
		writing  sync.WaitGroup
		sent     uint32
		writeErr error
	)
	began := time.Now()
	sized := *b
	sized.Size = size
	// Ends when everything is written. Writes fail if the process exits or its connection is lost.
	writing.Go(func() { sent, writeErr = sized.write(p.Stdin()) })
	sum := crc32.NewIEEE()
	n, readErr := io.CopyBuffer(onlyWriter{sum}, p.Stdout(), make([]byte, 64<<10))
	waitErr := p.Wait()
	took := time.Since(began)
	writing.Wait()
	if err := errors.Join(writeErr, readErr, waitErr, p.Close()); err != nil {
		return 0, err
	}
	if n != size || sum.Sum32() != sent {
		return 0, fmt.Errorf("sent %d bytes with checksum %08x, got %d with %08x", size, sent, n, sum.Sum32())
	}
	return took, nil
}

type onlyWriter struct{ io.Writer }

// many returns the rate of many downloads at once, each by a command on a connection of its own.
func (b *Bench) many(ctx context.Context) (float64, error) {
	// Each moves enough to take a while. Together they move more than one download would.
	share := b.Size / int64(b.Many) * 4
	processes, err := b.startMany(ctx, b.Many, gatedSource(share))
	if err != nil {
		return 0, err
	}
	errs := make([]error, len(processes))
	var downloads sync.WaitGroup
	began := time.Now()
	for i, p := range processes {
		// Ends when the download does.
		downloads.Go(func() {
			_, err := io.WriteString(p.Stdin(), "go\n")
			errs[i] = errors.Join(err, drain(p, share))
		})
	}
	downloads.Wait()
	took := time.Since(began)
	return rate(share*int64(b.Many), took), errors.Join(append(errs, closeAll(processes))...)
}

func (b *Bench) startMany(ctx context.Context, n int, c Command) (processes []Process, err error) {
	for range n {
		p, err := b.Start(ctx, c)
		if err != nil {
			return nil, errors.Join(err, closeAll(processes))
		}
		processes = append(processes, p)
	}
	return processes, nil
}

func closeAll(processes []Process) error {
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// write writes b.Size bytes in pieces, closes w, and returns the checksum of what it wrote.
func (b *Bench) write(w io.WriteCloser) (sum uint32, err error) {
	piece := noise(b.Piece)
	for left := b.Size; left > 0; {
		p := piece[:min(left, int64(len(piece)))]
		if _, err := w.Write(p); err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, crc32.IEEETable, p)
		left -= int64(len(p))
	}
	return sum, w.Close()
}

// noise returns n bytes that can't be compressed.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

func rate(size int64, took time.Duration) float64 { return float64(size) / (1 << 20) / took.Seconds() }
