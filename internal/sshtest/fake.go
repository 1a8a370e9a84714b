package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Fake runs a server in this process, for behavior that a real server does not show. It calls open for each session of
// the client. It returns the client. Both are closed at the test's end, which waits for every open to return.
func Fake(t testing.TB, open func(ssh.NewChannel)) *ssh.Client {
	t.Helper()
	client, end, err := Connect(open)
	require.NoError(t, err)
	t.Cleanup(end)
	return client
}

// Connect is [Fake] without a test. The caller must call end.
func Connect(open func(ssh.NewChannel)) (client *ssh.Client, end func(), err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, nil, err
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	ended := make(chan struct{})
	// Ends with the client's connection.
	go func() {
		defer close(ended)
		serveOne(listener, config, open)
	}()
	client, err = ssh.Dial("tcp", listener.Addr().String(),
		&ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()), Timeout: patience})
	if err != nil {
		_ = listener.Close()
		return nil, nil, err
	}
	return client, func() {
		_ = client.Close()
		<-ended
	}, nil
}

func serveOne(listener net.Listener, config *ssh.ServerConfig, open func(ssh.NewChannel)) {
	inner, err := listener.Accept()
	_ = listener.Close()
	if err != nil {
		return
	}
	conn, channels, requests, err := ssh.NewServerConn(inner, config)
	if err != nil {
		return
	}
	defer conn.Close()
	// Ends with the connection.
	go ssh.DiscardRequests(requests)
	for c := range channels {
		open(c)
	}
}

// Session is a session without a terminal. The real sh runs its command.
type Session struct {
	// Refuse are the types of requests that the server refuses.
	Refuse []string
	// KeepExit has the server not report the exit.
	KeepExit bool
}

// Open serves the session.
func (s Session) Open(c ssh.NewChannel) {
	channel, requests, err := c.Accept()
	if err != nil {
		return
	}
	// Ends with the session.
	go func() {
		defer channel.Close()
		for r := range requests {
			granted := r.Type == "exec" && !slices.Contains(s.Refuse, r.Type)
			_ = r.Reply(granted, nil)
			if granted {
				s.exec(channel, r.Payload)
				return
			}
		}
	}()
}

func (s Session) exec(channel ssh.Channel, payload []byte) {
	var request struct{ Line string }
	if ssh.Unmarshal(payload, &request) != nil {
		return
	}
	code, err := run(channel, request.Line)
	if err != nil || s.KeepExit {
		return
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
}

func run(channel ssh.Channel, line string) (code int, err error) {
	cmd := exec.Command("sh", "-c", line)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, err
	}
	// Ends with the session.
	go func() {
		defer stdin.Close()
		_, _ = io.Copy(stdin, channel)
	}()
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}
