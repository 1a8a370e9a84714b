package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/cli/servercmd"
)

// programVariable is the environment variable with the name of the program that the test's binary is to be.
const programVariable = "WSEP_TEST_PROGRAM"

// TestMain lets the test's binary also run as the client, as the server, and as cat.
func TestMain(m *testing.M) {
	switch os.Getenv(programVariable) {
	case "client":
		_ = os.Unsetenv(programVariable)
		main()
	case "server":
		_ = os.Unsetenv(programVariable)
		os.Exit(servercmd.Main(os.Args[1:], os.Stdout, os.Stderr))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command returns the command that runs one of the programs. It is killed with the test.
func command(t *testing.T, program string, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), programVariable+"="+program)
	return cmd
}

// TestWindowsClientAndServer runs the programs against each other.
func TestWindowsClientAndServer(t *testing.T) {
	server := command(t, "server", "--listen", "127.0.0.1:0")
	output, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() { _ = server.Wait() }()
	defer func() { _ = server.Process.Kill() }()
	address := listenAddress(t, output)

	out, err := runClient(t, "", "notty", "--url", address, "--", "cmd", "/c", "echo out& echo err>&2& exit 7")
	exit, ok := errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 7, exit.ExitCode())
	require.Equal(t, "out\r\n", out)
	require.Equal(t, "err\r\n", string(exit.Stderr))
	self, err := os.Executable()
	require.NoError(t, err)
	out, err = runClient(t, "through", "notty", "--url", address, "--env", programVariable+"=cat", "--", self)
	require.NoError(t, err)
	require.Equal(t, "through", out)
	_, err = runClient(t, "", "notty", "--url", address, "--", "wsep-no-such-program")
	exit, ok = errors.AsType[*exec.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, 127, exit.ExitCode(), "%s", exit.Stderr)
}

// listenAddress returns the address that the server prints.
func listenAddress(t *testing.T, output io.Reader) string {
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		if address, found := strings.CutPrefix(lines.Text(), "listening on "); found {
			return address
		}
	}
	require.Fail(t, "the server prints no address")
	return ""
}

func runClient(t *testing.T, stdin string, args ...string) (stdout string, err error) {
	cmd := command(t, "client", args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	return string(out), err
}
