package main

import (
	"fmt"
	"strings"

	"cdr.dev/wsep/bench/internal/machine"
	"cdr.dev/wsep/bench/internal/report"
)

// results is the report, with everything that was measured.
type results struct {
	Machine  machine.Machine `json:"machine"`
	Rounds   int             `json:"rounds"`
	Flags    []string        `json:"flags"`
	Measured []*measurement  `json:"measured"`
	Targets  []verdict       `json:"targets"`
}

func newReport(measured []*measurement, rounds int, flags []string) results {
	return results{Machine: machine.This(), Rounds: rounds, Flags: flags, Measured: measured, Targets: judge(measured)}
}

// conclude prints and writes the report.
func (r results) conclude(o report.Output) error {
	data, err := report.JSON("results.json", r)
	if err != nil {
		return err
	}
	text := r.markdown()
	return report.Conclude(o, text, r.Targets, report.File{Name: "results.md", Text: text}, data,
		report.File{Name: "chart.svg", Text: r.chart()})
}

// descriptions describe the works.
var descriptions = map[string]string{
	"upload":   "upload, `cat >/dev/null`",
	"download": "download, `head -c` of /dev/zero",
	"echo":     "echo through `cat`, each way, checked",
	"rtt":      "one byte there and back through `cat`",
	"start":    "connect, run `true`, exit",
	"again":    "run `true`, exit, over a connection that was kept",
	"far":      "the same over a round trip of 50 ms",
	"many":     "downloads at once, in all",
	"idle":     "server's memory per idle process",
	"allocs":   "allocations per 64,000 bytes, client and server",

	"upload-cpu":   "server's processor time, upload",
	"download-cpu": "server's processor time, download",
}

// origin describes the machine and the number of rounds.
func (r results) origin() string {
	return fmt.Sprintf("%s. Medians of rounds: %d.", r.Machine, r.Rounds)
}

// markdown returns the medians and the targets as tables.
func (r results) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.origin())
	r.medians(&b)
	b.WriteString("\n| | figure | target | |\n|---|--:|--:|---|\n")
	for _, v := range r.Targets {
		fmt.Fprintf(&b, "| %s | %.2f | %s | %s |\n", v.What, v.Figure, v.Bound, v.Word())
	}
	return b.String()
}

func (r results) medians(b *strings.Builder) {
	b.WriteString("| work | unit |")
	for _, c := range contenders {
		fmt.Fprintf(b, " %s |", c.name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(contenders)) + "\n")
	for _, work := range all {
		fmt.Fprintf(b, "| %s | %s |", descriptions[work], r.unit(work))
		for _, c := range contenders {
			fmt.Fprintf(b, " %s |", r.median(c.name, work))
		}
		b.WriteString("\n")
	}
}

func (r results) unit(work string) string {
	for _, m := range r.Measured {
		if m.Work == work {
			return m.Unit
		}
	}
	return ""
}

// median returns the text of a contender's median for a kind of work. A contender that did not do the work has a dash.
func (r results) median(contender, work string) string {
	m := find(r.Measured, contender, work)
	if m == nil {
		return "-"
	}
	return number(m.Median)
}

// number writes a figure with three digits or more.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
