package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// warmUp is how often something short is done before it is timed.
const warmUp = 10

// roundTrip returns how long one byte takes through a command and back.
func (b *Bench) roundTrip(ctx context.Context) (float64, error) {
	p, err := b.Start(ctx, Cat)
	if err != nil {
		return 0, err
	}
	took, err := medianTime(b.Trips, func() error { return trip(p) })
	if err != nil {
		return 0, err
	}
	if err := p.Stdin().Close(); err != nil {
		return 0, err
	}
	return took, errors.Join(drain(p, 0), p.Close())
}

func trip(p Process) error {
	sent, got := []byte{'x'}, make([]byte, 1)
	if _, err := p.Stdin().Write(sent); err != nil {
		return err
	}
	if _, err := io.ReadFull(p.Stdout(), got); err != nil {
		return err
	}
	if got[0] != sent[0] {
		return fmt.Errorf("sent %q, got %q", sent, got)
	}
	return nil
}

// starts returns how long it takes to run a command that does nothing, and to learn of its exit. If start connects that counts too.
func (b *Bench) starts(ctx context.Context, start Start) (float64, error) {
	return medianTime(b.Starts, func() error {
		p, err := start(ctx, Nothing)
		if err != nil {
			return err
		}
		return errors.Join(drain(p, 0), p.Close())
	})
}

// medianTime does something n times and returns its median duration in microseconds.
func medianTime(n int, do func() error) (float64, error) {
	for range warmUp {
		if err := do(); err != nil {
			return 0, err
		}
	}
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		if err := do(); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return float64(times[n/2]) / float64(time.Microsecond), nil
}
