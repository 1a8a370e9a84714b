package sshhost

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/xerrors"
)

// hostKeys are the keys of one host in a file of known hosts.
type hostKeys struct {
	path        string
	address     string // the host's address in the file
	known       ssh.HostKeyCallback
	authorities map[int]bool // the lines with the key of an authority that certifies hosts' keys
}

// findKnownHosts returns the file of known hosts: the named one, or else the user's.
func findKnownHosts(file string) (string, error) {
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", xerrors.Errorf("find known_hosts: %w", err)
		}
		file = filepath.Join(home, ".ssh", "known_hosts")
	}
	if _, err := os.ReadFile(file); err != nil {
		return "", xerrors.Errorf("read the keys of known hosts: %w", err)
	}
	return file, nil
}

// readKnownHosts reads the keys of the host at the address. It reports lines that it can't use, and skips them.
func readKnownHosts(file, address string, unusable func(line int, err error)) (hostKeys, error) {
	k := hostKeys{path: file, address: address, authorities: make(map[int]bool)}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return k, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return k, xerrors.Errorf("read the keys of known hosts: %w", err)
	}
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		k.authorities[i+1] = strings.HasPrefix(strings.TrimSpace(line), "@cert-authority")
		lines[i] = widen(line, port)
	}
	if k.known, err = parse(lines...); err != nil {
		for i, line := range lines {
			if _, err := parse(line); err != nil {
				unusable(i+1, err)
				lines[i] = ""
			}
		}
		if k.known, err = parse(lines...); err != nil {
			return k, xerrors.Errorf("read the keys of known hosts: %w", err)
		}
	}
	if len(k.lines(address)) == 0 {
		// Like ssh, look the host up without its port if it is not known with it.
		k.address = net.JoinHostPort(host, "22")
	}
	return k, nil
}

// parse parses lines of a file of known hosts. It writes them to a file first, because package knownhosts only reads files.
func parse(lines ...string) (ssh.HostKeyCallback, error) {
	file, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(strings.Join(lines, "\n"))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return knownhosts.New(file.Name())
}

// widen adds patterns to a line, so that package knownhosts finds the hosts that ssh finds. ssh compares each pattern with
// [host]:port, and * stands for any text.
func widen(line, port string) string {
	fields := strings.Fields(line)
	hosts := 0
	if len(fields) > 0 && strings.HasPrefix(fields[0], "@") {
		hosts = 1
	}
	if hosts >= len(fields) || strings.HasPrefix(fields[hosts], "|") || strings.HasPrefix(fields[0], "#") {
		return line
	}
	var patterns []string
	for pattern := range strings.SplitSeq(fields[hosts], ",") {
		patterns = append(patterns, pattern)
		negation := pattern[:len(pattern)-len(strings.TrimPrefix(pattern, "!"))]
		if pattern == negation+"*" {
			patterns = append(patterns, negation+"[*]:"+port)
		}
		name, ports, found := strings.Cut(pattern, "]:")
		if matches, _ := path.Match(ports, port); found && matches && ports != port {
			patterns = append(patterns, name+"]:"+port)
		}
	}
	fields[hosts] = strings.Join(patterns, ",")
	return strings.Join(fields, " ")
}

// check is an ssh.HostKeyCallback. If the authority of a certificate is not known for the host, only the key in the
// certificate counts, as in ssh.
func (k hostKeys) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	if certificate, ok := key.(*ssh.Certificate); ok && !k.certifies(certificate.SignatureKey) {
		key = certificate.Key
	}
	err := k.known(k.address, remote, key)
	bad, ok := errors.AsType[*knownhosts.KeyError](err)
	switch {
	case !ok:
		return err
	case len(bad.Want) == 0:
		return xerrors.Errorf("host is not in %s: log in once with ssh, and see that its key %s is right",
			k.path, ssh.FingerprintSHA256(key))
	case k.authorities[bad.Want[0].Line]:
		return xerrors.Errorf("host's key %s is not certified by the authority in %s:%d: somebody may be in between",
			ssh.FingerprintSHA256(key), k.path, bad.Want[0].Line)
	}
	return xerrors.Errorf("host's key %s is not the one in %s:%d: somebody may be in between",
		ssh.FingerprintSHA256(key), k.path, bad.Want[0].Line)
}

// certifies reports whether a key belongs to an authority for the host.
func (k hostKeys) certifies(authority ssh.PublicKey) bool {
	return slices.ContainsFunc(k.lines(k.address), func(line knownhosts.KnownKey) bool {
		return k.authorities[line.Line] && bytes.Equal(line.Key.Marshal(), authority.Marshal())
	})
}

// lines returns the file's lines for the host.
func (k hostKeys) lines(address string) []knownhosts.KnownKey {
	unknown, ok := errors.AsType[*knownhosts.KeyError](k.known(address, &net.TCPAddr{}, noKey{}))
	if !ok {
		return nil
	}
	return unknown.Want
}

// algorithms returns the algorithms of the host's known keys, so that the host presents one of them. nil stands for all.
func (k hostKeys) algorithms() (algorithms []string) {
	certified := false
	for _, line := range k.lines(k.address) {
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

// certificates are the algorithms of certified keys. They do not depend on the authority's own key.
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
