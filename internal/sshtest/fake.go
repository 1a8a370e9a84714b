package sshtest

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// Fake runs a server that does with the sessions that a client opens what open does, for what a real one never does. It
// returns a client. Both end with the test, which waits for every open to return.
func Fake(t testing.TB, open func(ssh.NewChannel)) *ssh.Client {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	// Ends with the client's connection.
	go func() {
		defer close(ended)
		serveFake(listener, config, open)
	}()
	client, err := ssh.Dial("tcp", listener.Addr().String(),
		&ssh.ClientConfig{HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()), Timeout: patience})
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = client.Close()
		<-ended
	})
	return client
}

func serveFake(listener net.Listener, config *ssh.ServerConfig, open func(ssh.NewChannel)) {
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
	go ssh.DiscardRequests(requests)
	for c := range channels {
		open(c)
	}
}
