// Package sshhost connects to an SSH host in the way that ssh does: with keys of an agent or from a file. It checks the
// host's key.
package sshhost

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/sshexec"
)

// Host is an SSH host, and how to log in there.
type Host struct {
	user    string
	address string       // with the port
	known   string       // the file of known hosts
	keys    []ssh.Signer // nil for the agent's keys
	agent   string       // the agent's socket

	// Unusable is called for each line of the file of known hosts that can't be used, with the line's number. Each Dial does
	// that. Set it before the first Dial.
	Unusable func(line int, err error)
}

// connectTimeout bounds connecting and logging in.
const connectTimeout = 30 * time.Second

// New returns the host that the target names: [user@]host[:port]. identity is a file with a private key. If it is empty, the
// keys are those of the agent at SSH_AUTH_SOCK. A certificate for the key may be beside it, in a file whose name ends in
// -cert.pub. knownHosts is a file in the format of ssh. If it is empty, it is ~/.ssh/known_hosts. Each Dial reads it again.
func New(target, identity, knownHosts string) (*Host, error) {
	h := &Host{agent: os.Getenv("SSH_AUTH_SOCK"), known: knownHosts, Unusable: func(int, error) {}}
	err := h.parse(target)
	if err != nil {
		return nil, err
	}
	if h.known, err = findKnownHosts(knownHosts); err != nil {
		return nil, err
	}
	switch {
	case identity != "":
		h.keys, err = readIdentity(identity)
	case h.agent == "":
		err = xerrors.New("no key to log in with: start an agent and set SSH_AUTH_SOCK, or name a file")
	}
	return h, err
}

// parse sets the user and the address.
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
	certified, err := readCertificate(path+"-cert.pub", key)
	if err != nil {
		return nil, xerrors.Errorf("certificate in %s-cert.pub: %w", path, err)
	}
	return append(certified, key), nil
}

// readCertificate returns a signer for the key's certificate, or none if there is no such file.
func readCertificate(path string, key ssh.Signer) ([]ssh.Signer, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(content)
	if err != nil {
		return nil, err
	}
	certificate, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, xerrors.New("it is a key without a certificate")
	}
	certified, err := ssh.NewCertSigner(certificate, key)
	return []ssh.Signer{certified}, err
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
	known, err := readKnownHosts(h.known, h.address, h.Unusable)
	if err != nil {
		return nil, err
	}
	keys := h.keys
	if keys == nil {
		asked, err := new(net.Dialer).DialContext(ctx, "unix", h.agent)
		if err != nil {
			return nil, xerrors.Errorf("connect to agent: %w", err)
		}
		defer asked.Close()
		// The agent may ask its user, now and when it signs.
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
		HostKeyCallback:   known.check,
		HostKeyAlgorithms: known.algorithms(),
	})
}
