package main

import "cdr.dev/wsep/bench/internal/report"

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

// targetOf returns the target for a work: what the ratio to direct, or for idle the figure itself, is to reach. What goes
// down has none.
func targetOf(w work) (bound report.Bound, ok bool) {
	switch {
	case w.Kind == trip:
		return report.Bound{Max: maxTrips}, true
	case w.Kind == idle:
		return report.Bound{Max: maxIdle}, true
	case w.Kind != string(up) || shares[w.Payload] == 0:
		return report.Bound{}, false
	case w.Clients == shareClients:
		return report.Bound{Min: shares[w.Payload]}, true
	}
	return report.Bound{Min: shares[w.Payload] * otherClients}, true
}

// verdict is what became of a target.
type verdict struct {
	work
	report.Verdict
}

func judge(measured []*measurement) (verdicts []verdict) {
	for _, m := range measured {
		if bound, ok := targetOf(m.work); ok {
			verdicts = append(verdicts, verdict{m.work, bound.Judge(m.figure())})
		}
	}
	return verdicts
}
