// Package sshtest runs SSH servers for tests.
package sshtest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
)

// SSHD is a server on a loopback port, for the user who runs the test. The home directory has no startup files of
// shells.
type SSHD struct {
	// Address is where it listens.
	Address string
	// User may log in, with the key in the file Identity.
	User     string
	Identity string
	// KnownHosts is a file with the server's key.
	KnownHosts string
	// Home is the home directory, and Temp the directory for temporary files. Temp must be empty at the test's end.
	Home string
	Temp string

	dir     string   // for its own files
	env     []string // more variables of sessions
	signer  ssh.Signer
	hostKey ssh.PublicKey
}

// patience is how long the server may take to start.
const patience = 20 * time.Second

// Path returns the path of sshd, or "" if it is not installed.
func Path() string {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// Start starts a server. It is killed at the test's end. If sshd is not installed, the test is skipped. The settings
// are further lines of the configuration. They win over the others.
func Start(t testing.TB, settings ...string) *SSHD {
	t.Helper()
	return newSSHD(t).startOpenSSH(t, settings)
}

// newSSHD makes the files of a server.
func newSSHD(t testing.TB) *SSHD {
	dir := t.TempDir()
	current, err := user.Current()
	require.NoError(t, err)
	s := &SSHD{
		User:       current.Username,
		Identity:   filepath.Join(dir, "identity"),
		KnownHosts: filepath.Join(dir, "known_hosts"),
		Home:       filepath.Join(dir, "home"),
		Temp:       tempDir(t),
		dir:        dir,
	}
	s.signer = makeKey(t, s.Identity)
	require.NoError(t, os.MkdirAll(filepath.Join(s.Home, ".ssh"), 0o700))
	write(t, filepath.Join(s.Home, ".ssh/authorized_keys"), string(ssh.MarshalAuthorizedKey(s.signer.PublicKey())))
	return s
}

// startOpenSSH starts OpenSSH's server. by is a command that runs the server and its arguments, or nothing.
func (s *SSHD) startOpenSSH(t testing.TB, settings []string, by ...string) *SSHD {
	t.Helper()
	path := Path()
	if path == "" {
		t.Skip("openssh-server is not installed")
	}
	s.hostKey = makeKey(t, filepath.Join(s.dir, "host_key")).PublicKey()
	if os.Geteuid() == 0 {
		// The server's children need this directory to drop their privileges.
		require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	}
	return s.listen(t, func() *exec.Cmd {
		s.configure(t, settings)
		return command(append(by, path, "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config")))
	})
}

func command(words []string) *exec.Cmd { return exec.Command(words[0], words[1:]...) }

// listen runs a server at a new address.
func (s *SSHD) listen(t testing.TB, server func() *exec.Cmd) *SSHD {
	t.Helper()
	for range tries {
		s.Address = freeAddress(t)
		write(t, s.KnownHosts, knownhosts.Line([]string{s.Address}, s.hostKey)+"\n")
		if s.run(t, server()) {
			return s
		}
	}
	require.Fail(t, "the server does not listen")
	return nil
}

// tries is how many addresses are tried: another program may take a free one before the server listens.
const tries = 5

// configure writes the configuration.
func (s *SSHD) configure(t testing.TB, settings []string) {
	replacer := strings.NewReplacer("{dir}", s.dir, "{address}", s.Address, "{home}", s.Home,
		"{environment}", strings.Join(s.environment(), " "))
	write(t, filepath.Join(s.dir, "sshd_config"), strings.Join(settings, "\n")+"\n"+replacer.Replace(sshdConfig))
}

// sshdConfig passes leaktest's variable on to sessions, in {environment}.
const sshdConfig = `ListenAddress {address}
HostKey {dir}/host_key
PidFile {dir}/pid
AuthorizedKeysFile {home}/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
MaxSessions 1000
MaxStartups 1000
SetEnv {environment}
LogLevel ERROR
`

// environment returns the variables that sessions have beside the server's own.
func (s *SSHD) environment() []string {
	env := append([]string{"HOME=" + s.Home, "TMPDIR=" + s.Temp}, s.env...)
	if marker, ok := os.LookupEnv("WSEP_LEAKTEST"); ok {
		env = append(env, "WSEP_LEAKTEST="+marker)
	}
	return env
}

// tempDir makes a directory. The test fails if it is not empty at the end. Its path is short, as sockets need it.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/tmp", "ws")
	require.NoError(t, err)
	t.Cleanup(func() {
		var left []os.DirEntry
		require.Eventually(t, func() bool {
			left, err = os.ReadDir(dir)
			return err == nil && len(left) == 0
		}, patience, 10*time.Millisecond, "temporary files are left: %v", &left)
		require.NoError(t, os.Remove(dir))
	})
	return dir
}

func freeAddress(t testing.TB) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	return listener.Addr().String()
}

// makeKey makes a key and writes it to a file.
func makeKey(t testing.TB, path string) ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(key, "")
	require.NoError(t, err)
	write(t, path, string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer
}

func write(t testing.TB, path, text string) {
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// run runs the server until the test's end. It reports whether the server listens. If not, it has exited.
func (s *SSHD) run(t testing.TB, server *exec.Cmd) bool {
	var log bytes.Buffer
	server.Stdout, server.Stderr = &log, &log
	// Without it a connection's process that has the output open would hold up Wait.
	server.WaitDelay = time.Second
	require.NoError(t, server.Start())
	ended := make(chan struct{})
	// Ends when the server exits, at the latest at the test's end.
	go func() {
		defer close(ended)
		_ = server.Wait()
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the server says:\n%s", log.Bytes())
		}
	})
	listens := false
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			// The server writes the file when it listens.
			_, err := os.Stat(filepath.Join(s.dir, "pid"))
			listens = err == nil
			return listens
		}
	}, patience, 10*time.Millisecond, "the server does not listen")
	return listens
}

// Agent runs an agent with the identity until the test's end. It returns the agent's socket.
func (s *SSHD) Agent(t testing.TB) (socket string) {
	t.Helper()
	content, err := os.ReadFile(s.Identity)
	require.NoError(t, err)
	key, err := ssh.ParseRawPrivateKey(content)
	require.NoError(t, err)
	keys := agent.NewKeyring()
	require.NoError(t, keys.Add(agent.AddedKey{PrivateKey: key}))
	socket = filepath.Join(tempDir(t), "agent")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var serving sync.WaitGroup
	// Ends with the listener, and then with its last client.
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				_ = agent.ServeAgent(keys, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return socket
}

// ClientConfig returns the configuration of a client that may log in.
func (s *SSHD) ClientConfig() *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:              s.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(s.signer)},
		HostKeyCallback:   ssh.FixedHostKey(s.hostKey),
		HostKeyAlgorithms: []string{s.hostKey.Type()}, // Dropbear offers algorithms for which it has no key.
		Timeout:           patience,
	}
}

// Dial returns a connection. It is closed at the test's end.
func (s *SSHD) Dial(t testing.TB) *ssh.Client { return s.DialVia(t, s.Address) }

// DialVia is [SSHD.Dial] by another address that leads to the server.
func (s *SSHD) DialVia(t testing.TB, address string) *ssh.Client {
	t.Helper()
	client, err := ssh.Dial("tcp", address, s.ClientConfig())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}
