package execertest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

func TestLines(t *testing.T) {
	names := Lines()
	require.Contains(t, names, "Close/Trap")
	slices.Sort(names)
	require.Len(t, slices.Compact(names), len(Lines()), "a name is given twice")
}

// TestExclusionsAreChecked has exclusions of unknown lines, and reasons that are not one word. They are refused.
func TestExclusionsAreChecked(t *testing.T) {
	require.NoError(t, Exclusions(nil).check())
	require.NoError(t, Exclusions{"Signal": "protocol", "Close/Trap": "protocol"}.check())
	for _, bad := range []Exclusions{
		{"Signals": "protocol"},
		{"Close/Nonsense": "protocol"},
		{"Trap": "protocol"},
		{"": "protocol"},
		{"Close/Trap": ""},
		{"Close/Trap": " "},
		{"Close/Trap": "the protocol"},
	} {
		require.Error(t, bad.check(), "%v", bad)
	}
}

// TestExcludedIsSkipped checks that excluded lines and groups do not run, and that the others do.
func TestExcludedIsSkipped(t *testing.T) {
	except := Exclusions{}
	for _, g := range contract {
		except[g.name] = "test"
	}
	delete(except, "Exit")
	for _, l := range exitLines {
		except["Exit/"+l.name] = "test"
	}
	delete(except, "Exit/Code5")
	calls := 0
	Test(t, func(*testing.T) wsep.Execer {
		calls++
		return wsep.LocalExecer{}
	}, except)
	require.Equal(t, 1, calls, "lines that ran")
}
