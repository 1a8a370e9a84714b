package fleet

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cdr.dev/wsep"
)

// Metrics says what the gateways and the nodes of a program do, for Prometheus. It is a [prometheus.Collector]: register it with a
// [prometheus.Registerer]. Its metrics are:
//
//	wsep_fleet_attaches_total{by, path}        sessions that clients of a gateway have attached to
//	wsep_fleet_starts_total{kind, path}        sessions and other commands that a gateway has started
//	wsep_fleet_refusals_total{side, reason}    what a gateway, or a node, has refused
//	wsep_fleet_registry_calls_total{call}      calls of the registry, without renewals of a node's record
//	wsep_fleet_sessions{node}                  sessions of a node
//	wsep_fleet_commands{node}                  other commands of a node, as of some seconds ago
//	wsep_fleet_lease_age_seconds{node}         time since a node's record was renewed; missing while the node has none
//	wsep_fleet_draining{node}                  1 if a node starts nothing, else 0
//	wsep_fleet_drain_remaining{node}           sessions and commands that a drain of a node waits for; missing without one
//
// by is id, name or registry: what the gateway found the session by. With name it knew the name, and with registry it had to ask. path is
// local if the node is in the gateway's program, and hop otherwise. kind is session or command.
//
// Make it with [NewMetrics]. A nil Metrics counts nothing. It is safe for concurrent use.
type Metrics struct {
	attaches, starts, refusals, calls *prometheus.CounterVec

	mu    sync.Mutex // guards nodes
	nodes map[*Node]bool
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics returns a Metrics that has counted nothing.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "wsep_fleet_" + name, Help: help}, labels)
	}
	return &Metrics{
		attaches: counter("attaches_total", "Sessions that clients have attached to, by what they were found by.", "by", "path"),
		starts:   counter("starts_total", "Sessions and other commands that were started.", "kind", "path"),
		refusals: counter("refusals_total", "Starts and attaches that were refused, by reason.", "side", "reason"),
		calls:    counter("registry_calls_total", "Calls of the registry, without renewals.", "call"),
		nodes:    map[*Node]bool{},
	}
}

var (
	descSessions  = nodeDesc("sessions", "Sessions of the node.")
	descCommands  = nodeDesc("commands", "Commands of the node that are no sessions, as of some seconds ago.")
	descLeaseAge  = nodeDesc("lease_age_seconds", "Time since the node's record was renewed.")
	descDraining  = nodeDesc("draining", "1 if the node starts nothing, else 0.")
	descRemaining = nodeDesc("drain_remaining", "Sessions and commands that the drain of the node waits for.")
)

func nodeDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("wsep_fleet_"+name, help, []string{"node"}, nil)
}

// counters returns those of the Metrics that only grow.
func (m *Metrics) counters() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{m.attaches, m.starts, m.refusals, m.calls}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.counters() {
		c.Describe(to)
	}
	for _, d := range []*prometheus.Desc{descSessions, descCommands, descLeaseAge, descDraining, descRemaining} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.counters() {
		c.Collect(to)
	}
	m.mu.Lock()
	nodes := slices.Collect(maps.Keys(m.nodes))
	m.mu.Unlock()
	for _, n := range nodes {
		n.collect(to)
	}
}

// collect tells of a node.
func (n *Node) collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, value float64) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, n.Record.Name)
	}
	n.mu.Lock()
	sessions, commands, draining, member := float64(n.sessions()), float64(n.others), n.draining, n.member
	n.mu.Unlock()
	tell(descSessions, sessions)
	tell(descCommands, commands)
	if draining {
		tell(descDraining, 1)
		tell(descRemaining, sessions+commands)
	} else {
		tell(descDraining, 0)
	}
	if member != nil {
		tell(descLeaseAge, time.Since(member.Renewed()).Seconds())
	}
}

// watch makes the Metrics tell of a node, until the result is called.
func (m *Metrics) watch(n *Node) (end func()) {
	if m == nil {
		return func() {}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.nodes[n] = true
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.nodes, n)
	}
}

// The values of labels.
const (
	byID       = "id"
	byName     = "name"
	byRegistry = "registry"

	pathLocal = "local"
	pathHop   = "hop"

	kindSession = "session"
	kindCommand = "command"

	sideGateway = "gateway"
	sideNode    = "node"
)

func (m *Metrics) attached(by, path string) {
	if m != nil {
		m.attaches.WithLabelValues(by, path).Inc()
	}
}

func (m *Metrics) started(kind, path string) {
	if m != nil {
		m.starts.WithLabelValues(kind, path).Inc()
	}
}

// refused counts an error by its reason. nil, and the end of the client's own context, are none.
func (m *Metrics) refused(ctx context.Context, side string, err error) {
	if m != nil && err != nil && ctx.Err() == nil {
		m.refusals.WithLabelValues(side, reasonOf(err)).Inc()
	}
}

// reasons are the errors that are told apart. If an error matches several, the first counts.
var reasons = []struct {
	name string
	is   error
}{
	{"forged", ErrForgedID},
	{"no_registry", ErrNoRegistry},
	{"unreachable", ErrUnreachable},
	{"quota", ErrQuota},
	{"draining", errDraining},
	{"taken", ErrNameTaken},
	{"busy", wsep.ErrBusy},
	{"not_found", fs.ErrNotExist},
	{"permission", fs.ErrPermission},
	{"invalid", wsep.ErrInvalidCommand},
	{"disconnected", wsep.ErrDisconnected},
}

func reasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.is) {
			return r.name
		}
	}
	return "other"
}

// Registry returns a Registry that counts the calls of another one.
func (m *Metrics) Registry(r Registry) Registry { return countedRegistry{r, m.calls} }

type countedRegistry struct {
	registry Registry
	calls    *prometheus.CounterVec
}

func (r countedRegistry) count(call string) { r.calls.WithLabelValues(call).Inc() }

func (r countedRegistry) Join(ctx context.Context, record NodeRecord) (Membership, error) {
	r.count("join")
	m, err := r.registry.Join(ctx, record)
	if err != nil {
		return nil, err
	}
	return countedMembership{m, r}, nil
}

func (r countedRegistry) Nodes(ctx context.Context) ([]NodeRecord, error) {
	r.count("nodes")
	return r.registry.Nodes(ctx)
}

func (r countedRegistry) Find(ctx context.Context, owner, name string) (Claim, error) {
	r.count("find")
	return r.registry.Find(ctx, owner, name)
}

func (r countedRegistry) Claims(ctx context.Context, node string) ([]Claim, error) {
	r.count("claims")
	return r.registry.Claims(ctx, node)
}

func (r countedRegistry) Forget(ctx context.Context, owner, name string) error {
	r.count("forget")
	return r.registry.Forget(ctx, owner, name)
}

func (r countedRegistry) Watch(ctx context.Context, tell func(Change)) error {
	r.count("watch")
	return r.registry.Watch(ctx, tell)
}

// countedMembership counts the calls that ask the registry for something.
type countedMembership struct {
	Membership
	registry countedRegistry
}

func (m countedMembership) Update(ctx context.Context, record NodeRecord) error {
	m.registry.count("update")
	return m.Membership.Update(ctx, record)
}

func (m countedMembership) Claim(ctx context.Context, request ClaimRequest) (Claim, error) {
	m.registry.count("claim")
	return m.Membership.Claim(ctx, request)
}

func (m countedMembership) Release(ctx context.Context, c Claim) error {
	m.registry.count("release")
	return m.Membership.Release(ctx, c)
}

func (m countedMembership) Leave(ctx context.Context) error {
	m.registry.count("leave")
	return m.Membership.Leave(ctx)
}
