package fleet

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"golang.org/x/xerrors"
)

// What gateways ask of a node beside commands: to drain, and what it still waits for.

const (
	drainPath  = "/drain"
	statusPath = "/status"
	// maxAnswer bounds a node's answer, in bytes.
	maxAnswer = 1 << 10
	// adminTimeout bounds how long a node takes to answer. A node that drains waits for the registry, and for starts.
	adminTimeout = 15 * time.Second
)

// NodeStatus is what a node says about itself.
type NodeStatus struct {
	State NodeState `json:"state"`
	// Load is how many sessions and other commands the node has now.
	Load int `json:"load"`
}

// withAdmin serves what gateways ask of a node beside commands.
func (n *Node) withAdmin(commands http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", commands)
	mux.HandleFunc("GET "+statusPath, func(w http.ResponseWriter, r *http.Request) { n.tellStatus(w, r) })
	mux.HandleFunc("POST "+drainPath, func(w http.ResponseWriter, r *http.Request) {
		if err := n.Drain(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		n.tellStatus(w, r)
	})
	return mux
}

func (n *Node) tellStatus(w http.ResponseWriter, r *http.Request) {
	sessions, commands, err := n.Remaining(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(NodeStatus{n.record().State, sessions + commands}) // That nobody reads it is no error.
}

// Drain makes a node start nothing from now on, like [Node.Drain]. Once it has returned without error, no start begins there.
func (e Execer) Drain(ctx context.Context, node string) (NodeStatus, error) {
	return e.askNode(ctx, node, http.MethodPost, drainPath)
}

// Status asks a node what it still has.
func (e Execer) Status(ctx context.Context, node string) (NodeStatus, error) {
	return e.askNode(ctx, node, http.MethodGet, statusPath)
}

func (e Execer) askNode(ctx context.Context, node, method, path string) (status NodeStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	address, err := e.address(node)
	if err != nil {
		return status, err
	}
	request, err := http.NewRequestWithContext(ctx, method, e.url(node)+path, nil)
	if err != nil {
		return status, err
	}
	client := e.client(node, address)
	client.Timeout = 0 // The context bounds it.
	response, err := client.Do(request)
	if err != nil {
		return status, &unreachableError{node, err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return status, &unreachableError{node, err}
	}
	if response.StatusCode != http.StatusOK {
		return status, xerrors.Errorf("node %s: %s", node, answer)
	}
	return status, json.Unmarshal(answer, &status)
}
