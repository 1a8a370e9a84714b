package wsplice

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/xerrors"
)

// The reasons why a remote was not dialed. Any other error of dial is a failure on the way to the remote or of the
// handshake.
var (
	errURL         = xerrors.New("invalid URL")
	errHeader      = xerrors.New("invalid header")
	errSubprotocol = xerrors.New("invalid subprotocol")
	errHostname    = xerrors.New("hostname is not allowed")
	errAddress     = xerrors.New("address is not allowed")
)

// dialer dials remotes. It is safe for concurrent use.
type dialer struct {
	allowed *Allowlist
	tls     *tls.Config // for wss; nil means the defaults
	timeout time.Duration
}

// remote is a WebSocket connection to a remote.
type remote struct {
	net.Conn
	early       []byte // bytes that came with the handshake's answer, to be read before Conn
	subprotocol string // the agreed one
}

// dial connects to the WebSocket at the URL. It takes no longer than the timeout, whatever the remote does, and follows
// no redirects. The caller must close the remote. The end of the context does not affect it.
func (d *dialer) dial(
	ctx context.Context, rawURL string, header http.Header, subprotocols []string,
) (*remote, error) {
	t, err := d.check(rawURL, header, subprotocols)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.connect(ctx, t)
	if err != nil {
		return nil, &dialError{"connect to", t, err}
	}
	r, err := shakeHands(ctx, conn, t, header, subprotocols)
	if err != nil {
		_ = conn.Close()
		return nil, &dialError{"handshake with", t, err}
	}
	return r, nil
}

// check makes the checks that need no network.
func (d *dialer) check(rawURL string, header http.Header, subprotocols []string) (target, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		return target{}, xerrors.Errorf("%v: %w", err, errURL)
	}
	if !d.allowed.allowsHost(t.host, t.port) {
		return target{}, xerrors.Errorf("%s: %w", t, errHostname)
	}
	if err := checkHeader(header); err != nil {
		return target{}, err
	}
	return t, checkSubprotocols(subprotocols)
}

// target is a parsed URL.
type target struct {
	url    *url.URL
	secure bool
	host   host
	port   uint16
}

const (
	portPlain  = 80
	portSecure = 443
)

func parseTarget(rawURL string) (target, error) {
	// Spaces and the like would end the path in the request line.
	if strings.ContainsFunc(rawURL, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return target{}, xerrors.New("character that must be escaped")
	}
	u, err := url.Parse(rawURL)
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // Without the URL, because its sender knows it.
	}
	if err != nil {
		return target{}, err
	}
	t := target{url: u, port: portPlain}
	switch u.Scheme {
	case "ws":
	case "wss":
		t.secure, t.port = true, portSecure
	default:
		return target{}, xerrors.New("scheme is neither ws nor wss")
	}
	switch {
	case u.Host == "":
		return target{}, xerrors.New("no host")
	case u.User != nil:
		return target{}, xerrors.New("user name or password, which belong in a header")
	case u.Fragment != "":
		return target{}, xerrors.New("fragment")
	}
	if t.host, err = parseHost(u.Hostname()); err != nil {
		return target{}, err
	}
	if text := u.Port(); text != "" {
		t.port, err = parsePort(text)
	}
	return t, err
}

// String returns the host and the port.
func (t target) String() string { return net.JoinHostPort(t.host.String(), strconv.Itoa(int(t.port))) }

// hostHeader returns the host, and the port unless it is the scheme's (RFC 6455 section 4.1).
func (t target) hostHeader() string {
	isDefault := t.port == portPlain && !t.secure || t.port == portSecure && t.secure
	switch {
	case !isDefault:
		return t.String()
	case t.host.addr.Is6():
		return "[" + t.host.String() + "]"
	}
	return t.host.String()
}

// connect makes the connection for the handshake. It uses no proxy, so the address that was checked is the one that is
// reached.
func (d *dialer) connect(ctx context.Context, t target) (net.Conn, error) {
	dialer := net.Dialer{ControlContext: d.control}
	conn, err := dialer.DialContext(ctx, "tcp", t.String())
	if err != nil || !t.secure {
		return conn, err
	}
	secured := tls.Client(conn, d.tlsConfig(t))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, xerrors.Errorf("TLS: %w", err)
	}
	return secured, nil
}

// control checks an address for net.Dialer, after it was resolved and before it is dialed.
func (d *dialer) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		return xerrors.Errorf("%v: %w", err, errAddress)
	}
	if !d.allowed.allowsAddr(addr) {
		return xerrors.Errorf("%s is neither public nor listed: %w", addr.Addr(), errAddress)
	}
	return nil
}

func (d *dialer) tlsConfig(t target) *tls.Config {
	config := &tls.Config{}
	if d.tls != nil {
		config = d.tls.Clone()
	}
	config.ServerName = t.host.String()
	config.NextProtos = []string{"http/1.1"}
	return config
}

// maxResponse bounds the answer to the handshake, in bytes.
const maxResponse = 64 << 10

// shakeHands makes the opening handshake. When it fails, the caller must close the connection.
func shakeHands(
	ctx context.Context, conn net.Conn, t target, header http.Header, subprotocols []string,
) (*remote, error) {
	// It runs when the context ends before the handshake has. A connection with the changed deadline is not returned.
	release := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	handshake := ws.Dialer{Host: t.hostHeader(), Protocols: subprotocols, Header: headerText(header)}
	response := &io.LimitedReader{R: conn, N: maxResponse}
	buffer, agreed, err := handshake.Upgrade(readWriter{response, conn}, t.url)
	switch {
	case !release():
		return nil, ctx.Err()
	case err != nil && response.N == 0:
		return nil, xerrors.New("response is too long")
	case err != nil:
		return nil, err
	}
	r := &remote{Conn: conn, subprotocol: agreed.Protocol}
	if buffer != nil {
		early, _ := buffer.Peek(buffer.Buffered()) // It can't fail, for all of it is there.
		r.early = bytes.Clone(early)
		ws.PutReader(buffer)
	}
	return r, nil
}

type readWriter struct {
	io.Reader
	io.Writer
}

// headerText returns a header as it goes over the wire.
func headerText(header http.Header) ws.HandshakeHeader {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			text.WriteString(name + ": " + value + "\r\n")
		}
	}
	return ws.HandshakeHeaderBytes(text.Bytes())
}
