package servercmd

import (
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/keeper"
)

// TestOptions covers the flags whose effects take too long to wait for. The scripts of dev/client cover the rest.
func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		name string
		args []string
		want wsep.Options
	}{
		{"defaults", nil, wsep.Options{
			KeepAlive: 15 * time.Second, SessionTimeout: 5 * time.Minute, ResumeTimeout: time.Minute,
			Sessions: wsep.SessionsNative,
		}},
		{"all", []string{
			"--keep-alive=1m", "--session-timeout=1h", "--max-processes=7", "--resume-timeout=5m", "--sessions=screen",
		}, wsep.Options{
			KeepAlive: time.Minute, SessionTimeout: time.Hour, MaxProcesses: 7, ResumeTimeout: 5 * time.Minute,
			Sessions: wsep.SessionsScreen,
		}},
		{"screen or not", []string{"--sessions=auto"}, wsep.Options{
			KeepAlive: 15 * time.Second, SessionTimeout: 5 * time.Minute, ResumeTimeout: time.Minute,
		}},
		{"no pings", []string{"--keep-alive=0"}, wsep.Options{
			KeepAlive: -1, SessionTimeout: 5 * time.Minute, ResumeTimeout: time.Minute, Sessions: wsep.SessionsNative,
		}},
		{"no resuming", []string{"--resume-timeout=0"}, wsep.Options{
			KeepAlive: 15 * time.Second, SessionTimeout: 5 * time.Minute, ResumeTimeout: -1, Sessions: wsep.SessionsNative,
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := parse(tc.args, io.Discard)
			require.NoError(t, err)
			require.Equal(t, tc.want, c.options)
		})
	}
}

func TestDefaultAddress(t *testing.T) {
	c, err := parse(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8080", c.listen.String())
}

// TestForwards: a server with a keeper forwards its clients' conversations, though it can be told to start nothing more.
func TestForwards(t *testing.T) {
	execer := &drainable{Execer: keeper.Execer{Dir: t.TempDir()}}
	require.Implements(t, (*wsep.Forwarder)(nil), execer)
	peers, err := (&drainable{Execer: wsep.LocalExecer{}}).Peers(t.Context())
	require.NoError(t, err)
	require.Empty(t, peers)
}
