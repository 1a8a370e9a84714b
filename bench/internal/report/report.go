// Package report has the common parts of the benchmarks' reports.
package report

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Median returns the median of values. There must be at least one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// Bound is a lower or an upper bound of a figure.
type Bound struct {
	Min float64 `json:"at_least,omitempty"`
	Max float64 `json:"at_most,omitempty"` // if Min is 0
}

// Verdict tells whether a target was met.
type Verdict struct {
	Figure float64 `json:"figure"`
	Bound
	Met bool `json:"met"`
}

// Judge returns the verdict on a figure.
func (b Bound) Judge(figure float64) Verdict {
	met := figure >= b.Min
	if b.Min == 0 {
		met = figure <= b.Max
	}
	return Verdict{figure, b, met}
}

func (b Bound) String() string {
	if b.Min > 0 {
		return fmt.Sprintf("≥ %.3g", b.Min)
	}
	return fmt.Sprintf("≤ %.3g", b.Max)
}

// Missed reports whether the target was missed.
func (v Verdict) Missed() bool { return !v.Met }

// Word says whether the target was met.
func (v Verdict) Word() string {
	if v.Met {
		return "met"
	}
	return "missed"
}

// File is a file of a report.
type File struct{ Name, Text string }

// JSON returns a file with the value in JSON.
func JSON(name string, value any) (File, error) {
	data, err := json.MarshalIndent(value, "", "\t")
	return File{name, string(data) + "\n"}, err
}

// Output has the flags about the report that the benchmarks have in common.
type Output struct {
	Dir   string // the module's directory
	Out   string // the directory to write to; empty means Dir, or with Quick a temporary one
	Quick bool   // the figures mean nothing
	Check bool   // a missed target is an error
}

// AddFlags adds the flags to the command line.
func (o *Output) AddFlags() {
	flag.StringVar(&o.Dir, "dir", ".", "the `directory` of this module")
	flag.StringVar(&o.Out, "out", "", "the `directory` to write to; empty is -dir, or for -quick a temporary one")
	flag.BoolVar(&o.Quick, "quick", false, "check that everything works: one short round")
	flag.BoolVar(&o.Check, "check", false, "fail if a target is missed")
}

// Conclude prints the text of a report, writes the files, and checks the verdicts. It logs where the files are.
func Conclude[V interface{ Missed() bool }](o Output, text string, verdicts []V, files ...File) error {
	fmt.Print(text)
	if err := o.write(files); err != nil {
		return err
	}
	missed := 0
	for _, v := range verdicts {
		if v.Missed() {
			missed++
		}
	}
	if o.Check && missed > 0 {
		return fmt.Errorf("targets missed: %d", missed)
	}
	return nil
}

func (o Output) write(files []File) error {
	dir, err := o.directory()
	if err != nil {
		return err
	}
	var names []string
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, f.Name), []byte(f.Text), 0o644); err != nil {
			return err
		}
		names = append(names, f.Name)
	}
	log.Printf("written in %s: %s", dir, strings.Join(names, ", "))
	return nil
}

func (o Output) directory() (string, error) {
	switch {
	case o.Out != "":
		return filepath.Abs(o.Out)
	case o.Quick:
		return os.MkdirTemp("", "wsep-bench-quick-")
	}
	return filepath.Abs(o.Dir)
}
