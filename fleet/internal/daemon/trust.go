package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
)

// trust is the directory with a fleet's secrets:
//
//	ca.pem, ca-key.pem        the fleet's authority; the key may be missing where certificates are
//	keys                      the ring that signs IDs
//	NAME.cert.pem, NAME.key.pem certificates that were issued in advance
type trust struct{ dir string }

const (
	authorityFile    = "ca.pem"
	authorityKeyFile = "ca-key.pem"
	ringFile         = "keys"
)

func (t trust) file(name string) string { return filepath.Join(t.dir, name) }

// openTrust returns the directory. It makes it, with a new authority and a new ring, if it is missing.
func openTrust(dir string) (t trust, created bool, err error) {
	t = trust{dir}
	if t.exists() {
		return t, false, t.check()
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return t, false, err
	}
	draft, err := os.MkdirTemp(filepath.Dir(dir), "trust-")
	if err != nil {
		return t, false, err
	}
	defer os.RemoveAll(draft)
	if err := (trust{draft}).fill(); err != nil {
		return t, false, err
	}
	// Several programs may start at the same time. Only an empty directory can be replaced, so the first one wins.
	if err := os.Rename(draft, dir); err != nil && !t.exists() {
		return t, false, xerrors.Errorf("make the trust directory: %w", err)
	} else if err == nil {
		return t, true, nil
	}
	return t, false, t.check()
}

func (t trust) exists() bool {
	_, err := os.Stat(t.file(authorityFile))
	return err == nil
}

// fill writes a new authority and a new ring.
func (t trust) fill() error {
	authority, err := fleet.NewAuthority()
	if err != nil {
		return err
	}
	cert, key, err := authority.Encode()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(t.file(authorityFile), cert, 0o600),
		os.WriteFile(t.file(authorityKeyFile), key, 0o600),
		t.writeRing(fleet.NewKeyRing()),
	)
}

// check returns an error if others can read the secrets.
func (t trust) check() error {
	for _, name := range []string{authorityKeyFile, ringFile} {
		info, err := os.Stat(t.file(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode().Perm()&0o007 != 0:
			return xerrors.Errorf("%s can be read by everybody: chmod 600 it", t.file(name))
		}
	}
	return nil
}

// ring reads the ring.
func (t trust) ring() (*fleet.KeyRing, error) {
	text, err := os.ReadFile(t.file(ringFile))
	if err != nil {
		return nil, xerrors.Errorf("the fleet's keys: %w", err)
	}
	ring, err := fleet.ParseKeyRing(text)
	if err != nil {
		return nil, xerrors.Errorf("%s: %w", t.file(ringFile), err)
	}
	return ring, nil
}

// writeRing replaces the ring. Nobody reads half of it.
func (t trust) writeRing(ring *fleet.KeyRing) error {
	return writeFile(t.file(ringFile), ring.Encode())
}

// writeFile replaces a file that only this user may read.
func writeFile(path string, content []byte) error {
	draft, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-") // Its mode is 0600.
	if err != nil {
		return err
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(content)
	if err := errors.Join(err, draft.Close()); err != nil {
		return err
	}
	return os.Rename(draft.Name(), path)
}

// pool returns what verifies the fleet's certificates.
func (t trust) pool() (*x509.CertPool, error) {
	text, err := os.ReadFile(t.file(authorityFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, xerrors.Errorf("%s has no certificate", t.file(authorityFile))
	}
	return pool, nil
}

// authority returns the fleet's authority. The error matches fs.ErrNotExist if its key is not here.
func (t trust) authority() (*fleet.Authority, error) {
	cert, err := os.ReadFile(t.file(authorityFile))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(t.file(authorityKeyFile))
	if err != nil {
		return nil, err
	}
	return fleet.ParseAuthority(cert, key)
}

// certificate returns a certificate for a name: the one that was issued in advance, or a new one.
func (t trust) certificate(name string, roles []fleet.Role) (tls.Certificate, error) {
	issued, err := tls.LoadX509KeyPair(t.file(name+".cert.pem"), t.file(name+".key.pem"))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return issued, err
	}
	authority, err := t.authority()
	if errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, xerrors.Errorf("%s has no certificate for %s, and not the authority's key: run \"wsepd issue %s\" where %s is, "+
			"and copy %s.cert.pem and %s.key.pem", t.dir, name, name, authorityKeyFile, name, name)
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	return authority.Issue(name, roles...)
}

// identity is this program's certificate. It can be replaced.
type identity struct {
	current atomic.Pointer[tls.Certificate]
	pool    *x509.CertPool
}

// nodeTLS is the configuration of the node's listener.
func (i *identity) nodeTLS() *tls.Config {
	config := fleet.NodeTLS(tls.Certificate{}, i.pool)
	config.Certificates = nil
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.current.Load(), nil }
	return config
}

// clientTLS is the configuration of connections to nodes.
func (i *identity) clientTLS() *tls.Config {
	config := fleet.GatewayTLS(tls.Certificate{}, i.pool)
	config.Certificates = nil
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.current.Load(), nil }
	return config
}

// registryTLS is the configuration of connections to the registry.
func (i *identity) registryTLS() *tls.Config {
	config := i.clientTLS()
	config.ServerName = fleet.RegistryHost
	return config
}
