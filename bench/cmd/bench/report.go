package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cdr.dev/wsep/bench/internal/machine"
)

// report is all that is known in the end.
type report struct {
	Machine  machine.Machine `json:"machine"`
	Rounds   int             `json:"rounds"`
	Flags    []string        `json:"flags"`
	Measured []*measurement  `json:"measured"`
	Targets  []verdict       `json:"targets"`
}

func newReport(measured []*measurement, rounds int, flags []string) report {
	return report{Machine: machine.This(), Rounds: rounds, Flags: flags, Measured: measured, Targets: judge(measured)}
}

func (r report) missed() (n int) {
	for _, v := range r.Targets {
		if !v.Met {
			n++
		}
	}
	return n
}

func (r report) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(dir, "results.json", string(data)+"\n"),
		writeFile(dir, "results.md", r.markdown()),
		writeFile(dir, "chart.svg", r.chart()),
	)
}

func writeFile(dir, name, text string) error {
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
}

// descriptions say what the works are.
var descriptions = map[string]string{
	"upload":   "upload, `cat >/dev/null`",
	"download": "download, `head -c` of /dev/zero",
	"echo":     "echo through `cat`, each way, checked",
	"rtt":      "one byte there and back through `cat`",
	"start":    "connect, run `true`, exit",
	"many":     "downloads at once, in all",
	"idle":     "server's memory per idle process",
	"allocs":   "allocations per 64,000 bytes, client and server",
}

// origin says where the figures come from.
func (r report) origin() string {
	return fmt.Sprintf("%s. Medians of rounds: %d.", r.Machine, r.Rounds)
}

// markdown returns the medians and the targets as tables.
func (r report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.origin())
	r.medians(&b)
	b.WriteString("\n| | figure | target | |\n|---|--:|--:|---|\n")
	for _, v := range r.Targets {
		fmt.Fprintf(&b, "| %s | %.2f | %s | %s |\n", v.What, v.Figure, v.bound(), v.word())
	}
	return b.String()
}

func (r report) medians(b *strings.Builder) {
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

func (r report) unit(work string) string {
	for _, m := range r.Measured {
		if m.Work == work {
			return m.Unit
		}
	}
	return ""
}

// median returns a contender's median at a work as text, or a dash if there is none.
func (r report) median(contender, work string) string {
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

func (v verdict) bound() string {
	if v.Min > 0 {
		return fmt.Sprintf("≥ %g", v.Min)
	}
	return fmt.Sprintf("≤ %g", v.Max)
}

func (v verdict) word() string {
	if v.Met {
		return "met"
	}
	return "missed"
}
