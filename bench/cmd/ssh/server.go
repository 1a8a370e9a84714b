package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"cdr.dev/wsep/bench/load"
)

// startTimeout is how long sshd may take until it listens.
const startTimeout = 20 * time.Second

// serve runs sshd until stdin ends. Instead of a URL it prints the path of the client's configuration.
func serve() (err error) {
	dir, err := os.MkdirTemp("", "wsep-bench-ssh-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	address, err := freeAddress()
	if err != nil {
		return err
	}
	if err := configure(dir, address); err != nil {
		return err
	}
	sshd, err := start(dir)
	if err != nil {
		return err
	}
	defer func() {
		_ = sshd.Process.Kill()
		_ = sshd.Wait()
	}()
	if err := waitFor(address); err != nil {
		return err
	}
	fmt.Println(clientConfig(dir))
	<-load.StdinEnd()
	return nil
}

func freeAddress() (*net.TCPAddr, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr), nil
}

func clientConfig(dir string) string { return filepath.Join(dir, "ssh_config") }
func serverConfig(dir string) string { return filepath.Join(dir, "sshd_config") }

// configure makes the keys and the configurations.
func configure(dir string, address *net.TCPAddr) error {
	for _, key := range []string{"host_key", "client_key"} {
		keygen := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key))
		if out, err := keygen.CombinedOutput(); err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	hostKey, err := os.ReadFile(filepath.Join(dir, "host_key.pub"))
	if err != nil {
		return err
	}
	current, err := user.Current()
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("{dir}", dir, "{ip}", address.IP.String(), "{port}", fmt.Sprint(address.Port),
		"{user}", current.Username, "{hostkey}", string(hostKey))
	return errors.Join(
		os.WriteFile(serverConfig(dir), []byte(fill.Replace(sshdConfig)), 0o600),
		os.WriteFile(clientConfig(dir), []byte(fill.Replace(sshConfig)), 0o600),
		os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(fill.Replace("[{ip}]:{port} {hostkey}")), 0o600),
	)
}

// sshdConfig sets HOME, so that the user's shell reads no files at its start. These would be measured too.
const sshdConfig = `ListenAddress {ip}:{port}
HostKey {dir}/host_key
PidFile none
AuthorizedKeysFile {dir}/client_key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
SetEnv HOME={dir}
LogLevel FATAL
`

const sshConfig = `Host bench
HostName {ip}
Port {port}
User {user}
IdentityFile {dir}/client_key
IdentitiesOnly yes
IdentityAgent none
UserKnownHostsFile {dir}/known_hosts
GlobalKnownHostsFile /dev/null
StrictHostKeyChecking yes
ControlMaster no
ControlPath none
Compression no
BatchMode yes
LogLevel ERROR
`

func start(dir string) (*exec.Cmd, error) {
	// sshd demands to be started by its full path, which LookPath returns.
	path, err := exec.LookPath("sshd")
	if err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		// sshd's children drop their privileges in this folder.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	sshd := exec.Command(path, "-D", "-e", "-f", serverConfig(dir))
	sshd.Stderr = os.Stderr
	return sshd, sshd.Start()
}

func waitFor(address *net.TCPAddr) error {
	deadline := time.Now().Add(startTimeout)
	for {
		conn, err := net.Dial("tcp", address.String())
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("sshd does not listen: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
