package fleet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
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
	// RoleRegistry uses the fleet's registry, and is a member of it. Nodes and gateways have this role too.
	RoleRegistry Role = "registry"
)

// RegistryHost is the name that all certificates with RoleRegistry have. A member of the registry need not be known by name.
const RegistryHost = "registry.wsep.internal"

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

// ParseAuthority reads what [Authority.Encode] has written.
func ParseAuthority(cert, key []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	signer, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, xerrors.Errorf("the authority's key is of another kind: %w", errors.ErrUnsupported)
	}
	return &Authority{pair.Leaf, signer}, nil
}

// Encode returns the authority's certificate, and its key, in PEM. Whoever has the key can issue certificates.
func (a *Authority) Encode() (cert, key []byte, err error) {
	return EncodeCertificate(tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key})
}

// EncodeCertificate returns a certificate, and its key, in PEM.
func EncodeCertificate(c tls.Certificate) (cert, key []byte, err error) {
	secret, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	for _, der := range c.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// Pool returns what verifies the authority's certificates.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// Issue returns a certificate for a program with a name, in one or more roles. The name is a label.
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
		switch role {
		case RoleNode:
			leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		case RoleGateway:
			leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		case RoleRegistry:
			leaf.DNSNames = append(leaf.DNSNames, RegistryHost)
			leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
		}
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
