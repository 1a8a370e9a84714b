//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/certtest"
	"cdr.dev/wsep/internal/cli/certificate"
	"cdr.dev/wsep/internal/streamtest"
)

func TestTLS(t *testing.T) {
	a := newAuthority(t)
	p := startProcess(t, append(newFiles(t, a, 7).flags(), "--allowed-hostnames=127.0.0.1")...)
	require.Regexp(t, `^wss://127\.0\.0\.1:\d+$`, p.url)
	conn, err := dialTLS(p, a.clientConfig(nil))
	require.NoError(t, err)
	newClient(t, conn).opened(startBackend(t))
	_, err = dialTLS(p, nil)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)
}

func TestClientCertificate(t *testing.T) {
	a, foreign := newAuthority(t), newAuthority(t)
	f := newFiles(t, a, 7)
	p := startProcess(t, append(f.flags(), "--tls-ca="+f.path("ca"), "--allowed-hostnames=127.0.0.1")...)
	for _, of := range []*authority{nil, &foreign} {
		_, err := dialTLS(p, a.clientConfig(of))
		var refused *net.OpError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "remote error", refused.Op)
	}
	conn, err := dialTLS(p, a.clientConfig(&a))
	require.NoError(t, err)
	newClient(t, conn).opened(startBackend(t))
}

func TestAuthorityIsReloaded(t *testing.T) {
	a, next := newAuthority(t), newAuthority(t)
	f := newFiles(t, a, 7)
	p := startProcess(t, append(f.flags(), "--tls-ca="+f.path("ca"))...)
	lets := func(of *authority) bool {
		conn, err := dialTLS(p, a.clientConfig(of))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}
	require.True(t, lets(&a))
	require.False(t, lets(&next))
	f.replace("ca", next.PEM())
	require.Eventually(t, func() bool { return lets(&next) }, testTimeout, 50*time.Millisecond)
	require.False(t, lets(&a))
}

func TestCertificateIsReloaded(t *testing.T) {
	a := newAuthority(t)
	f := newFiles(t, a, 7)
	p := startProcess(t, f.flags()...)
	config := a.clientConfig(nil)
	before, err := dialTLS(p, config)
	require.NoError(t, err)
	defer before.Close()
	require.EqualValues(t, 7, serial(t, p, config))

	f.renew(a, 8)
	require.Eventually(t, func() bool { return serial(t, p, config) == 8 }, testTimeout, 50*time.Millisecond)
	require.NoError(t, before.WriteMessage(websocket.PingMessage, nil), "connections are kept")

	// The last good one is kept, and another good one is taken.
	f.replace("cert", []byte("nonsense"))
	require.Eventually(t, func() bool {
		require.EqualValues(t, 8, serial(t, p, config))
		return strings.Contains(p.log.String(), "keep the certificate")
	}, testTimeout, 50*time.Millisecond)
	f.renew(a, 9)
	require.Eventually(t, func() bool { return serial(t, p, config) == 9 }, testTimeout, 50*time.Millisecond)
}

// TestCertificateIsTriedAgain has a changed certificate that can't be used at first. Then it can, though the times and
// sizes of its files are the same, as after a change of permissions.
func TestCertificateIsTriedAgain(t *testing.T) {
	synctest.Test(t, testTriedAgain)
}

func testTriedAgain(t *testing.T) {
	a := newAuthority(t)
	f := newFiles(t, a, 7)
	written := new(streamtest.Buffer)
	c, err := certificate.New(certificate.Files{Cert: f.path("cert"), Key: f.path("key")}, slog.Make(sloghuman.Sink(written)))
	require.NoError(t, err)
	// look checks the files as after the interval, and returns the serial number.
	look := func() int64 {
		time.Sleep(time.Second)
		config, err := c.ServerConfig().GetConfigForClient(nil)
		require.NoError(t, err)
		return config.Certificates[0].Leaf.SerialNumber.Int64()
	}
	same := time.Now().Add(-time.Minute)
	replaceKey := func(key []byte) {
		f.replace("key", key)
		require.NoError(t, os.Chtimes(f.path("key"), same, same))
	}

	cert, key := a.issue(8)
	_, foreign := a.issue(9)
	f.replace("cert", cert)
	replaceKey(foreign)
	for range 3 {
		require.EqualValues(t, 7, look())
	}
	require.Equal(t, 1, strings.Count(written.String(), "keep the certificate"))
	replaceKey(key)
	require.EqualValues(t, 8, look())
}

// authority issues certificates.
type authority struct {
	certtest.Authority
	t *testing.T
}

func newAuthority(t *testing.T) authority {
	a, err := certtest.New()
	require.NoError(t, err)
	return authority{a, t}
}

// issue returns a certificate for 127.0.0.1 and its key, as PEM.
func (a authority) issue(serial int64) (cert, key []byte) {
	cert, key, err := a.Issue(serial)
	require.NoError(a.t, err)
	return cert, key
}

// pool returns a pool with the authority.
func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// clientConfig returns the TLS configuration of a client that trusts the authority. It has a certificate of the
// authority of, if that is not nil.
func (a authority) clientConfig(of *authority) *tls.Config {
	config := &tls.Config{RootCAs: a.pool()}
	if of == nil {
		return config
	}
	pair, err := tls.X509KeyPair(of.issue(99))
	require.NoError(a.t, err)
	// The client sends its certificate whatever authorities the server names.
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return config
}

// files is a directory with a certificate, its key and its authority.
type files struct {
	t   *testing.T
	dir string
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) flags() []string {
	return []string{"--tls-cert=" + f.path("cert"), "--tls-key=" + f.path("key")}
}

// replace replaces a file with one rename, as programs that renew certificates do.
func (f files) replace(name string, content []byte) {
	next := f.path(name + ".next")
	require.NoError(f.t, os.WriteFile(next, content, 0o600))
	require.NoError(f.t, os.Rename(next, f.path(name)))
}

func newFiles(t *testing.T, a authority, serial int64) files {
	f := files{t, t.TempDir()}
	f.renew(a, serial)
	f.replace("ca", a.PEM())
	return f
}

func (f files) renew(a authority, serial int64) {
	cert, key := a.issue(serial)
	f.replace("cert", cert)
	f.replace("key", key)
}

func dialTLS(p *process, config *tls.Config) (*websocket.Conn, error) {
	dialer := websocket.Dialer{TLSClientConfig: config}
	conn, _, err := dialer.Dial(p.url, nil)
	return conn, err
}

// serial returns the serial number of the process's certificate.
func serial(t *testing.T, p *process, config *tls.Config) int64 {
	conn, err := dialTLS(p, config)
	require.NoError(t, err)
	defer conn.Close()
	return conn.UnderlyingConn().(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}
