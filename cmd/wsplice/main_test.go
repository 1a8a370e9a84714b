package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"unknown flag":        {"--nonsense"},
		"argument":            {"127.0.0.1"},
		"network":             {"--network=udp"},
		"certificate, no key": {"--tls-cert=cert.pem"},
		"key, no certificate": {"--tls-key=key.pem"},
		"authority alone":     {"--tls-ca=ca.pem"},
		"allowed host":        {"--allowed-hostnames=ok.test,http://example.com"},
		"any host":            {"--allowed-hostnames=*"},
		"server's name":       {"--allowed-hosts=["},
		"origin":              {"--allowed-origins=https://["},
		"negative size":       {"--frame-size-limit=-1"},
		"no clients":          {"--max-clients=0"},
		"no channels":         {"--max-channels=0"},
		"no time to dial":     {"--dial-timeout=0"},
		"no time to write":    {"--write-timeout=-1s"},
		"no time to read":     {"--read-timeout=0s"},
		"not a time":          {"--read-timeout=5"},
		"no time to end":      {"--shutdown-timeout=0"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitUsage, run(args, &stdout, &stderr))
			require.Regexp(t, `^wsplice: .+\n$`, stderr.String())
			require.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run([]string{"--help"}, &stdout, &stderr))
	for _, flag := range []string{
		"listen", "network", "allowed-hostnames", "pprof-address", "frame-size-limit", "write-timeout", "read-timeout",
		"dial-timeout", "tls-cert", "tls-key", "tls-ca", "legacy-close-method",
	} {
		require.Contains(t, stdout.String(), " --"+flag+" ")
	}
	require.Contains(t, stdout.String(), `"127.0.0.1:3000"`)
	require.Empty(t, stderr.String())
}

func TestFailedStart(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for name, args := range map[string][]string{
		"address":             {"--listen=256.0.0.1:3000"},
		"profiles' address":   {"--listen=127.0.0.1:0", "--pprof-address=256.0.0.1:6060"},
		"missing certificate": {"--listen=127.0.0.1:0", "--tls-cert=/nonexistent", "--tls-key=/nonexistent"},
		"empty certificate":   {"--listen=127.0.0.1:0", "--tls-cert=" + empty, "--tls-key=" + empty},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			require.Equal(t, exitFailed, run(args, &stdout, &stderr))
			require.Contains(t, stderr.String(), "wsplice: ")
			require.Empty(t, stdout.String())
		})
	}
}

func TestProfileAddress(t *testing.T) {
	for address, want := range map[string]string{
		":6060": "127.0.0.1:6060", "127.0.0.1:6060": "127.0.0.1:6060", "0.0.0.0:6060": "0.0.0.0:6060", "[::]:1": "[::]:1",
	} {
		require.Equal(t, want, profileAddress(address))
	}
}
