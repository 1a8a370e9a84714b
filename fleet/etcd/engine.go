package etcd

import (
	"context"
	"net"
	"net/url"
	"slices"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"golang.org/x/xerrors"
)

// EngineConfig is a member of etcd in this program.
type EngineConfig struct {
	// Name is the member's name. It is one of Peers.
	Name string
	// Dir is the directory of the member's data. It must be on a disk, and survive the program.
	Dir string
	// Peers are all members, with the addresses (URLs) at which they reach each other. Each must have the same Peers.
	Peers map[string]string
	// Client is the address (URL) at which the member serves clients.
	Client string
	// Bind is the IP address at which the member listens. If it is empty, the member listens at the
	// addresses themselves, and these must be IP addresses.
	Bind string
	// PeerTLS and ClientTLS are for connections with members and with clients. nil means no TLS. The URLs are then http.
	PeerTLS, ClientTLS *transport.TLSInfo
	// Logger gets etcd's messages. nil logs nothing.
	Logger *zap.Logger
}

// Engine is a member of etcd in this program.
type Engine struct{ etcd *embed.Etcd }

const (
	// heartbeatMs and electionMs say how soon the members notice that their leader is gone.
	heartbeatMs = 100
	electionMs  = 1000
	// compaction is how many changes are kept for those that watch.
	compaction = "10000"
)

// Start starts a member. It waits until the member serves clients, which takes a majority of members. The caller must close it. If
// the member's data is lost, the error matches [ErrDiskLost].
func Start(ctx context.Context, c EngineConfig) (*Engine, error) {
	config, err := c.embedded()
	if err != nil {
		return nil, err
	}
	if !c.hasData() {
		joins, err := c.joins(ctx)
		if err != nil {
			return nil, err
		}
		if joins {
			config.ClusterState = embed.ClusterStateFlagExisting
		}
	}
	started, err := embed.StartEtcd(config)
	if err != nil {
		return nil, xerrors.Errorf("start etcd: %w", err)
	}
	select {
	case <-started.Server.ReadyNotify():
		return &Engine{started}, nil
	case err = <-started.Err():
	case <-started.Server.StopNotify():
		err = xerrors.New("etcd has ended")
	case <-ctx.Done():
		err = ctx.Err()
	}
	started.Server.HardStop() // Else Close waits until the member serves clients.
	started.Close()
	return nil, xerrors.Errorf("start etcd: %w", err)
}

func (c EngineConfig) embedded() (*embed.Config, error) {
	peer, err := urls(c.Peers[c.Name])
	if err != nil {
		return nil, xerrors.Errorf("address of member %q: %w", c.Name, err)
	}
	client, err := urls(c.Client)
	if err != nil {
		return nil, xerrors.Errorf("address for clients: %w", err)
	}
	e := embed.NewConfig()
	e.Name, e.Dir = c.Name, c.Dir
	e.ListenPeerUrls, e.AdvertisePeerUrls = c.bound(peer), peer
	e.ListenClientUrls, e.AdvertiseClientUrls = c.bound(client), client
	e.InitialCluster = c.cluster()
	e.TickMs, e.ElectionMs = heartbeatMs, electionMs
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModeRevision, compaction
	if c.PeerTLS != nil {
		e.PeerTLSInfo = *c.PeerTLS
	}
	if c.ClientTLS != nil {
		e.ClientTLSInfo = *c.ClientTLS
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(c.Logger)
	return e, nil
}

// bound returns where to listen for an address.
func (c EngineConfig) bound(addresses []url.URL) []url.URL {
	if c.Bind == "" {
		return addresses
	}
	at := slices.Clone(addresses)
	for i := range at {
		at[i].Host = net.JoinHostPort(c.Bind, at[i].Port())
	}
	return at
}

// cluster returns the peers as etcd wants them.
func (c EngineConfig) cluster() string {
	var members []string
	for name, address := range c.Peers {
		members = append(members, name+"="+address)
	}
	slices.Sort(members)
	return strings.Join(members, ",")
}

func urls(text string) ([]url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if u.Host == "" {
		return nil, xerrors.Errorf("%q has no host", text)
	}
	return []url.URL{*u}, nil
}

// Failed returns a channel. It gets an error when the member ends by itself.
func (e *Engine) Failed() <-chan error { return e.etcd.Err() }

// Resign hands leadership on, if the member has it, so that the others need not notice its end. It is for a program that exits without
// Close. That is safe: what a member acknowledges is on its disk. It is faster: Close waits some seconds for clients that watch.
func (e *Engine) Resign(ctx context.Context) {
	done := make(chan struct{})
	go func() { // Ends with the transfer, which etcd bounds.
		defer close(done)
		_ = e.etcd.Server.TryTransferLeadershipOnShutdown() // Else the others elect a leader when the member is gone.
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close ends the member. It hands leadership on first, if it has it.
func (e *Engine) Close() { e.etcd.Close() }
