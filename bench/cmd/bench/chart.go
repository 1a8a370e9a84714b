package main

import (
	"fmt"
	"html"
	"strings"
)

// panel is a part of the chart: bars for the contenders' medians at a work.
type panel struct{ work, title string }

var panels = []panel{
	{"upload", "upload, MiB/s"},
	{"download", "download, MiB/s"},
	{"echo", "echo each way, MiB/s"},
	{"rtt", "one byte there and back, us (shorter is better)"},
	{"start", "connect, run true, exit, us (shorter is better)"},
	{"again", "the same over a connection that was kept, us (shorter is better)"},
	{"upload-cpu", "upload, server's processor time, s/GiB (shorter is better)"},
	{"download-cpu", "download, server's processor time, s/GiB (shorter is better)"},
}

// The chart's measures, in pixels.
const (
	chartWidth  = 760
	margin      = 20
	labelWidth  = 130
	valueWidth  = 60
	barHeight   = 14
	barPitch    = 20
	titleHeight = 30
	barRoom     = chartWidth - 2*margin - labelWidth - valueWidth
)

// chartHead has a background, so that the chart can be read on a page of any color.
const chartHead = `<svg xmlns="http://www.w3.org/2000/svg" role="img"
viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d">
<title>%[3]s</title>
<style>
.page { fill: #ffffff } text { fill: #1f2328; font: 12px sans-serif } .title { font-weight: bold }
.note { font-size: 11px } .ours { fill: #0969da } .other { fill: #9aa4af }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } text { fill: #e6edf3 } .ours { fill: #4493f8 } .other { fill: #6e7681 }
}
</style>
<rect class="page" width="100%%" height="100%%" rx="6"/>
`

// chart returns the medians as an SVG chart.
func (r results) chart() string {
	var b strings.Builder
	y := margin
	for _, p := range panels {
		y = r.draw(&b, p, y)
	}
	y += titleHeight / 2
	writeText(&b, "note", margin, y, r.origin())
	title := "Throughput and times of wsep and its peers"
	return fmt.Sprintf(chartHead, chartWidth, y+margin, title) + b.String() + "</svg>\n"
}

// draw draws a panel from y on and returns where the next may begin.
func (r results) draw(b *strings.Builder, p panel, y int) int {
	writeText(b, "title", margin, y+barHeight, p.title)
	y += titleHeight
	longest := r.longest(p.work)
	for _, c := range contenders {
		m := find(r.Measured, c.name, p.work)
		if m == nil {
			continue
		}
		drawBar(b, c, m.Median, m.Median/longest, y)
		y += barPitch
	}
	return y + barHeight
}

func (r results) longest(work string) (x float64) {
	for _, m := range r.Measured {
		if m.Work == work {
			x = max(x, m.Median)
		}
	}
	return x
}

// drawBar draws a bar of the given share of the room.
func drawBar(b *strings.Builder, c contender, value, share float64, y int) {
	class := "other"
	if c.name == user || c.name == own {
		class = "ours"
	}
	const left = margin + labelWidth
	width := max(1, int(share*barRoom))
	writeText(b, "", margin, y+barHeight-3, c.name)
	fmt.Fprintf(b, "<rect class=%q x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", class, left, y, width, barHeight)
	writeText(b, "", left+width+6, y+barHeight-3, number(value))
}

func writeText(b *strings.Builder, class string, x, y int, text string) {
	fmt.Fprintf(b, "<text class=%q x=\"%d\" y=\"%d\">%s</text>\n", class, x, y, html.EscapeString(text))
}
