package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"cdr.dev/wsep"
)

// PlacedSession is a session, and where it is.
type PlacedSession struct {
	wsep.SessionInfo
	// Owner is whose it is.
	Owner string
	// Name is empty if the session has none, or has lost it.
	Name string
	// FleetID is the session's [ID].
	FleetID string
	// Node is the name of the node that has it.
	Node string
}

// listTimeout bounds how long nodes are waited for that are asked for their sessions.
const listTimeout = time.Second

// Survey returns the sessions of the nodes that answer within a second, oldest first, and the names of the nodes that do not.
func (e Execer) Survey(ctx context.Context) (sessions []PlacedSession, silent []string, err error) {
	if err := e.View.await(ctx); err != nil {
		return nil, nil, err
	}
	asking, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var mu sync.Mutex // guards sessions and silent
	var all sync.WaitGroup
	for _, n := range e.View.Nodes() {
		all.Go(func() {
			infos, err := e.dialer(n.Name, n.Address).Sessions(asking)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				silent = append(silent, n.Name)
			}
			for _, info := range infos {
				if s, ok := e.placed(n.Name, info); ok {
					sessions = append(sessions, s)
				}
			}
		})
	}
	all.Wait()
	slices.SortStableFunc(sessions, func(a, b PlacedSession) int { return a.Started.Compare(b.Started) })
	slices.Sort(silent)
	return sessions, silent, ctx.Err()
}

// placed returns what a node's keeper says about a session, in a gateway's words. It has the name only if that is the session's as far
// as the gateway knows: it may have been given away, or be too new.
func (e Execer) placed(node string, info wsep.SessionInfo) (s PlacedSession, ok bool) {
	h, err := parseHop(info.ID)
	if err != nil {
		return s, false
	}
	s = PlacedSession{SessionInfo: info, Owner: h.Owner, FleetID: h.ID, Node: node}
	id := h.ID
	if c, known := e.View.claim(h.Owner, h.Name); known && c.ID == h.ID {
		s.Name, id = h.Name, h.Name
	}
	s.ID = joinOwned(h.Owner, id)
	s.Command.ID = s.ID
	return s, true
}

// Sessions implements wsep.SessionManager. It tells of the sessions of the nodes that answer within a second: see [Execer.List].
func (e Execer) Sessions(ctx context.Context) ([]wsep.SessionInfo, error) {
	infos, _, err := e.List(ctx)
	return infos, err
}

// List is Survey in the words of a wsep.SessionManager. The ID of each session is what a wsep.Server makes of its owner, and its name
// or ID.
func (e Execer) List(ctx context.Context) (infos []wsep.SessionInfo, silent []string, err error) {
	sessions, silent, err := e.Survey(ctx)
	for _, s := range sessions {
		infos = append(infos, s.SessionInfo)
	}
	return infos, silent, err
}
