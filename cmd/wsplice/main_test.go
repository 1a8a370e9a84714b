package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/wsplice"
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
		"unknown unit":        {"--frame-size-limit=5MBs"},
		"half a unit":         {"--frame-size-limit=5i"},
		"no number":           {"--frame-size-limit=MB"},
		"endless size":        {"--frame-size-limit=inf"},
		"no size":             {"--frame-size-limit="},
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
		"dial-timeout", "tls-cert", "tls-key", "tls-ca", "legacy-close-method", "version",
	} {
		require.Contains(t, stdout.String(), " --"+flag+" ")
	}
	require.Contains(t, stdout.String(), `"127.0.0.1:3000"`)
	require.Empty(t, stderr.String())
}

// TestFlags checks that each flag sets its field.
func TestFlags(t *testing.T) {
	c, err := parse([]string{
		"--network=unix", "--listen=/socket", "--pprof-address=:1", "--allowed-hostnames=a.test",
		"--allowed-hosts=b.test,c.test", "--allowed-origins=https://d.test,https://e.test",
		"--tls-cert=cert", "--tls-key=key", "--tls-ca=ca", "--legacy-close-method",
		"--frame-size-limit=2", "--max-clients=3", "--max-channels=4",
		"--dial-timeout=5s", "--write-timeout=6s", "--read-timeout=7s", "--shutdown-timeout=8s",
	}, io.Discard)
	require.NoError(t, err)
	allowed, err := wsplice.ParseAllowlist("a.test")
	require.NoError(t, err)
	require.Equal(t, config{
		network: "unix", listen: "/socket", pprofAddress: ":1",
		tls:             certificate.Files{Cert: "cert", Key: "key", CA: "ca"},
		shutdownTimeout: 8 * time.Second,
		server: &wsplice.Server{
			Allowed:           allowed,
			AllowedHosts:      []string{"b.test", "c.test"},
			AllowedOrigins:    []string{"https://d.test", "https://e.test"},
			MaxMessage:        2,
			MaxClients:        3,
			MaxChannels:       4,
			DialTimeout:       5 * time.Second,
			WriteTimeout:      6 * time.Second,
			ReadTimeout:       7 * time.Second,
			LegacyCloseMethod: true,
		},
	}, c)
}

// TestSizes has the spellings of version 0.1.0, and plain numbers.
func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"5MB": 5 << 20, "5MiB": 5 << 20, "512KB": 512 << 10, "1.5KB": 1536, "7B": 7, "1GB": 1 << 30, "100": 100,
	} {
		c, err := parse([]string{"--frame-size-limit=" + text}, io.Discard)
		require.NoError(t, err, text)
		require.Equal(t, want, c.server.MaxMessage, text)
	}
	byDefault, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.EqualValues(t, 5<<20, byDefault.server.MaxMessage)
}

func TestVersion(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run([]string{"--version"}, &stdout, &stderr))
	require.Regexp(t, `^wsplice \S+\n$`, stdout.String())
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

func TestHostsAt(t *testing.T) {
	for ip, want := range map[string][]string{
		"127.0.0.1": nil, "127.1.2.3": nil, "::1": nil, "0.0.0.0": {"*"}, "::": {"*"}, "192.0.2.1": {"*"},
	} {
		require.Equal(t, want, hostsAt(&net.TCPAddr{IP: net.ParseIP(ip)}), ip)
	}
	require.Equal(t, []string{"*"}, hostsAt(&net.UnixAddr{Name: "/socket"}))
}

func TestProfileAddress(t *testing.T) {
	for address, want := range map[string]string{
		":6060": "127.0.0.1:6060", "127.0.0.1:6060": "127.0.0.1:6060", "0.0.0.0:6060": "0.0.0.0:6060", "[::]:1": "[::]:1",
	} {
		require.Equal(t, want, profileAddress(address))
	}
}
