package wsep

import (
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/windows"
)

// TestWindowsMissingIsNoProgram: if the system misses something else than the program, the error does not say that the program is
// missing, or no program.
func TestWindowsMissingIsNoProgram(t *testing.T) {
	program := helperCommand(t).Command
	reason := startReason(&os.PathError{Op: startOp, Path: program, Err: windows.ERROR_PATH_NOT_FOUND})
	require.ErrorIs(t, reason, fs.ErrNotExist)
	require.NotErrorIs(t, reason, exec.ErrNotFound)
	require.NotErrorIs(t, reason, fs.ErrPermission)
}
