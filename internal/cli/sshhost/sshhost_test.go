//go:build !windows

package sshhost

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"cdr.dev/wsep/internal/leaktest"
	"cdr.dev/wsep/internal/sshtest"
)

// TestMain fails the package if its tests leave goroutines, descriptors or processes behind.
func TestMain(m *testing.M) { leaktest.Main(m) }

// patience is how long a test waits for an event. On a quiet machine the event happens at once.
const patience = 20 * time.Second

// dial connects and closes the connection.
func dial(ctx context.Context, t *testing.T, h *Host) error {
	t.Helper()
	result := make(chan error, 1)
	// Ends when Dial does.
	go func() {
		client, err := h.Dial(ctx)
		if err == nil {
			_ = client.Close()
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(patience):
		t.Fatal("Dial goes on")
		return nil
	}
}

// TestSilentAgent: the agent waits for its user, and does not answer.
func TestSilentAgent(t *testing.T) {
	server := sshtest.Start(t)
	for name, answers := range map[string]int{"asked for keys": 0, "asked to sign": 1} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			t.Setenv("SSH_AUTH_SOCK", silentAgent(t, server.Agent(t), answers, cancel))
			h, err := New(server.User+"@"+server.Address, "", server.KnownHosts)
			require.NoError(t, err)
			require.ErrorIs(t, dial(ctx, t, h), context.Canceled)
		})
	}
}

// silentAgent runs an agent that passes on some answers of another agent. Then it calls silent, and answers no more. It
// returns its socket.
func silentAgent(t *testing.T, other string, answers int, silent func()) (socket string) {
	socket = filepath.Join(filepath.Dir(other), "silent")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	served := make(chan struct{})
	// Ends with its client, with the test at the latest.
	go func() {
		defer close(served)
		asked, err := listener.Accept()
		if err != nil {
			return
		}
		defer asked.Close()
		defer context.AfterFunc(t.Context(), func() { _ = asked.Close() })()
		for range answers {
			passOn(t, asked, other)
		}
		_ = copyMessage(io.Discard, asked)
		silent()
		_, _ = io.Copy(io.Discard, asked)
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-served
	})
	return socket
}

// passOn passes a request to an agent, and its answer back.
func passOn(t *testing.T, asked net.Conn, agent string) {
	conn, err := net.Dial("unix", agent)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	_ = copyMessage(conn, asked)
	_ = copyMessage(asked, conn)
}

// copyMessage copies a message of the agent's protocol, which begins with its length.
func copyMessage(dst io.Writer, src io.Reader) error {
	head := make([]byte, 4)
	if _, err := io.ReadFull(src, head); err != nil {
		return err
	}
	if _, err := dst.Write(head); err != nil {
		return err
	}
	_, err := io.CopyN(dst, src, int64(binary.BigEndian.Uint32(head)))
	return err
}

// TestCertificate: hosts are known by the authority that certifies their keys.
func TestCertificate(t *testing.T) {
	authority, key := newKey(t), newKey(t)
	for _, tc := range []struct {
		name  string
		known ssh.PublicKey // the authority that is known
		by    string        // how the authority's hosts are named; empty for by address and port
		plain ssh.PublicKey // the key that is known, if any
		host  string        // the certificate's
		err   string
	}{
		{name: "certified", known: public(t, authority), host: "127.0.0.1"},
		{name: "all are certified", known: public(t, authority), by: "* ", host: "127.0.0.1"},
		{name: "all are certified, another key is known", known: public(t, authority), by: "* ", plain: public(t, newKey(t)), host: "127.0.0.1"},
		{name: "by another", known: public(t, newKey(t)), host: "127.0.0.1", err: "not certified by the authority in"},
		{name: "by another, key is known", known: public(t, newKey(t)), plain: public(t, key), host: "127.0.0.1"},
		{name: "for another", known: public(t, authority), host: "127.0.0.2", err: "principal"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			keyFile, known := filepath.Join(dir, "key"), filepath.Join(dir, "known")
			block, err := ssh.MarshalPrivateKey(key, "")
			require.NoError(t, err)
			write(t, keyFile, pem.EncodeToMemory(block))
			write(t, keyFile+"-cert.pub", ssh.MarshalAuthorizedKey(certify(t, authority, public(t, key), tc.host)))
			server := sshtest.Start(t, "HostKey "+keyFile, "HostCertificate "+keyFile+"-cert.pub")
			pattern := knownhosts.Normalize(server.Address) + " "
			by := cmp.Or(tc.by, pattern)
			lines := slices.Concat([]byte("# authority\n@cert-authority "+by), ssh.MarshalAuthorizedKey(tc.known))
			if tc.plain != nil {
				lines = slices.Concat(lines, []byte(pattern), ssh.MarshalAuthorizedKey(tc.plain))
			}
			write(t, known, lines)
			h, err := New(server.User+"@"+server.Address, server.Identity, known)
			require.NoError(t, err)
			err = dial(t.Context(), t, h)
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				return
			}
			require.NoError(t, err)
		})
	}
}

// TestKnownHosts: the file can name a host in all the ways that ssh allows. H is the host's name, P its port, K its key.
func TestKnownHosts(t *testing.T) {
	server := sshtest.Start(t)
	name, port, err := net.SplitHostPort(server.Address)
	require.NoError(t, err)
	content, err := os.ReadFile(server.KnownHosts)
	require.NoError(t, err)
	_, key, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	other := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public(t, newKey(t)))))
	for _, tc := range []struct {
		lines string
		known bool
	}{
		{"[H]:P K", true},
		{"* K", true},
		{"127.0.0.* K", true},
		{"[127.0.0.*]:P K", true},
		{"[*]:P K", true},
		{"[H]:* K", true},
		{"H K", true},
		{"unparsable\n[H ssh-rsa AAAA\nH ssh-ed25519 ????\nH K", true},
		{"[H]:P O\n* K", true},
		{"[H]:P O\nH K", false},
		{"H O", false},
		{"* O", false},
		{"[H]:1 K", false},
		{"*,!H K", true},
		{"*,![H]:P K", true},
		{"*,!H,![H]:P K", false},
		{"@revoked * K\nH K", false},
		{"", false},
	} {
		t.Run(tc.lines, func(t *testing.T) {
			known := filepath.Join(t.TempDir(), "known")
			lines := strings.NewReplacer("H", name, "P", port, "K", key, "O", other).Replace(tc.lines)
			write(t, known, []byte(lines))
			if ssh, err := exec.LookPath("ssh"); err == nil {
				err := exec.Command(ssh, "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
					"-o", "GlobalKnownHostsFile=/dev/null", "-o", "UserKnownHostsFile="+known, "-i", server.Identity,
					"-p", port, server.User+"@"+name, "true").Run()
				require.Equal(t, tc.known, err == nil, "ssh itself: %v", err)
			}
			h, err := New(server.User+"@"+server.Address, server.Identity, known)
			require.NoError(t, err)
			var unusable []int
			h.Unusable = func(line int, _ error) { unusable = append(unusable, line) }
			err = dial(t.Context(), t, h)
			require.Equal(t, tc.known, err == nil, "%v", err)
			if strings.HasPrefix(tc.lines, "unparsable") {
				require.Equal(t, []int{1, 2, 3}, unusable)
			}
		})
	}
}

// TestKnownHostsAnew: a host becomes known between two connections.
func TestKnownHostsAnew(t *testing.T) {
	server := sshtest.Start(t)
	known := filepath.Join(t.TempDir(), "known")
	write(t, known, nil)
	h, err := New(server.User+"@"+server.Address, server.Identity, known)
	require.NoError(t, err)
	require.ErrorContains(t, dial(t.Context(), t, h), "is not in "+known)
	content, err := os.ReadFile(server.KnownHosts)
	require.NoError(t, err)
	write(t, known, content)
	require.NoError(t, dial(t.Context(), t, h))
}

// TestIdentityCertificate logs in with the certificate beside the key. The server knows only the authority.
func TestIdentityCertificate(t *testing.T) {
	dir := t.TempDir()
	authority, key := newKey(t), newKey(t)
	authorities, identity := filepath.Join(dir, "authorities"), filepath.Join(dir, "id")
	write(t, authorities, ssh.MarshalAuthorizedKey(public(t, authority)))
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	write(t, identity, pem.EncodeToMemory(block))
	server := sshtest.Start(t, "TrustedUserCAKeys "+authorities)
	certificate := certify(t, authority, public(t, key), server.User)
	certificate.CertType = ssh.UserCert
	signer, err := ssh.NewSignerFromKey(authority)
	require.NoError(t, err)
	require.NoError(t, certificate.SignCert(rand.Reader, signer))
	try := func() error {
		h, err := New(server.User+"@"+server.Address, identity, server.KnownHosts)
		require.NoError(t, err)
		return dial(t.Context(), t, h)
	}
	require.Error(t, try())
	write(t, identity+"-cert.pub", ssh.MarshalAuthorizedKey(certificate))
	require.NoError(t, try())
}

func newKey(t *testing.T) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func public(t *testing.T, key ed25519.PrivateKey) ssh.PublicKey {
	p, err := ssh.NewPublicKey(key.Public())
	require.NoError(t, err)
	return p
}

// certify certifies the key of a host.
func certify(t *testing.T, authority ed25519.PrivateKey, key ssh.PublicKey, host string) *ssh.Certificate {
	signer, err := ssh.NewSignerFromKey(authority)
	require.NoError(t, err)
	certificate := &ssh.Certificate{
		Key:             key,
		CertType:        ssh.HostCert,
		ValidPrincipals: []string{host},
		ValidBefore:     ssh.CertTimeInfinity,
	}
	require.NoError(t, certificate.SignCert(rand.Reader, signer))
	return certificate
}

func write(t *testing.T, path string, content []byte) {
	require.NoError(t, os.WriteFile(path, content, 0o600))
}
