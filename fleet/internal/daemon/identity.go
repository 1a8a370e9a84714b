package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
)

func (d *daemon) tlsFile(name string) string { return filepath.Join(d.dir, "tls", name) }

// openIdentity gets this program's certificate. Files of it are for the engine, which reads them again for each connection.
func (d *daemon) openIdentity() error {
	pool, err := d.trust.pool()
	if err != nil {
		return err
	}
	d.identity = &identity{pool: pool}
	return d.renewIdentity()
}

func (d *daemon) renewIdentity() error {
	cert, err := d.trust.certificate(d.name, rolesOf(d.config.node, d.config.gateway))
	if err != nil {
		return err
	}
	certText, keyText, err := fleet.EncodeCertificate(cert)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.tlsFile(""), 0o700); err != nil {
		return err
	}
	if err := errors.Join(writeFile(d.tlsFile("cert.pem"), certText), writeFile(d.tlsFile("key.pem"), keyText)); err != nil {
		return err
	}
	d.identity.current.Store(&cert)
	return nil
}

const (
	// ringPause is how often the ring is looked at.
	ringPause = 2 * time.Second
	// renewPause is how often the certificate is renewed. It is valid for much longer.
	renewPause = 24 * time.Hour
)

// followRing reads the ring again when its file has changed, and renews the certificate now and then.
func (d *daemon) followRing(ctx context.Context) error {
	read := fileState(d.trust.file(ringFile))
	look, renew := time.NewTicker(ringPause), time.NewTicker(renewPause)
	defer look.Stop()
	defer renew.Stop()
	for {
		select {
		case <-look.C:
			now := fileState(d.trust.file(ringFile))
			if now == read {
				continue
			}
			read = now
			ring, err := d.trust.ring()
			if err != nil {
				d.say("the changed keys can't be used, so the old ones stay: %v", err)
				continue
			}
			d.keys.Set(ring)
			d.say("keys: %s", ring)
		case <-renew.C:
			if d.identity == nil {
				continue
			}
			if err := d.renewIdentity(); err != nil {
				d.say("the certificate can't be renewed, so the old one stays: %v", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// state changes when a file does.
type state struct {
	changed time.Time
	size    int64
}

func fileState(path string) state {
	info, err := os.Stat(path)
	if err != nil {
		return state{}
	}
	return state{info.ModTime(), info.Size()}
}

// checkTimeout bounds how long a peer's certificate is waited for. It need not run yet.
const checkTimeout = time.Second

// checkPeers returns an error if a peer is of another fleet.
func (d *daemon) checkPeers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := make([]error, len(d.peers))
	var checking sync.WaitGroup
	for i, p := range d.peers {
		if p.name != d.name {
			checking.Go(func() { found[i] = d.checkPeer(ctx, p) })
		}
	}
	checking.Wait()
	return errors.Join(found...)
}

func (d *daemon) checkPeer(ctx context.Context, p peer) error {
	conn, err := (&tls.Dialer{Config: d.identity.registryTLS()}).DialContext(ctx, "tcp", p.at(0))
	if err == nil {
		return conn.Close()
	}
	if _, foreign := errors.AsType[x509.UnknownAuthorityError](err); foreign {
		return xerrors.Errorf("%s at %s is of another fleet, or %s is: copy the trust directory of that machine: %w", p.name, p.at(0), d.trust.dir, err)
	}
	return nil // It does not run yet, or is busy.
}
