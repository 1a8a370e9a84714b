// Package etcd has a fleet's registry in etcd: a client, and a member of etcd that runs inside a program.
package etcd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/xerrors"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"cdr.dev/wsep/fleet"
)

// Config says where etcd is. The zero value of a field means its default.
type Config struct {
	// Endpoints are the addresses of etcd's members, for clients: host:port, or URLs. They are required.
	Endpoints []string
	// TLS is the configuration for these connections. nil means no TLS. If it has a ServerName, that is the name of all members.
	TLS *tls.Config
	// Prefix is what all keys begin with. The default is "wsep/".
	Prefix string
	// TTL is how long a node's record lives that is not renewed, in whole seconds. The default is 10 seconds. It is renewed three
	// times as often. etcd does not let it be less than one and a half times the longest election: 2 seconds here.
	TTL time.Duration
	// Logger gets the messages of etcd's client. nil logs nothing.
	Logger *zap.Logger
}

const (
	defaultPrefix = "wsep/"
	defaultTTL    = 10 * time.Second
	// opTimeout bounds how long anything waits for etcd. A new leader is there within this time, also on a busy machine.
	opTimeout = 5 * time.Second
	// refusedTimeout is how long to wait for a connection to any member, from when the last one was lost.
	refusedTimeout = 700 * time.Millisecond
	// refusedLeast is how long anything waits for a connection at least.
	refusedLeast = 100 * time.Millisecond
	// firstRedial and longestRedial bound the pause before another try to connect to a member. gRPC's own go up to two minutes.
	firstRedial   = 100 * time.Millisecond
	longestRedial = time.Second
	// retryPause is the time between two tries.
	retryPause = 50 * time.Millisecond
	// pingTime and pingTimeout say when a connection to a silent member is given up. A member closes the connection of a client that
	// pings more often than every 5 seconds.
	pingTime    = 5 * time.Second
	pingTimeout = 2 * time.Second
)

// Registry is a [fleet.Registry] in etcd. Its keys are:
//
//	nodes/NODE          the node's record, with a lease
//	members/NODE        written when the node joins, without a lease: its revision tells whether the node has come back
//	names/OWNER/NAME    the claim, without a lease
//	quota/OWNER/SLOT    the name that fills the slot
//
// OWNER and NAME are escaped as segments of a URL's path.
type Registry struct {
	client *clientv3.Client
	prefix string
	ttl    time.Duration

	ctx     context.Context // ends with Close
	close   context.CancelFunc
	running sync.WaitGroup // goroutines that end with Close

	mu   sync.Mutex // guards lost
	lost time.Time  // since when there is no connection to a member; zero while there is one
}

var _ fleet.Registry = (*Registry)(nil)

// Open returns a registry. It does not wait for a connection. The caller must close it.
func Open(c Config) (*Registry, error) {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.TTL <= 0 {
		c.TTL = defaultTTL
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		DialOptions:          dialOptions(c.TLS),
		DialKeepAliveTime:    pingTime,
		DialKeepAliveTimeout: pingTimeout,
		PermitWithoutStream:  true,
		MaxUnaryRetries:      1, // Each try is one of try's.
		Logger:               c.Logger,
	})
	if err != nil {
		return nil, xerrors.Errorf("etcd client: %w", err)
	}
	r := &Registry{client: client, prefix: c.Prefix, ttl: c.TTL, lost: time.Now()}
	r.ctx, r.close = context.WithCancel(context.Background())
	r.running.Go(r.watchConnection) // Ends with Close.
	return r, nil
}

// dialOptions makes gRPC check for the name of a TLS configuration. By itself it checks for the host that it connects to.
func dialOptions(config *tls.Config) []grpc.DialOption {
	options := []grpc.DialOption{grpc.WithConnectParams(redial)}
	if config != nil && config.ServerName != "" {
		options = append(options, grpc.WithAuthority(config.ServerName))
	}
	return options
}

// redial says when gRPC tries again to connect to a member.
var redial = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: firstRedial, Multiplier: 1.6, Jitter: 0.2, MaxDelay: longestRedial},
	MinConnectTimeout: opTimeout,
}

// watchConnection notes whether a member is connected.
func (r *Registry) watchConnection() {
	conn := r.client.ActiveConnection()
	for {
		state := conn.GetState()
		r.mu.Lock()
		switch {
		case state == connectivity.Ready:
			r.lost = time.Time{}
		case r.lost.IsZero():
			r.lost = time.Now()
		}
		r.mu.Unlock()
		if !conn.WaitForStateChange(r.ctx, state) {
			return
		}
	}
}

// connectPatience returns how long to wait for a connection.
func (r *Registry) connectPatience() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost.IsZero() {
		return refusedTimeout
	}
	return max(refusedLeast, refusedTimeout-time.Since(r.lost))
}

// Close closes the connections. Nodes that have joined over this registry are no longer renewed, and expire. Their claims stay.
func (r *Registry) Close() error {
	r.close()
	r.running.Wait()
	return r.client.Close()
}

func (r *Registry) nodeKey(node string) string   { return r.prefix + "nodes/" + node }
func (r *Registry) memberKey(node string) string { return r.prefix + "members/" + node }
func (r *Registry) nameKey(owner, name string) string {
	return r.prefix + "names/" + url.PathEscape(owner) + "/" + url.PathEscape(name)
}
func (r *Registry) quotaPrefix(owner string) string {
	return r.prefix + "quota/" + url.PathEscape(owner) + "/"
}
func (r *Registry) slotKey(owner string, slot int) string {
	return r.quotaPrefix(owner) + strconv.Itoa(slot)
}

// Nodes implements fleet.Registry.
func (r *Registry) Nodes(ctx context.Context) (nodes []fleet.NodeRecord, err error) {
	response, err := r.get(ctx, r.prefix+"nodes/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	for _, kv := range response.Kvs { // Ordered by key, so by name.
		nodes, err = appendDecoded(nodes, kv.Value)
		if err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

func appendDecoded[T any](all []T, text []byte) ([]T, error) {
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, xerrors.Errorf("a record in the registry is broken: %w", err)
	}
	return append(all, v), nil
}

// Find implements fleet.Registry.
func (r *Registry) Find(ctx context.Context, owner, name string) (fleet.Claim, error) {
	response, err := r.get(ctx, r.nameKey(owner, name))
	if err != nil {
		return fleet.Claim{}, err
	}
	claims, err := claimsOf(response.Kvs, "")
	if err != nil {
		return fleet.Claim{}, err
	}
	if len(claims) == 0 {
		return fleet.Claim{}, fleet.NoClaim(name)
	}
	return claims[0], nil
}

// Claims implements fleet.Registry.
func (r *Registry) Claims(ctx context.Context, node string) ([]fleet.Claim, error) {
	response, err := r.get(ctx, r.prefix+"names/", clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	return claimsOf(response.Kvs, node)
}

// Forget implements fleet.Registry.
func (r *Registry) Forget(ctx context.Context, owner, name string) error {
	return r.try(ctx, func(ctx context.Context) error {
		for {
			c, err := r.Find(ctx, owner, name)
			if err != nil {
				return err
			}
			node := r.nodeKey(c.Node())
			done, err := r.client.Txn(ctx).
				If(isAt(r.nameKey(owner, name), c.Revision), isAbsent(node)).
				Then(r.deleteClaim(c)...).
				Else(clientv3.OpGet(node, clientv3.WithKeysOnly())).
				Commit()
			switch {
			case err != nil:
				return err
			case done.Succeeded:
				return nil
			case done.Responses[0].GetResponseRange().Count > 0:
				return fleet.ErrNodeLives
			}
		}
	})
}

// deleteClaim returns the operations that remove a claim.
func (r *Registry) deleteClaim(c fleet.Claim) []clientv3.Op {
	ops := []clientv3.Op{clientv3.OpDelete(r.nameKey(c.Owner, c.Name))}
	if c.Slot >= 0 {
		ops = append(ops, clientv3.OpDelete(r.slotKey(c.Owner, c.Slot)))
	}
	return ops
}

func isAbsent(key string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
}

// isAt reports whether the key's last change was at the revision. 0 means that there is no such key.
func isAt(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}

// ownerAndName returns what a claim's key is made of.
func (r *Registry) ownerAndName(key string) (fleet.Claim, error) {
	owner, name, _ := strings.Cut(strings.TrimPrefix(key, r.prefix+"names/"), "/")
	owner, err := url.PathUnescape(owner)
	if err != nil {
		return fleet.Claim{}, err
	}
	name, err = url.PathUnescape(name)
	return fleet.Claim{Owner: owner, Name: name}, err
}
