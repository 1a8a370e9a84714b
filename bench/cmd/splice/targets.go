package main

import "fmt"

// target is a figure that is to be reached.
type target struct {
	work
	// The ratio to direct, or for idle the figure itself, is at least min or, if that is 0, at most max.
	min, max float64
}

// shares are the least shares of direct for 32 clients, by payload. About half is the limit: through wsplice every byte
// crosses the kernel twice as often.
var shares = map[int]float64{32: 0.24, 128: 0.35, 1 << 10: 0.43, 4 << 10: 0.46, 64 << 10: 0.48}

const (
	// shareClients is the number of clients that the shares are for.
	shareClients = 32
	// otherClients is what other numbers must keep of a share.
	otherClients = 2.0 / 3
	// maxTrips is how many times a direct round trip one through wsplice may last.
	maxTrips = 2.2
	// maxIdle is the memory of an idle channel, in KiB.
	maxIdle = 24
)

// targetOf returns the target for a work. What goes down has none.
func targetOf(w work) (t target, ok bool) {
	switch {
	case w.Kind == trip:
		return target{work: w, max: maxTrips}, true
	case w.Kind == idle:
		return target{work: w, max: maxIdle}, true
	case w.Kind != string(up) || shares[w.Payload] == 0:
		return target{}, false
	case w.Clients == shareClients:
		return target{work: w, min: shares[w.Payload]}, true
	}
	return target{work: w, min: shares[w.Payload] * otherClients}, true
}

// verdict is what became of a target.
type verdict struct {
	work
	Figure float64 `json:"figure"`
	Min    float64 `json:"at_least,omitempty"`
	Max    float64 `json:"at_most,omitempty"`
	Met    bool    `json:"met"`
}

func judge(measured []*measurement) (verdicts []verdict) {
	for _, m := range measured {
		if t, ok := targetOf(m.work); ok {
			verdicts = append(verdicts, t.judge(m.figure()))
		}
	}
	return verdicts
}

func (t target) judge(figure float64) verdict {
	met := figure >= t.min
	if t.min == 0 {
		met = figure <= t.max
	}
	return verdict{t.work, figure, t.min, t.max, met}
}

func (v verdict) bound() string {
	if v.Min > 0 {
		return fmt.Sprintf("≥ %.2f", v.Min)
	}
	return fmt.Sprintf("≤ %g", v.Max)
}

func (v verdict) word() string {
	if v.Met {
		return "met"
	}
	return "missed"
}
