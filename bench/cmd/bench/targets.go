package main

import "cdr.dev/wsep/bench/internal/report"

// target is a figure that wsep is to reach: a contender's median for a work, divided by another contender's.
type target struct {
	what      string
	contender string
	work      string
	// over is the other contender. Empty means that nothing is divided. Its work is the same unless overWork names another.
	over, overWork string
	bound          report.Bound
}

func atLeast(x float64) report.Bound { return report.Bound{Min: x} }
func atMost(x float64) report.Bound  { return report.Bound{Max: x} }

var targets = []target{
	{what: "upload, user's connection, times v0.2.4", contender: user, work: "upload", over: old, bound: atLeast(1.9)},
	{what: "upload, user's connection, times raw", contender: user, work: "upload", over: raw, bound: atLeast(0.9)},
	{what: "upload, own ends, times v0.2.4", contender: own, work: "upload", over: old, bound: atLeast(5)},
	{what: "upload, own ends, times local", contender: own, work: "upload", over: local, bound: atLeast(0.8)},
	{what: "download, user's connection, times v0.2.4", contender: user, work: "download", over: old, bound: atLeast(2.8)},
	{what: "download, own ends, times v0.2.4", contender: own, work: "download", over: old, bound: atLeast(3.6)},
	{what: "download, own ends, times a relay by splice", contender: own, work: "download", over: relay, bound: atLeast(0.9)},
	{what: "echo, user's connection, times v0.2.4", contender: user, work: "echo", over: old, bound: atLeast(2.5)},
	{what: "echo, own ends, times v0.2.4", contender: own, work: "echo", over: old, bound: atLeast(4)},
	{what: "echo, own ends, times local", contender: own, work: "echo", over: local, bound: atLeast(0.7)},
	{what: "one byte, user's connection, of v0.2.4", contender: user, work: "rtt", over: old, bound: atMost(0.8)},
	{what: "one byte, own ends, of v0.2.4", contender: own, work: "rtt", over: old, bound: atMost(0.7)},
	{what: "one byte, own ends, of OpenSSH", contender: own, work: "rtt", over: ssh, bound: atMost(1)},
	{what: "start, user's connection, of v0.2.4", contender: user, work: "start", over: old, bound: atMost(1)},
	{what: "start, own ends, of v0.2.4", contender: own, work: "start", over: old, bound: atMost(0.8)},
	{what: "start on a kept connection, of v0.2.4", contender: own, work: "again", over: old, overWork: "start", bound: atMost(0.6)},
	{what: "start on a kept connection, times local", contender: own, work: "again", over: local, overWork: "start", bound: atMost(1.5)},
	{what: "the same over 50 ms, in us", contender: own, work: "far", bound: atMost(1.05 * 50_000)},
	// Half of what it took when every byte still went through the server's memory.
	{what: "server's processor time, upload, own ends, of v0.2.4", contender: own, work: "upload-cpu", over: old, bound: atMost(0.08)},
	{what: "server's processor time, download, own ends, of v0.2.4", contender: own, work: "download-cpu", over: old, bound: atMost(0.15)},
	{what: "memory per idle process, KiB", contender: own, work: "idle", bound: atMost(30)},
	// It is not 0, because garbage collections empty pools.
	{what: "allocations per message", contender: own, work: "allocs", bound: atMost(0.05)},
	{what: "64 processes at once, times one", contender: own, work: "many", over: own, overWork: "download", bound: atLeast(0.9)},
}

// verdict tells whether a target was met.
type verdict struct {
	What string `json:"what"`
	report.Verdict
}

// judge returns the verdicts on the targets whose contenders were measured.
func judge(measured []*measurement) (verdicts []verdict) {
	for _, t := range targets {
		figure, ok := t.figure(measured)
		if !ok {
			continue
		}
		verdicts = append(verdicts, verdict{t.what, t.bound.Judge(figure)})
	}
	return verdicts
}

// figure returns the target's figure. It returns false if a contender was not measured.
func (t target) figure(measured []*measurement) (figure float64, ok bool) {
	m := find(measured, t.contender, t.work)
	if m == nil {
		return 0, false
	}
	if t.over == "" {
		return m.Median, true
	}
	work := t.work
	if t.overWork != "" {
		work = t.overWork
	}
	over := find(measured, t.over, work)
	if over == nil {
		return 0, false
	}
	return m.Median / over.Median, true
}
