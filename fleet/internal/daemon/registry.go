package daemon

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.uber.org/zap"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/etcd"
	"cdr.dev/wsep/internal/plain"
)

// registry is the fleet's. It belongs to the program.
type registry struct {
	fleet.Registry
	etcd *etcd.Registry // nil if the registry is in memory

	mu     sync.Mutex   // guards engine
	engine *etcd.Engine // nil until it has started, or if this program has none
}

// openRegistry opens the registry, and starts this program's member of it, if it is one. It does not wait: IDs are served without.
func (d *daemon) openRegistry(ctx context.Context) error {
	if len(d.peers) == 0 {
		d.registry = &registry{Registry: fleet.NewMemory()}
		return nil
	}
	var endpoints []string
	for _, p := range d.peers {
		endpoints = append(endpoints, p.client())
	}
	opened, err := etcd.Open(etcd.Config{Endpoints: endpoints, TLS: d.identity.registryTLS(), Logger: d.zap()})
	if err != nil {
		return err
	}
	d.registry = &registry{Registry: opened, etcd: opened}
	d.do(func() error { return d.checkPeers(ctx) })
	if self, ok := d.self(); ok {
		d.do(func() error { return d.runEngine(ctx, self) })
	}
	return nil
}

// zap is where the engine's messages go.
func (d *daemon) zap() *zap.Logger {
	if !d.verbose {
		return zap.NewNop()
	}
	logger, err := zap.NewProduction()
	if err != nil {
		return zap.NewNop()
	}
	return logger
}

// runEngine runs this program's member of the registry until it fails, or the context ends.
func (d *daemon) runEngine(ctx context.Context, self peer) error {
	info := d.engineTLS()
	config := etcd.EngineConfig{
		Name: self.name, Dir: filepath.Join(d.dir, "etcd"), Peers: map[string]string{}, Client: self.client(), Bind: d.bind,
		PeerTLS: info, ClientTLS: info, Logger: d.zap(),
	}
	var others []string
	for _, p := range d.peers {
		config.Peers[p.name] = p.member()
		if p.name != self.name {
			others = append(others, p.name)
		}
	}
	waiting := time.AfterFunc(waitingAfter, func() {
		d.say("waiting for a majority: %s and others of %s must run", self.name, strings.Join(others, ", "))
	})
	engine, err := etcd.Start(ctx, config)
	waiting.Stop()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, etcd.ErrDiskLost):
		return xerrors.Errorf("the fleet knows %s, but %s is empty: run \"wsepd heal %s\" on another machine, and start this one again: %w",
			self.name, config.Dir, self.name, err)
	case err != nil:
		return xerrors.Errorf("the registry's member: %w", listening(err))
	}
	d.registry.mu.Lock()
	d.registry.engine = engine
	d.registry.mu.Unlock()
	select {
	case err := <-engine.Failed():
		return xerrors.Errorf("the registry's member: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listening returns the error of an engine that can't start, in words for people if it can't listen.
func listening(err error) error {
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Addr != nil {
		return plain.Listening(failed.Addr.String(), err)
	}
	return err
}

// waitingAfter is how long a start without a majority takes before people are told.
const waitingAfter = 3 * time.Second

// engineTLS is the configuration of the member's connections: both ends have a certificate of the fleet.
func (d *daemon) engineTLS() *transport.TLSInfo {
	return &transport.TLSInfo{
		CertFile: d.tlsFile("cert.pem"), KeyFile: d.tlsFile("key.pem"), TrustedCAFile: d.trust.file(authorityFile),
		ClientCertAuth: true, ServerName: fleet.RegistryHost, AllowedHostnames: []string{fleet.RegistryHost}, SkipClientSANVerify: true,
	}
}

// resignTimeout bounds how long the end waits for another leader. It takes some milliseconds, unless the others are gone.
const resignTimeout = 2 * time.Second

// close closes the registry. The program must exit then. The engine is last: the node leaves through it.
func (r *registry) close() {
	if r.etcd != nil {
		_ = r.etcd.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.engine != nil {
		ctx, cancel := context.WithTimeout(context.Background(), resignTimeout)
		defer cancel()
		r.engine.Resign(ctx)
	}
}
