package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"cdr.dev/slog"
	"cdr.dev/slog/sloggers/sloghuman"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
	wsepserve "cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/cli/servercmd"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/plain"
	"cdr.dev/wsep/keeper"
)

// daemon is a program that runs.
type daemon struct {
	config
	stdout   io.Writer
	stderr   io.Writer
	logger   slog.Logger
	trust    trust
	keys     *fleet.CurrentKeys
	identity *identity // nil if this program is the whole fleet

	registry *registry
	view     *fleet.View
	execer   fleet.Execer
	node     *fleet.Node // nil without this role
	local    *fleet.Local
	servers  []*wsepserve.Server       // the node's
	gateway  *servercmd.RunningGateway // nil without this role
	metrics  *fleet.Metrics

	failed     chan error // why the program can't go on
	background sync.WaitGroup
}

// serve runs the program until a signal comes.
func serve(c config, stdout, stderr io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	defer stop()
	d := &daemon{
		config: c, stdout: stdout, stderr: stderr, logger: peerlog.Logger(slog.Make(sloghuman.Sink(stderr))), failed: make(chan error, 8),
	}
	release, err := d.lock()
	if err != nil {
		return err
	}
	defer release()
	if err := d.openTrust(); err != nil {
		return err
	}
	running, end := context.WithCancel(context.Background())
	defer d.background.Wait()
	defer end()
	if err := d.start(running); err != nil {
		d.close(end)
		return err
	}
	select {
	case <-ctx.Done():
		stop() // So another signal ends the program at once.
		d.say("ending; the sessions stay")
	case err = <-d.failed:
	}
	d.leave(end)
	return err
}

// endSignals returns the signals that end the program. If it was started to ignore one, as with nohup, it goes on to.
func endSignals() []os.Signal {
	return slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)
}

// say tells the person at the terminal what happens.
func (d *daemon) say(format string, args ...any) {
	fmt.Fprintf(d.stderr, "%s %s: %s\n", program, d.name, fmt.Sprintf(format, args...))
}

// do does something beside the rest. If it fails the program ends.
func (d *daemon) do(work func() error) {
	d.background.Go(func() {
		if err := work(); err != nil && !errors.Is(err, context.Canceled) {
			select {
			case d.failed <- err:
			default: // The program ends already.
			}
		}
	})
}

// maxDir bounds the directory's path, in bytes: sockets are in it.
const maxDir = 72

// lock makes the directory, and makes sure that no other program uses it.
func (d *daemon) lock() (release func(), err error) {
	if d.dir, err = filepath.Abs(d.dir); err != nil {
		return nil, err
	}
	if len(d.dir) > maxDir {
		return nil, xerrors.Errorf("--dir: %s is too long, because sockets are in it: give one of at most %d bytes", d.dir, maxDir)
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Chmod(d.dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := fileutil.TryLockFile(filepath.Join(d.dir, "wsepd.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, xerrors.Errorf("another wsepd runs in %s: end it, or give this one another --name", d.dir)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Close() }, nil
}

// openTrust reads the fleet's secrets.
func (d *daemon) openTrust() error {
	t, created, err := openTrust(d.config.trust)
	if err != nil {
		return err
	}
	d.trust = t
	if created && len(d.peers) > 0 {
		d.say("made the fleet's secrets in %s: copy it to the other machines", t.dir)
	}
	ring, err := t.ring()
	if err != nil {
		return err
	}
	d.keys = fleet.NewCurrentKeys(ring)
	if len(d.peers) == 0 {
		return nil
	}
	return d.openIdentity()
}

// start starts all parts of the program.
func (d *daemon) start(ctx context.Context) (err error) {
	d.do(func() error { return d.followRing(ctx) })
	if err := d.openRegistry(ctx); err != nil {
		return err
	}
	if err := d.startMetrics(ctx); err != nil {
		return err
	}
	d.view = fleet.NewView(d.metrics.Registry(d.registry))
	d.background.Go(func() { d.view.Run(ctx) })
	d.background.Go(func() { d.tellNodes(ctx) })
	d.execer = fleet.Execer{View: d.view, Keys: d.keys, Placer: d.placer, Resume: time.Minute, Metrics: d.metrics}
	if d.identity != nil {
		d.execer.TLS = d.identity.clientTLS()
	}
	if d.config.node {
		if err := d.startNode(ctx); err != nil {
			return err
		}
	}
	if err := d.startAdmin(ctx); err != nil {
		return err
	}
	if !d.config.gateway {
		return nil
	}
	if len(d.peers) == 0 { // Only the node knows the names of an earlier run. Before it has told, nobody may say that there is no session.
		naming, cancel := context.WithTimeout(ctx, namesTimeout)
		defer cancel()
		if err := d.node.AwaitNames(naming); err != nil {
			return xerrors.Errorf("the sessions of an earlier run: %w", err)
		}
	}
	return d.startGateway()
}

// namesTimeout bounds how long the keeper takes to tell what it has.
const namesTimeout = 10 * time.Second

// startNode serves the node's commands.
func (d *daemon) startNode(ctx context.Context) error {
	dir := filepath.Join(d.dir, "keeper")
	incarnation, err := fleet.Incarnation(dir)
	if err != nil {
		return err
	}
	listener, err := d.listenNode()
	if err != nil {
		return err
	}
	d.node = &fleet.Node{
		Record:   fleet.NodeRecord{Name: d.name, Incarnation: incarnation, Address: d.addr, Labels: d.labels},
		Keeper:   keeper.Execer{Dir: dir, SessionTimeout: d.front.SessionTimeout()},
		Keys:     d.keys,
		Registry: d.metrics.Registry(d.registry),
		Slots:    d.slots,
		Metrics:  d.metrics,
	}
	d.local = fleet.NewLocal(d.name)
	d.execer.Local = d.local
	d.serveNode(wsepserve.Listener{Listener: d.local})
	if listener != nil {
		d.serveNode(wsepserve.Listener{Listener: listener, TLS: d.identity.nodeTLS()})
	}
	d.do(func() error { return d.runNode(ctx) })
	return nil
}

// listenNode listens for gateways. It returns nil if there are none but this program's.
func (d *daemon) listenNode() (net.Listener, error) {
	if d.addr == "" || d.identity == nil {
		return nil, nil
	}
	host, port, err := net.SplitHostPort(d.addr)
	if err != nil {
		return nil, err
	}
	at := net.JoinHostPort(d.bind, port)
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return nil, xerrors.Errorf("the node's address: %w", plain.Listening(at, err))
	}
	if _, port, err = net.SplitHostPort(listener.Addr().String()); err != nil {
		return nil, err
	}
	d.addr = net.JoinHostPort(host, port)
	return listener, nil
}

func (d *daemon) serveNode(listener wsepserve.Listener) {
	server := wsepserve.Start(listener, d.node.Handler(), wsep.NewServer(), d.logger)
	d.servers = append(d.servers, server)
}

const (
	// takenPatience is how long a name may be taken. The record of an earlier node of this name expires within 10 seconds.
	takenPatience = 15 * time.Second
	takenPause    = 500 * time.Millisecond
)

// runNode keeps the node in the fleet.
func (d *daemon) runNode(ctx context.Context) error {
	since := time.Now()
	for told := false; ; told = true {
		began := time.Now()
		err := d.node.Run(ctx)
		if time.Since(began) > takenPatience {
			since, told = time.Now(), false // It was in the fleet until now.
		}
		switch {
		case !errors.Is(err, fleet.ErrNodeTaken):
			return err
		case time.Since(since) > takenPatience:
			return xerrors.Errorf("another machine is in the fleet as %s: give this one another --name, or end the other one: %w", d.name, err)
		case !told:
			d.say("the fleet has a node %s already: waiting whether it is one that has ended", d.name)
		}
		select {
		case <-time.After(takenPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startGateway serves clients.
func (d *daemon) startGateway() (err error) {
	if d.gateway, err = d.front.Start(d.execer, d.logger); err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "listening on %s\n", d.gateway.URL())
	if d.gateway.Page != "" {
		fmt.Fprintf(d.stdout, "web terminal at %s\n", d.gateway.Page)
	}
	return nil
}

// nodesPause is how often the nodes are looked at, to tell of them.
const nodesPause = 200 * time.Millisecond

// tellNodes tells when nodes come, go or drain.
func (d *daemon) tellNodes(ctx context.Context) {
	told := ""
	for ctx.Err() == nil {
		var nodes []string
		for _, n := range d.view.Nodes() {
			text := n.Name
			if n.State != fleet.NodeReady {
				text += " (" + string(n.State) + ")"
			}
			nodes = append(nodes, text)
		}
		if now := strings.Join(nodes, ", "); now != told {
			d.say("nodes: %s", now)
			told = now
		}
		select {
		case <-time.After(nodesPause):
		case <-ctx.Done():
		}
	}
}

// drainTimeout bounds how long the end of the program waits to be known as draining.
const drainTimeout = 2 * time.Second

// leave ends the program. Clients go on through other gateways, and sessions stay in the keeper.
func (d *daemon) leave(end func()) {
	if d.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
		_ = d.node.Drain(ctx) // So nothing starts here. If that is not known in time, starts are refused all the same.
		cancel()
	}
	if d.gateway != nil {
		d.gateway.Leave(context.Background())
	}
	d.close(end)
}

// close ends all parts that have started.
func (d *daemon) close(end func()) {
	if d.gateway != nil {
		if err := d.gateway.Close(); err != nil {
			d.say("end of the gateway: %v", err)
		}
	}
	for _, s := range d.servers {
		if err := s.Close(); err != nil {
			d.say("end of the node: %v", err)
		}
	}
	end()
	d.background.Wait() // The node leaves the fleet.
	if d.registry != nil {
		d.registry.close()
	}
}
