package wsep_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// These tests check what counts as a process: see Options.MaxProcesses.

var (
	aSession = wsep.Command{ID: "1", Command: "true", TTY: true}
	noMore   = wsep.Command{Command: "true"}
)

// requirePlaces checks how many processes the server would still run.
func requirePlaces(t *testing.T, start func(wsep.Command) (wsep.Process, error), want int) {
	t.Helper()
	var running []wsep.Process
	for {
		p, err := start(noMore)
		if err != nil {
			require.ErrorIs(t, err, wsep.ErrBusy)
			break
		}
		running = append(running, p)
	}
	for _, p := range running {
		require.NoError(t, p.Close())
		require.NoError(t, p.Wait())
	}
	require.Len(t, running, want)
}

func TestClientsOfASessionCount(t *testing.T) {
	overStages(t, "one by one", func(t *testing.T, st *stage) {
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 3})
		var clients []wsep.Process
		for range 3 {
			p, err := start(aSession)
			require.NoError(t, err)
			clients = append(clients, p)
			requirePlaces(t, start, 3-len(clients))
		}
		for range 17 {
			began := time.Now()
			_, err := start(aSession)
			require.ErrorIs(t, err, wsep.ErrBusy)
			requireTook(t, began, 5*time.Second)
		}
		for i, left := range []int{1, 2, 2} {
			leave(t, clients[i])
			requirePlaces(t, start, left)
		}
		p, err := start(aSession)
		require.NoError(t, err)
		requirePlaces(t, start, 2)
		st.command().do("exit 3")
		require.EqualError(t, p.Wait(), "exit status 3")
		requirePlaces(t, start, 3)
	})
	overStages(t, "many at once", func(t *testing.T, st *stage) {
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 3})
		var starting sync.WaitGroup
		clients := make(chan wsep.Process, 20)
		for range cap(clients) {
			starting.Go(func() {
				if p, err := start(aSession); err == nil {
					clients <- p
				}
			})
		}
		starting.Wait()
		require.Len(t, clients, 3)
		requirePlaces(t, start, 0)
		st.command().do("exit 3")
		for range 3 {
			require.EqualError(t, (<-clients).Wait(), "exit status 3")
		}
		requirePlaces(t, start, 3)
	})
	onStage(t, "until they have left", func(t *testing.T, st *stage) {
		st.show = func(p *role) error {
			err := show(p)
			p.pause(2 * time.Second)
			return err
		}
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 1})
		p, err := start(aSession)
		require.NoError(t, err)
		require.NoError(t, p.Close())
		began := time.Now()
		_, err = start(aSession)
		require.NoError(t, err, "the client itself returns")
		requireTook(t, began, 2*time.Second)
		requirePlaces(t, start, 0)
	})
	onStage(t, "that can't attach", func(t *testing.T, st *stage) {
		st.show = func(p *role) error {
			for e := p.next(); e != "" && e != "TERM"; { // It shows nothing.
				e = p.next()
			}
			return nil
		}
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 1})
		const attaching, leaving = 10 * time.Second, 2 * time.Second
		for _, takes := range []time.Duration{attaching, leaving + attaching} {
			began := time.Now()
			_, err := start(aSession)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.InDelta(t, takes, time.Since(began), float64(100*time.Millisecond))
		}
	})
	onStage(t, "of one that does not start", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.say("fail not_found no such program")
			return nil
		}
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 2})
		_, err := start(aSession)
		require.ErrorContains(t, err, "no such program")
		requirePlaces(t, start, 2)
	})
	onStage(t, "until they are done with the session", func(t *testing.T, st *stage) {
		st.show = func(p *role) error {
			err := show(p)
			if p.kind == "attach" {
				p.pause(300 * time.Millisecond)
			}
			return err
		}
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 2})
		p, err := start(aSession)
		require.NoError(t, err)
		_, err = start(aSession)
		require.NoError(t, err)
		st.last("new").do("exit 3")
		time.Sleep(100 * time.Millisecond) // Fake time, until everything has noticed.
		requirePlaces(t, start, 0)         // The session is done, and its clients have not noticed.
		require.EqualError(t, p.Wait(), "exit status 3")
		time.Sleep(100 * time.Millisecond) // Fake time.
		requirePlaces(t, start, 2)
	})
}
