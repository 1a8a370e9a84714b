package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/etcd"
)

// The commands of an operator reach a running wsepd over a Unix socket, in its directory. Only its user can open that.

const (
	adminSocket = "admin.sock"
	// adminHost is the host of the requests. Nothing is looked up.
	adminHost = "http://wsepd"
)

// listing is the answer to ls.
type listing struct {
	Nodes    []listedNode    `json:"nodes"`
	Sessions []listedSession `json:"sessions"`
	// Silent are the nodes that did not answer. Their sessions are missing, but for their names.
	Silent []string `json:"silent"`
	// Registry says why the registry can't be reached, or is empty.
	Registry string `json:"registry,omitempty"`
}

type listedNode struct {
	Name    string          `json:"name"`
	State   fleet.NodeState `json:"state"`
	Load    int             `json:"load"`
	Address string          `json:"address"`
}

type listedSession struct {
	Owner   string `json:"owner"`
	Name    string `json:"name"`
	Node    string `json:"node"`
	ID      string `json:"id"`
	Clients int    `json:"clients"`
	// State is running, exited, or unreachable.
	State   string   `json:"state"`
	Command []string `json:"command"`
}

const (
	stateRunning     = "running"
	stateExited      = "exited"
	stateUnreachable = "unreachable"
	// nodeLost is the state of a node without a record.
	nodeLost fleet.NodeState = "lost"
)

// startAdmin serves an operator's commands.
func (d *daemon) startAdmin(ctx context.Context) error {
	path := filepath.Join(d.dir, adminSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // No other program uses the directory.
		return err
	}
	listener, err := net.Listen("unix", path) // The directory keeps others out.
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close()
		return err
	}
	server := &http.Server{Handler: d.adminHandler(), BaseContext: func(net.Listener) context.Context { return ctx }}
	d.do(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	d.background.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	return nil
}

func (d *daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, do func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			result, err := do(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
				return
			}
			_ = json.NewEncoder(w).Encode(result) // That nobody reads it is no error.
		})
	}
	answer("GET /ls", func(r *http.Request) (any, error) { return d.list(r.Context()) })
	answer("GET /status", func(r *http.Request) (any, error) { return d.execer.Status(r.Context(), r.FormValue("node")) })
	answer("POST /drain", func(r *http.Request) (any, error) { return d.drain(r.Context(), r.FormValue("node")) })
	answer("POST /forget", func(r *http.Request) (any, error) {
		return nil, d.forget(r.Context(), r.FormValue("owner"), r.FormValue("name"))
	})
	answer("POST /heal", func(r *http.Request) (any, error) { return nil, d.heal(r.Context(), r.FormValue("name")) })
	return mux
}

// list returns what is known of the fleet. It does without the registry if need be.
func (d *daemon) list(ctx context.Context) (l listing, err error) {
	sessions, silent, err := d.execer.Survey(ctx)
	if err != nil {
		return l, err
	}
	l = listing{Nodes: []listedNode{}, Sessions: []listedSession{}, Silent: silent}
	for _, n := range d.view.Nodes() {
		l.Nodes = append(l.Nodes, listedNode{n.Name, n.State, n.Load, n.Address})
	}
	for _, n := range d.view.Lost() {
		l.Nodes = append(l.Nodes, listedNode{n.Name, nodeLost, n.Load, n.Address})
	}
	found := map[string]bool{}
	for _, s := range sessions {
		found[s.FleetID] = true
		state := stateRunning
		if s.Exited {
			state = stateExited
		}
		command := append([]string{s.Command.Command}, s.Command.Args...)
		l.Sessions = append(l.Sessions, listedSession{s.Owner, s.Name, s.Node, s.FleetID, s.Clients, state, command})
	}
	claims, err := d.registry.Claims(ctx, "")
	if err != nil {
		l.Registry = err.Error()
	}
	for _, c := range claims {
		if !found[c.ID] {
			l.Sessions = append(l.Sessions, listedSession{Owner: c.Owner, Name: c.Name, Node: c.Node(), ID: c.ID, State: stateUnreachable})
		}
	}
	return l, nil
}

// drain makes a node start nothing from now on.
func (d *daemon) drain(ctx context.Context, node string) (fleet.NodeStatus, error) {
	if err := d.known(node); err != nil {
		return fleet.NodeStatus{}, err
	}
	status, err := d.execer.Drain(ctx, node)
	if err != nil {
		return status, xerrors.Errorf("it is not known whether %s drains, so try again: %w", node, err)
	}
	return status, nil
}

// known returns an error unless a node lives.
func (d *daemon) known(node string) error {
	for _, n := range d.view.Nodes() {
		if n.Name == node {
			return nil
		}
	}
	for _, n := range d.view.Lost() {
		if n.Name == node {
			return xerrors.Errorf("node %s is lost: nothing starts there until it comes back", node)
		}
	}
	return xerrors.Errorf("there is no node %s", node)
}

// forget gives up the name of a session whose node is lost.
func (d *daemon) forget(ctx context.Context, owner, name string) error {
	err := d.registry.Forget(ctx, owner, name)
	switch {
	case errors.Is(err, fleet.ErrNodeLives):
		return xerrors.Errorf("the node with %q is in the fleet, so end the session with \"wsep kill\": %w", name, err)
	case errors.Is(err, fs.ErrNotExist):
		return xerrors.Errorf("owner %q has no session %q", owner, name)
	}
	return err
}

// healTimeout is how long the engine refuses changes of its members after one of them was lost.
const healTimeout = 20 * time.Second

// heal lets a member of the registry start with an empty directory.
func (d *daemon) heal(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	for _, p := range d.peers {
		if p.name != name {
			continue
		}
		for {
			err := d.registry.etcd.Heal(ctx, name, p.member())
			switch {
			case errors.Is(err, etcd.ErrMemberLives):
				return xerrors.Errorf("%s may run, so end it first: %w", name, err)
			case errors.Is(err, fleet.ErrNoRegistry) && ctx.Err() == nil:
				continue // It needs some seconds to know that the others are there.
			}
			return err
		}
	}
	return xerrors.Errorf("--peers has no %s, so it keeps no registry", name)
}
