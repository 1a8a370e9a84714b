package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/cli/tool"
)

// TestImage checks what the Dockerfile's image runs, and as whom. It does not build the image.
func TestImage(t *testing.T) {
	text := read(t, "../../Dockerfile")
	require.Regexp(t, `(?m)^RUN CGO_ENABLED=0 go build .* -o /wsep \./cmd/wsep$`, text)
	require.Regexp(t, `(?m)^USER [1-9]\d*:[1-9]\d*$`, text)
	var args []string
	require.NoError(t, json.Unmarshal([]byte(find(t, text, `(?m)^CMD (.*)$`)), &args))
	requireFlags(t, args)
}

// requireFlags checks that the program knows the flags. It does not run the command.
func requireFlags(t *testing.T, args []string) {
	var complaints strings.Builder
	require.Zero(t, tool.Main(append(args, "--help"), io.Discard, &complaints), complaints.String())
}

// TestUnit has systemd check the unit, with a program that is there.
func TestUnit(t *testing.T) {
	requireFlags(t, strings.Fields(find(t, read(t, "systemd/wsep.service"), `(?m)^ExecStart=/usr/local/bin/wsep (.*)$`)))
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	there, err := exec.LookPath("true")
	require.NoError(t, err)
	unit := filepath.Join(t.TempDir(), "wsep.service")
	text := strings.Replace(read(t, "systemd/wsep.service"), "/usr/local/bin/wsep", there, 1)
	require.NoError(t, os.WriteFile(unit, []byte(text), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", unit).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "wsep.service", "no warning")
}

// TestRelease checks that what the configuration of goreleaser names is there.
func TestRelease(t *testing.T) {
	text := read(t, "../../.goreleaser.yaml")
	named := strings.Split(find(t, text, `(?m)^ +files: \[(.*)\]$`), ", ")
	named = append(named, find(t, text, `(?m)^ +main: \./(.*)$`), strings.Fields(find(t, text, `(?m)^ +- (ci/.*)$`))[0])
	for _, name := range named {
		require.FileExistsf(t, filepath.Join("../..", asFile(name)), "%s", name)
	}
	require.Contains(t, text, "-tags=wseppage", "a release has the page")
}

// asFile returns a file of a package, or the file itself.
func asFile(name string) string {
	if strings.HasPrefix(name, "cmd/") && filepath.Ext(name) == "" {
		return filepath.Join(name, "main.go")
	}
	return name
}

func read(t *testing.T, name string) string {
	content, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(content)
}

// find returns the first group of the only match.
func find(t *testing.T, text, pattern string) string {
	matches := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	require.Len(t, matches, 1, "%s", pattern)
	return matches[0][1]
}
