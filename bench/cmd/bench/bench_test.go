package main

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"cdr.dev/wsep/bench/load"
)

// even returns measurements of contenders that are all equally fast.
func even() (measured []*measurement) {
	for _, c := range contenders {
		for _, work := range c.works {
			measured = record(measured, c, load.Result{Work: work, Value: 1})
		}
	}
	return measured
}

// A target without a measurement could not be missed.
func TestEveryTargetIsJudged(t *testing.T) {
	if verdicts := judge(even()); len(verdicts) != len(targets) {
		t.Errorf("%d verdicts on %d targets", len(verdicts), len(targets))
	}
}

func TestEveryWorkIsDescribed(t *testing.T) {
	for _, work := range all {
		if descriptions[work] == "" {
			t.Errorf("no description of %s", work)
		}
	}
}

func TestVerdict(t *testing.T) {
	measured := even()
	met := func(what string) bool {
		for _, v := range judge(measured) {
			if v.What == what {
				return v.Met
			}
		}
		t.Fatalf("no target %q", what)
		return false
	}
	const more, less = "upload, user's connection, times v0.2.4", "one byte, own ends, of v0.2.4"
	if met(more) || met(less) {
		t.Error("targets met by figures that are no better than v0.2.4's")
	}
	find(measured, user, "upload").Median = 1.9
	find(measured, own, "rtt").Median = 0.7
	if !met(more) || !met(less) {
		t.Error("targets missed by figures that reach them")
	}
}

func TestChartIsXML(t *testing.T) {
	rep := newReport(even(), 1, nil)
	rep.Machine.CPU = `a "b" <c> & d`
	decoder := xml.NewDecoder(strings.NewReader(rep.chart()))
	for {
		if _, err := decoder.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
