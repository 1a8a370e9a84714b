package wsep_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/execertest"
)

// scores say which lines of the contract each contender keeps.
type scores struct {
	mu   sync.Mutex      // guards what follows
	kept map[string]bool // by contender and line
}

func newScores() *scores { return &scores{kept: map[string]bool{}} }

// watch records the result of a line's test.
func (s *scores) watch(t *testing.T, name string) {
	parts := strings.Split(t.Name(), "/")
	line := strings.Join(parts[len(parts)-2:], "/")
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.kept[name+line] = !t.Failed() && !t.Skipped()
	})
}

// README's table is between these lines.
const (
	tableBegin = "<!-- Written by WSEP_WRITE_README=1 go test -run '^TestExecers$' . The rows for Windows are tested by ci/windows.sh. -->\n"
	tableEnd   = "<!-- end -->\n"
)

// compareWithReadme compares README's table with the scores, or writes it.
func (s *scores) compareWithReadme(t *testing.T) {
	t.Helper()
	if missing := s.missing(); len(missing) > 0 {
		t.Skipf("README is not compared, because these were not run, or failed: %q", missing)
	}
	content, err := os.ReadFile("README.md")
	require.NoError(t, err)
	before, rest, begins := strings.Cut(string(content), tableBegin)
	table, after, ends := strings.Cut(rest, tableEnd)
	require.True(t, begins && ends, "README has no place for the table")
	if os.Getenv("WSEP_WRITE_README") != "" {
		content := before + tableBegin + s.table() + tableEnd + after
		require.NoError(t, os.WriteFile("README.md", []byte(content), 0o666))
		return
	}
	require.Equal(t, s.table(), table, "the comment above README's table says how to write it")
}

// missing returns the lines that were neither kept nor excluded, of this system's contenders.
func (s *scores) missing() (missing []string) {
	for _, c := range contenders {
		if prepares[c.name] == nil {
			continue
		}
		for _, line := range execertest.Lines() {
			if _, excluded := exclusion(c, line); !excluded && !s.kept[c.name+line] {
				missing = append(missing, c.name+" "+line)
			}
		}
	}
	return missing
}

// exclusion returns why a contender is excused from a line, if it is.
func exclusion(c contender, line string) (reason string, excluded bool) {
	group, _, _ := strings.Cut(line, "/")
	if reason, excluded = c.except[group]; excluded {
		return reason, true
	}
	reason, excluded = c.except[line]
	return reason, excluded
}

// table returns a table of contenders and groups of lines, and a list of the exclusions.
func (s *scores) table() string {
	groups, lines := grouped()
	var b strings.Builder
	fmt.Fprintf(&b, "\n| | %s |\n|---|%s\n", strings.Join(groups, " | "), strings.Repeat("---|", len(groups)))
	for _, c := range contenders {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, group := range groups {
			fmt.Fprintf(&b, " %s |", s.cell(c, lines[group]))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	b.WriteString(exceptions())
	return b.String()
}

// grouped returns the groups of lines, in their order, and the lines of each.
func grouped() (groups []string, lines map[string][]string) {
	lines = map[string][]string{}
	for _, line := range execertest.Lines() {
		group, _, _ := strings.Cut(line, "/")
		if lines[group] == nil {
			groups = append(groups, group)
		}
		lines[group] = append(lines[group], line)
	}
	return groups, lines
}

// cell says how many of the lines a contender keeps. One of another system keeps all that are not excluded: that system's tests fail
// otherwise.
func (s *scores) cell(c contender, lines []string) string {
	kept := 0
	for _, line := range lines {
		_, excluded := exclusion(c, line)
		if s.kept[c.name+line] || prepares[c.name] == nil && !excluded {
			kept++
		}
	}
	if kept == len(lines) {
		return "✓"
	}
	return fmt.Sprintf("%d/%d", kept, len(lines))
}

// exceptions lists the excluded lines with their reasons. Contenders with the same lines and reason share an item.
func exceptions() string {
	var order []string
	names := map[string][]string{}
	for _, c := range contenders {
		for _, reason := range reasons(c) {
			if names[reason] == nil {
				order = append(order, reason)
			}
			names[reason] = append(names[reason], c.name)
		}
	}
	var b strings.Builder
	for _, reason := range order {
		b.WriteString(wrap("- " + reason + ": " + strings.Join(names[reason], ", ")))
	}
	if len(order) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// wrap breaks an item of a list into lines.
func wrap(item string) string {
	const width, indent = 120, "  "
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(item) {
		switch {
		case i == 0:
		case column+len(" ")+len(word) > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String() + "\n"
}

// reasons returns a contender's reasons, each with its lines, in the contract's order.
func reasons(c contender) (texts []string) {
	var order []string
	excluded := map[string][]string{}
	for _, line := range execertest.Lines() {
		reason, ok := exclusion(c, line)
		if !ok {
			continue
		}
		if !slices.Contains(order, reason) {
			order = append(order, reason)
		}
		excluded[reason] = append(excluded[reason], line)
	}
	for _, reason := range order {
		texts = append(texts, fmt.Sprintf("%s (%s)", reason, strings.Join(excluded[reason], ", ")))
	}
	return texts
}
