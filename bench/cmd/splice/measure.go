package main

import (
	"context"
	"fmt"
	"log"

	"cdr.dev/wsep/bench/internal/report"
)

// measurement has the figures of a work, without wsplice and through it.
type measurement struct {
	work
	Unit    string    `json:"unit"`
	Direct  []float64 `json:"direct,omitempty"`
	Through []float64 `json:"through"`
}

// work is one thing that is measured.
type work struct {
	Kind    string `json:"kind"` // a direction, or one of the kinds below
	Clients int    `json:"clients"`
	Payload int    `json:"payload,omitempty"` // bytes of a message
}

// Kinds of work beside the directions.
const (
	trip    = "round trip"
	relayed = "relayed round trip" // through cmd/relay instead of wsplice, the simplest program between two others
	idle    = "idle"
)

// ratio returns the median of the rounds' ratios: the figure through wsplice, divided by the direct one.
func (m *measurement) ratio() float64 {
	var ratios []float64
	for i, through := range m.Through {
		ratios = append(ratios, through/m.Direct[i])
	}
	return report.Median(ratios)
}

// works returns what is measured in every round, apart from memory.
func (p plan) works() (works []work) {
	for _, way := range []direction{up, down} {
		for _, clients := range p.clients {
			for _, payload := range p.payloads {
				works = append(works, work{string(way), clients, payload})
			}
		}
	}
	return append(works, work{trip, 1, tripPayload}, work{relayed, 1, tripPayload})
}

// measure does each work without wsplice and through it in turn, so that other programs on the machine affect both alike.
func measure(ctx context.Context, programs programs, p plan) (measured []*measurement, err error) {
	for _, w := range p.works() {
		m := &measurement{work: w, Unit: "MiB/s"}
		if w.Kind == trip || w.Kind == relayed {
			m.Unit = "us"
		}
		measured = append(measured, m)
	}
	memory := &measurement{work: work{Kind: idle, Clients: 1}, Unit: "KiB"}
	for round := range p.rounds {
		log.Printf("round %d of %d", round+1, p.rounds)
		if err := measureRound(ctx, programs, p, measured); err != nil {
			return nil, err
		}
		kib, err := idleMemory(ctx, programs.splice, p.channels)
		if err != nil {
			return nil, fmt.Errorf("memory: %w", err)
		}
		memory.Through = append(memory.Through, kib)
	}
	return append(measured, memory), nil
}

// measureRound measures once with one wsplice.
func measureRound(ctx context.Context, programs programs, p plan, measured []*measurement) (err error) {
	b, err := listen()
	if err != nil {
		return err
	}
	defer b.listener.Close()
	s, err := startSplice(programs.splice)
	if err != nil {
		return err
	}
	defer func() { err = s.stop(err) }()
	r, err := startRelay(programs.relay, b.listener.Addr().String())
	if err != nil {
		return err
	}
	defer r.stop()
	for _, m := range measured {
		connect := b.through(s)
		if m.Kind == relayed {
			connect = b.relayed(r)
		}
		if err := m.add(ctx, p, b.direct, connect); err != nil {
			return fmt.Errorf("%s, clients: %d, payload: %d: %w", m.Kind, m.Clients, m.Payload, err)
		}
	}
	return nil
}

// add measures once more.
func (m *measurement) add(ctx context.Context, p plan, straight, connect connector) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	direct, err := m.work.do(ctx, p, straight)
	if err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	through, err := m.work.do(ctx, p, connect)
	if err != nil {
		return fmt.Errorf("not direct: %w", err)
	}
	m.Direct, m.Through = append(m.Direct, direct), append(m.Through, through)
	return nil
}

func (w work) do(ctx context.Context, p plan, connect connector) (figure float64, err error) {
	if w.Kind == trip || w.Kind == relayed {
		return roundTrip(ctx, connect, p.trips)
	}
	perSecond, err := throughput(ctx, connect, w.Clients, w.Payload, p.duration, direction(w.Kind))
	return perSecond / (1 << 20), err
}
