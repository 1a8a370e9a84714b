package etcd

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"golang.org/x/xerrors"
)

// ErrDiskLost is matched by the error of a member without data, of a cluster that has known it with data. It must not start: it
// has forgotten what it has promised to the others. See [Registry.Heal].
var ErrDiskLost = xerrors.New("the member's data is lost")

// ErrMemberLives is matched by the error of Heal for a member that may run.
var ErrMemberLives = xerrors.New("something listens at the member's address")

const (
	// lookTimeout bounds how long a member that starts waits for the others to say who the members are.
	lookTimeout = time.Second
	// maxMembers bounds their answer, in bytes.
	maxMembers = 1 << 20
)

// hasData reports whether the member has started before, with its directory.
func (c EngineConfig) hasData() bool {
	_, err := os.Stat(filepath.Join(c.Dir, "member"))
	return err == nil
}

// knownMember is what a member says about another one. A member that was added, and has not started yet, has no name. One that has
// ever served clients has ClientURLs.
type knownMember struct {
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// joins decides whether the member, which has no data, joins members that exist. Otherwise it begins a new cluster with the others.
func (c EngineConfig) joins(ctx context.Context) (bool, error) {
	for _, m := range c.look(ctx) {
		for _, address := range m.PeerURLs {
			switch {
			case address != c.Peers[c.Name]:
			case len(m.ClientURLs) > 0:
				return false, ErrDiskLost
			default:
				return m.Name == "", nil
			}
		}
	}
	return false, nil
}

// look asks the other members who the members are. It returns the first answer, or nothing.
func (c EngineConfig) look(ctx context.Context) []knownMember {
	var info transport.TLSInfo
	if c.PeerTLS != nil {
		info = *c.PeerTLS
	}
	to, err := transport.NewTransport(info, lookTimeout)
	if err != nil {
		return nil
	}
	defer to.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	answers := make(chan []knownMember, len(c.Peers))
	var asking sync.WaitGroup
	for name, address := range c.Peers {
		if name != c.Name {
			asking.Go(func() { answers <- lookAt(ctx, to, address) })
		}
	}
	defer asking.Wait()
	defer cancel()
	for range len(c.Peers) - 1 {
		if members := <-answers; len(members) > 0 {
			return members
		}
	}
	return nil
}

// lookAt asks a member who the members are.
func lookAt(ctx context.Context, to http.RoundTripper, address string) (members []knownMember) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/members", nil)
	if err != nil {
		return nil
	}
	response, err := to.RoundTrip(request)
	if err != nil {
		return nil // It is not there, or not yet.
	}
	defer response.Body.Close()
	if json.NewDecoder(io.LimitReader(response.Body, maxMembers)).Decode(&members) != nil {
		return nil
	}
	return members
}

// Heal lets a member of etcd whose data is lost start again, with an empty directory: it is removed from the members, and added
// again, with its address (URL) for members. The error matches [ErrMemberLives] if anything listens there. Heal may be called again.
func (r *Registry) Heal(ctx context.Context, name, address string) error {
	return r.tryLong(ctx, func(ctx context.Context) error {
		list, err := r.client.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range list.Members {
			switch {
			case m.Name == "" && slices.Contains(m.PeerURLs, address):
				return nil // It was added already.
			case m.Name != name:
				continue
			case answers(ctx, m):
				return xerrors.Errorf("%s: %w", name, ErrMemberLives)
			}
			if _, err := r.client.MemberRemove(ctx, m.ID); err != nil {
				return err
			}
		}
		_, err = r.client.MemberAdd(ctx, []string{address})
		return err
	})
}

// reachTimeout is how long a machine may take to accept a connection.
const reachTimeout = 3 * time.Second

// answers reports whether a member listens. One that is slow, or stopped, does too: the system accepts for it.
func answers(ctx context.Context, m *pb.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	for _, address := range slices.Concat(m.ClientURLs, m.PeerURLs) {
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		if conn, err := new(net.Dialer).DialContext(ctx, "tcp", u.Host); err == nil {
			_ = conn.Close()
			return true
		}
	}
	return false
}
