package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/wsplice"
)

// tagged is an Execer that tells its commands the name of its host.
type tagged struct{ host string }

func (t tagged) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	c.Env = append(c.Env, "FLEET_HOST="+t.host)
	return wsep.LocalExecer{}.Start(ctx, c)
}

func serveHost(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(&wsep.Handler{Execer: tagged{name}})
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http", "ws", 1)
}

func serveSplice(t *testing.T, allowed string) string {
	t.Helper()
	list, err := wsplice.ParseAllowlist(allowed)
	require.NoError(t, err)
	s := httptest.NewServer(&wsplice.Server{Allowed: list})
	t.Cleanup(s.Close)
	return s.URL
}

func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u.Host
}

func TestFleet(t *testing.T) {
	a, b, splice := serveHost(t, "a"), serveHost(t, "b"), serveSplice(t, "127.0.0.1")
	var out, errs bytes.Buffer
	args := []string{"--splice", splice, "--host", a, "--host", b, "--",
		"sh", "-c", `echo here is $FLEET_HOST; echo no end >&2; [ $FLEET_HOST = a ] || exit 3`}

	require.Equal(t, exitFailed, run(args, &out, &errs), "%s", &errs)

	require.ElementsMatch(t,
		[]string{hostOf(t, a) + ": here is a", hostOf(t, b) + ": here is b"},
		strings.Split(strings.TrimSpace(out.String()), "\n"))
	require.Equal(t, 2, strings.Count(errs.String(), ": no end\n"))
	require.Contains(t, errs.String(), hostOf(t, b)+": exit status 3")
	require.NotContains(t, errs.String(), hostOf(t, a)+": exit")
}

func TestFleetRefused(t *testing.T) {
	a, splice := serveHost(t, "a"), serveSplice(t, "example.com")
	var out, errs bytes.Buffer
	require.Equal(t, exitFailed, run([]string{"--splice", splice, "--host", a, "true"}, &out, &errs))
	require.Contains(t, errs.String(), hostOf(t, a))
	require.Equal(t, exitUsage, run([]string{"true"}, &out, &errs))
}

func TestAddressesWithoutScheme(t *testing.T) {
	a, splice := serveHost(t, "a"), strings.TrimPrefix(serveSplice(t, "127.0.0.1"), "http://")
	var out, errs bytes.Buffer
	require.Zero(t, run([]string{"--splice", splice, "--host", hostOf(t, a), "true"}, &out, &errs), "%s", &errs)
	require.Equal(t, exitFailed, run([]string{"--splice", "127.0.0.1:1", "--host", hostOf(t, a), "true"}, &out, &errs))
	require.Equal(t, "fleet: connect to wsplice: nothing listens at 127.0.0.1:1\n", errs.String())
	require.Equal(t, exitUsage, run([]string{"--host", "ftp://127.0.0.1", "true"}, &out, &errs))
}
