package main

import "cdr.dev/wsep/bench/internal/report"

// shares are the least ratios of the throughput through wsplice to the direct one, for 32 clients, by payload. More than about
// half is impossible: through wsplice each byte crosses the kernel twice as often.
var shares = map[int]float64{32: 0.24, 128: 0.35, 1 << 10: 0.43, 4 << 10: 0.46, 64 << 10: 0.48}

const (
	// shareClients is the number of clients that the shares are for.
	shareClients = 32
	// otherClients is the part of a share that other numbers of clients must reach.
	otherClients = 2.0 / 3
	// maxTrips is how many direct round trips one through wsplice may take.
	maxTrips = 2.2
	// maxIdle is the memory of an idle channel, in KiB.
	maxIdle = 24
)

// targetOf returns the target for a work. It is a bound of the ratio to the direct figure, or, for idle, of the figure itself.
// Works in direction down have no target.
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

// verdict tells whether a target was met.
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
