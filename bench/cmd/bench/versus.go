package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"cdr.dev/wsep/bench/internal/report"
)

// versus returns contenders that compare this version with a program that was built from cmd/ours of another version. The two
// do each work one right after the other.
func versus(program string) ([]contender, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	return []contender{
		{user + before, program, "user", all},
		{user, "ours", "user", all},
		{own + before, program, "own", all},
		{own, "ours", "own", all},
	}, nil
}

// before marks the contenders of the other version.
const before = ", before"

// compare returns a table of this version's figures divided by those of the other version. A ratio is the median of the
// ratios of figures that were measured one right after the other.
func compare(measured []*measurement) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| work | %s | %s |\n|---|--:|--:|\n", user, own)
	for _, work := range all {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", descriptions[work], ratio(measured, user, work), ratio(measured, own, work))
	}
	return b.String()
}

func ratio(measured []*measurement, contender, work string) string {
	now, then := find(measured, contender, work), find(measured, contender+before, work)
	if now == nil || then == nil {
		return "-"
	}
	var ratios []float64
	for i, v := range now.Values {
		if then.Values[i] == 0 {
			return "-"
		}
		ratios = append(ratios, v/then.Values[i])
	}
	return fmt.Sprintf("%.3f", report.Median(ratios))
}
