package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io/fs"
	"math/big"
	"slices"
	"time"

	"golang.org/x/xerrors"
)

// Role is what a certificate of the fleet allows.
type Role string

const (
	// RoleNode serves gateways, as the node whose name the certificate bears.
	RoleNode Role = "node"
	// RoleGateway names owners to nodes. A node believes it.
	RoleGateway Role = "gateway"
)

// hostOf returns the name that a certificate has for a role. The domain internal is for private use.
func hostOf(name string, role Role) string { return name + "." + string(role) + ".wsep.internal" }

// Authority issues the fleet's certificates. A fleet has one of its own, which issues nothing else.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const (
	authorityLife   = 10 * 365 * 24 * time.Hour
	certificateLife = 365 * 24 * time.Hour
	// clockSkew is how far the clocks of the fleet's machines may differ.
	clockSkew = time.Hour
)

// NewAuthority makes an authority.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	own := template("wsep fleet", authorityLife)
	own.IsCA, own.BasicConstraintsValid, own.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key}, err
}

func template(name string, life time.Duration) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // It never fails.
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-clockSkew),
		NotAfter:     time.Now().Add(life),
	}
}

// Pool returns what verifies the authority's certificates.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue returns a certificate for a program with a name, in one or both roles. The name is a label.
func (a *Authority) Issue(name string, roles ...Role) (tls.Certificate, error) {
	if !isLabel(name) || len(roles) == 0 {
		return tls.Certificate{}, xerrors.Errorf("a certificate has a name of lower-case letters, digits and hyphens, and a role: %w", fs.ErrInvalid)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf := template(name, certificateLife)
	for _, role := range roles {
		leaf.DNSNames = append(leaf.DNSNames, hostOf(name, role))
		usage := x509.ExtKeyUsageServerAuth
		if role == RoleGateway {
			usage = x509.ExtKeyUsageClientAuth
		}
		leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, usage)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// NodeTLS returns the configuration of a node's listener. Only gateways with a certificate of the pool's authority connect.
func NodeTLS(cert tls.Certificate, pool *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates:     []tls.Certificate{cert},
		MinVersion:       tls.VersionTLS13,
		ClientAuth:       tls.RequireAndVerifyClientCert,
		ClientCAs:        pool,
		VerifyConnection: verifyGateway,
	}
}

var errNoGateway = xerrors.Errorf("certificate is not a gateway's: %w", fs.ErrPermission)

// verifyGateway returns an error unless the peer has a certificate of a gateway. Its chain has been verified.
func verifyGateway(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errNoGateway
	}
	leaf := state.PeerCertificates[0]
	if !slices.Contains(leaf.DNSNames, hostOf(leaf.Subject.CommonName, RoleGateway)) {
		return errNoGateway
	}
	return nil
}

// GatewayTLS returns the configuration of a gateway's connections to nodes. [Execer] completes it with the node's name, which the
// node's certificate must bear.
func GatewayTLS(cert tls.Certificate, pool *x509.CertPool) *tls.Config {
	return &tls.Config{
		Certificates:       []tls.Certificate{cert},
		MinVersion:         tls.VersionTLS13,
		RootCAs:            pool,
		ClientSessionCache: tls.NewLRUClientSessionCache(0),
	}
}
