package keeper_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/keeper"
)

// TestWindowsHasNoKeeper: a start says so.
func TestWindowsHasNoKeeper(t *testing.T) {
	_, err := keeper.Execer{Dir: "unused"}.Start(t.Context(), wsep.Command{Command: "cmd"})
	var start *wsep.StartError
	require.ErrorAs(t, err, &start)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorContains(t, err, "no keeper on windows")
	_, err = keeper.Execer{Dir: "unused"}.ProcessCount(t.Context())
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
