// Package sshhost connects to an SSH host, as a user of ssh would: with keys of an agent or from a file, and with the
// host's key checked.
package sshhost

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/sshexec"
)

// Host is an SSH host, and how to log in there.
type Host struct {
	user    string
	address string // with the port
	hostKey hostKeys
	keys    []ssh.Signer // empty if they are the agent's
	agent   string       // the agent's socket
}

// connectTimeout bounds connecting and logging in.
const connectTimeout = 30 * time.Second

// New returns the host that the target names: [user@]host[:port]. The identity is a file with a private key; empty
// means the keys of the agent at SSH_AUTH_SOCK. knownHosts is a file as ssh keeps it; empty means ~/.ssh/known_hosts.
func New(target, identity, knownHosts string) (*Host, error) {
	h := &Host{agent: os.Getenv("SSH_AUTH_SOCK")}
	err := h.parse(target)
	if err != nil {
		return nil, err
	}
	if h.hostKey, err = readKnownHosts(knownHosts); err != nil {
		return nil, err
	}
	switch {
	case identity != "":
		h.keys, err = readIdentity(identity)
	case h.agent == "":
		err = xerrors.New("no key to log in with: start an agent, of which SSH_AUTH_SOCK tells, or name a file")
	}
	return h, err
}

// parse finds out the user and the address.
func (h *Host) parse(target string) error {
	at := strings.LastIndexByte(target, '@')
	h.user = target[:max(at, 0)]
	if at < 0 {
		current, err := user.Current()
		if err != nil {
			return xerrors.Errorf("look up your name, to log in with: %w", err)
		}
		h.user = current.Username
	}
	host, port, err := net.SplitHostPort(target[at+1:])
	if err != nil {
		host, port = strings.Trim(target[at+1:], "[]"), "22"
	}
	if h.user == "" || host == "" || port == "" {
		return xerrors.Errorf("%q is not user@host or user@host:port", target)
	}
	h.address = net.JoinHostPort(host, port)
	return nil
}

func readIdentity(path string) ([]ssh.Signer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, xerrors.Errorf("read key: %w", err)
	}
	key, err := ssh.ParsePrivateKey(content)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		return nil, xerrors.Errorf("key in %s has a passphrase: add it to an agent with ssh-add", path)
	}
	if err != nil {
		return nil, xerrors.Errorf("key in %s: %w", path, err)
	}
	return []ssh.Signer{key}, nil
}

// Dial connects to the host.
func (h *Host) Dial(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", h.address)
	if err != nil {
		return nil, err
	}
	client, err := h.logIn(ctx, conn)
	if err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return client, nil
}

// logIn logs in over a connection.
func (h *Host) logIn(ctx context.Context, conn net.Conn) (*ssh.Client, error) {
	keys := h.keys
	if keys == nil {
		asked, err := new(net.Dialer).DialContext(ctx, "unix", h.agent)
		if err != nil {
			return nil, xerrors.Errorf("connect to agent: %w", err)
		}
		defer asked.Close()
		// It may ask its user, also when it is to sign.
		defer context.AfterFunc(ctx, func() { _ = asked.Close() })()
		if keys, err = agent.NewClient(asked).Signers(); err != nil {
			return nil, xerrors.Errorf("ask agent for keys: %w", err)
		}
		if len(keys) == 0 {
			return nil, xerrors.New("agent has no keys: add one with ssh-add")
		}
	}
	return sshexec.Connect(ctx, conn, h.address, &ssh.ClientConfig{
		User:              h.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(keys...)},
		HostKeyCallback:   h.hostKey.check,
		HostKeyAlgorithms: h.hostKey.algorithms(h.address),
	})
}

// hostKeys are the host keys in a file.
type hostKeys struct {
	path        string
	known       ssh.HostKeyCallback
	authorities map[int]bool // the lines whose key is that of an authority, which certifies those of hosts
}

func readKnownHosts(path string) (hostKeys, error) {
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return hostKeys{}, xerrors.Errorf("find known_hosts: %w", err)
		}
		path = filepath.Join(home, ".ssh", "known_hosts")
	}
	known, err := knownhosts.New(path)
	if err != nil {
		return hostKeys{}, xerrors.Errorf("read the keys of known hosts: %w", err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return hostKeys{}, xerrors.Errorf("read the keys of known hosts: %w", err)
	}
	k := hostKeys{path, known, make(map[int]bool)}
	for i, line := range strings.Split(string(content), "\n") {
		k.authorities[i+1] = strings.HasPrefix(strings.TrimSpace(line), "@cert-authority")
	}
	return k, nil
}

// check is an ssh.HostKeyCallback. A certificate of an authority that is not the host's is no more than its key, as to
// ssh.
func (k hostKeys) check(address string, remote net.Addr, key ssh.PublicKey) error {
	if certificate, ok := key.(*ssh.Certificate); ok && !k.certifies(address, certificate.SignatureKey) {
		key = certificate.Key
	}
	err := k.known(address, remote, key)
	bad, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case !ok:
		return err
	case len(bad.Want) == 0:
		return xerrors.Errorf("host is not in %s: log in once with ssh, and see that its key %s is right",
			k.path, ssh.FingerprintSHA256(key))
	case k.authorities[bad.Want[0].Line]:
		return xerrors.Errorf("host's key %s is not certified by the authority in %s:%d: somebody may be in between",
			ssh.FingerprintSHA256(key), bad.Want[0].Filename, bad.Want[0].Line)
	}
	return xerrors.Errorf("host's key %s is not the one in %s:%d: somebody may be in between",
		ssh.FingerprintSHA256(key), bad.Want[0].Filename, bad.Want[0].Line)
}

// certifies reports whether a key is that of an authority for the host.
func (k hostKeys) certifies(address string, authority ssh.PublicKey) bool {
	return slices.ContainsFunc(k.lines(address), func(line knownhosts.KnownKey) bool {
		return k.authorities[line.Line] && bytes.Equal(line.Key.Marshal(), authority.Marshal())
	})
}

// lines returns what the file has for the host.
func (k hostKeys) lines(address string) []knownhosts.KnownKey {
	unknown, ok := errors.AsType[*knownhosts.KeyError](k.known(address, &net.TCPAddr{}, noKey{}))
	if !ok {
		return nil
	}
	return unknown.Want
}

// algorithms returns what the host's known keys can do, so that the host does not present another. nil means anything.
func (k hostKeys) algorithms(address string) (algorithms []string) {
	certified := false
	for _, line := range k.lines(address) {
		switch kind := line.Key.Type(); {
		case k.authorities[line.Line]:
			certified = true
		case kind == ssh.KeyAlgoRSA:
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			algorithms = append(algorithms, kind)
		}
	}
	if certified {
		return slices.Concat(certificates, algorithms)
	}
	return algorithms
}

// certificates are the algorithms of certified keys. The kind of an authority's own key has nothing to do with them.
var certificates = []string{
	ssh.CertAlgoED25519v01,
	ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// noKey is a key that no host has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return xerrors.New("no key") }
