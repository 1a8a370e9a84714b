package daemon

import (
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/internal/cli/servercmd"
)

// config is what the flags say.
type config struct {
	name    string
	peers   []peer // none if this program is the whole fleet
	dir     string
	trust   string
	addr    string // where the node listens; empty if it does not
	bind    string // the IP address of all listeners but the gateway's
	node    bool
	gateway bool
	labels  map[string]string
	placer  fleet.BestOfThree
	slots   int
	front   servercmd.Gateway
	metrics string // where Prometheus finds the metrics; empty means nowhere
	verbose bool
}

// peer is a machine that keeps the registry.
type peer struct {
	name, host string
	port       int
}

const (
	clientPort = 1 // is added to a peer's port
	nodePort   = 2
	maxPort    = 1<<16 - 1
)

func (p peer) at(offset int) string { return net.JoinHostPort(p.host, strconv.Itoa(p.port+offset)) }

// member is the address (URL) for other members, and client the one for clients.
func (p peer) member() string { return "https://" + p.at(0) }
func (p peer) client() string { return "https://" + p.at(clientPort) }

type flags struct {
	name, dir, trust, addr, bind string
	metrics                      string
	peers, roles                 []string
	labels, required             map[string]string
	byOwner, verbose             bool
	slots                        int
	front                        servercmd.Flags
}

func (f *flags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "this node's `NAME`, of lower-case letters, digits and hyphens; no other node has it")
	flags.StringSliceVar(&f.peers, "peers", nil,
		"the machines that keep the registry, as `NAME=HOST:PORT`, separated by commas; PORT+1 and PORT+2 are used too; none means that "+
			"this program is the whole fleet")
	flags.StringSliceVar(&f.roles, "roles", []string{"node", "gateway"}, "what this program is: node, gateway or both")
	flags.StringVar(&f.dir, "dir", "", "keep this node's state in `DIR`; the default is in ~/.local/state/wsepd")
	flags.StringVar(&f.trust, "trust", "", "the `DIR` with the fleet's secrets; the default is ~/.local/state/wsepd/trust")
	flags.StringVar(&f.addr, "addr", "",
		"the `HOST:PORT` at which gateways reach this node; the default is PORT+2 of a peer, and elsewhere a free port of the address "+
			"from which the peers are reached")
	flags.StringVar(&f.bind, "bind", "",
		"listen for the fleet at the `IP` address; the default is the address of the peer or --addr; if that is a host's name, all addresses")
	flags.StringToStringVar(&f.labels, "labels", nil, "this node's labels, as `KEY=VALUE`, separated by commas")
	flags.StringToStringVar(&f.required, "require", nil, "start commands only at nodes with these labels, `KEY=VALUE`, separated by commas")
	flags.BoolVar(&f.byOwner, "by-owner", false, "start all commands of an owner at the same node")
	flags.IntVar(&f.slots, "max-names", 0, "an owner may have `N` names at a time; 0 means no limit")
	flags.StringVar(&f.metrics, "metrics", "",
		"serve metrics for Prometheus at `HOST:PORT`, as http://HOST:PORT/metrics; whoever can connect may read them")
	flags.BoolVar(&f.verbose, "verbose", false, "log what the registry's engine says")
	f.front.AddGateway(flags)
}

// label is what a node may be called, as a label in DNS.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// config returns what the flags say.
func (f *flags) config(set *pflag.FlagSet) (c config, err error) {
	if f.name == "" {
		return c, xerrors.New("give this node a name: --name n1")
	}
	if !label.MatchString(f.name) {
		return c, xerrors.Errorf("--name: %q has other characters than lower-case letters, digits and hyphens, or more than 63", f.name)
	}
	c = config{
		name: f.name, dir: f.dir, addr: f.addr, bind: f.bind, labels: f.labels, slots: f.slots, metrics: f.metrics, verbose: f.verbose,
		placer: fleet.BestOfThree{Labels: f.required, ByOwner: f.byOwner},
	}
	if c.node, c.gateway, err = parseRoles(f.roles); err != nil {
		return c, err
	}
	if c.peers, err = parsePeers(f.peers); err != nil {
		return c, err
	}
	if len(c.peers) == 0 && !(c.node && c.gateway) {
		return c, xerrors.New("--roles: without --peers this program is the whole fleet, so it needs both roles")
	}
	if c.front, err = f.front.Gateway(set); err != nil {
		return c, err
	}
	if err := c.chooseDirs(f.trust); err != nil {
		return c, err
	}
	return c, c.chooseAddress()
}

func parseRoles(roles []string) (node, gateway bool, err error) {
	for _, role := range roles {
		switch fleet.Role(role) {
		case fleet.RoleNode:
			node = true
		case fleet.RoleGateway:
			gateway = true
		default:
			return false, false, xerrors.Errorf("--roles: %q is not node or gateway", role)
		}
	}
	if !node && !gateway {
		return false, false, xerrors.New("--roles: name node, gateway or both")
	}
	return node, gateway, nil
}

func parsePeers(given []string) (peers []peer, err error) {
	for _, text := range given {
		name, address, _ := strings.Cut(text, "=")
		host, port, err := net.SplitHostPort(address)
		if err != nil || host == "" || !label.MatchString(name) {
			return nil, xerrors.Errorf("--peers: %q is not like n1=10.0.0.1:7000", text)
		}
		number, err := strconv.Atoi(port)
		if err != nil || number < 1 || number+nodePort > maxPort {
			return nil, xerrors.Errorf("--peers: %q has no port from 1 to %d", text, maxPort-nodePort)
		}
		if slices.ContainsFunc(peers, func(p peer) bool { return p.name == name }) {
			return nil, xerrors.Errorf("--peers: there are two peers %s", name)
		}
		peers = append(peers, peer{name, host, number})
	}
	return peers, nil
}

func (c *config) chooseDirs(trust string) (err error) {
	if c.dir == "" {
		if c.dir, err = nodeDir(c.name); err != nil {
			return err
		}
	}
	c.trust, err = trustDir(trust)
	return err
}

// self returns the peer that this program is, if it is one.
func (c *config) self() (peer, bool) {
	for _, p := range c.peers {
		if p.name == c.name {
			return p, true
		}
	}
	return peer{}, false
}

// chooseAddress sets where the node listens, and where the fleet's listeners bind.
func (c *config) chooseAddress() error {
	self, isPeer := c.self()
	switch {
	case c.addr != "":
		if _, _, err := net.SplitHostPort(c.addr); err != nil {
			return xerrors.Errorf("--addr: %w", err)
		}
	case isPeer:
		c.addr = self.at(nodePort)
	case c.node && len(c.peers) > 0:
		host, err := hostTowards(c.peers[0].at(0))
		if err != nil {
			return xerrors.Errorf("no address of this machine is known, so give --addr: %w", err)
		}
		c.addr = net.JoinHostPort(host, "0")
	}
	if c.bind == "" && c.addr != "" {
		c.bind = bindFor(c.addr)
	}
	return nil
}

// hostTowards returns the address of this machine from which another one is reached. Nothing is sent.
func hostTowards(address string) (string, error) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	return host, err
}

// bindFor returns the IP address at which to listen for an address. A name of this machine may stand for an address that it does not
// have itself.
func bindFor(address string) string {
	host, _, _ := net.SplitHostPort(address)
	switch {
	case net.ParseIP(host) != nil:
		return host
	case host == "localhost":
		return "127.0.0.1"
	}
	return "0.0.0.0"
}
