// Package certificate loads a server's certificate from files, again when they change.
package certificate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"sync"
	"time"

	"cdr.dev/slog"
	"golang.org/x/xerrors"
)

// Certificate is the server's certificate, with the authorities of client certificates if clients need one. It is
// loaded again when its files change. It is safe for concurrent use.
type Certificate struct {
	files  Files
	logger slog.Logger

	mu      sync.Mutex // guards what follows
	looked  time.Time  // when the files were last looked at
	version version    // the version of the loaded files
	failed  version    // the version of the last files that could not be loaded, which is logged once
	config  *tls.Config
}

// Files are paths.
type Files struct {
	Cert, Key string
	CA        string // empty means that clients need no certificate
}

// New loads the files.
func New(files Files, logger slog.Logger) (*Certificate, error) {
	c := &Certificate{files: files, logger: logger, looked: time.Now(), version: files.version()}
	var err error
	c.config, err = files.load()
	return c, err
}

// ServerConfig returns the configuration of a server.
func (c *Certificate) ServerConfig() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.current(), nil },
	}
}

// lookInterval is how often the files are looked at, at most.
const lookInterval = time.Second

// current returns the configuration for a handshake.
func (c *Certificate) current() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookInterval {
		c.looked = now
		c.refresh()
	}
	return c.config
}

// refresh loads changed files. If they can't be used, it keeps the loaded ones and tries again later: perhaps some
// files have not been replaced yet, or may not be read yet. c.mu is held.
func (c *Certificate) refresh() {
	version := c.files.version()
	if version == c.version {
		return
	}
	config, err := c.files.load()
	if err != nil {
		if version != c.failed {
			c.logger.Error(context.Background(), "keep the certificate, the changed one can't be used", slog.Error(err))
		}
		c.failed = version
		return
	}
	c.config, c.version = config, version
	c.logger.Info(context.Background(), "loaded the changed certificate")
}

func (f Files) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, xerrors.Errorf("load certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if f.CA == "" {
		return config, nil
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.ClientCAs, err = loadAuthorities(f.CA)
	return config, err
}

func loadAuthorities(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, xerrors.Errorf("load certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, xerrors.Errorf("load certificate authority: no certificate in %s", path)
	}
	return pool, nil
}

// version changes when files change.
type version struct{ cert, key, ca fileVersion }

type fileVersion struct {
	changed time.Time
	size    int64
}

func (f Files) version() version {
	return version{versionOf(f.Cert), versionOf(f.Key), versionOf(f.CA)}
}

// versionOf returns the zero value for a file that does not exist.
func versionOf(path string) fileVersion {
	info, err := os.Stat(path)
	if err != nil {
		return fileVersion{}
	}
	return fileVersion{info.ModTime(), info.Size()}
}
