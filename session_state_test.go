package wsep_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// These tests run sessions in fake time, on a stage. They have a session's limits as numbers, because callers notice them:
// 10 s for a start, 30 s for the first client, 1 s for a hang-up and 1 s more for a kill.
//
// overStages runs a test over both kinds of sessions. onStage alone is about GNU screen: most such tests play its keeper and the
// processes that attach to it, which a native session does not have.

func mustAttach(t *testing.T, s *wsep.Session) wsep.Process {
	t.Helper()
	p, err := s.Attach(t.Context())
	require.NoError(t, err)
	return p
}

func requireState(t *testing.T, s *wsep.Session, want wsep.State) {
	t.Helper()
	synctest.Wait()
	state, _ := s.WaitForState(wsep.StateStarting)
	require.Equal(t, want, state)
}

func TestStatesOfASession(t *testing.T) {
	// slow is a keeper that waits, so that the test sees each state.
	slow := func(p *role) error {
		p.pause(2 * time.Second)
		err := keep(p)
		p.pause(time.Second)
		return err
	}
	type seen struct {
		state wsep.State
		err   error
		after time.Duration
	}
	// watch waits for every state.
	watch := func(s *wsep.Session) (result func() []seen) {
		began, states := time.Now(), make([]seen, wsep.StateDone+1)
		var watching sync.WaitGroup
		for want := range states {
			watching.Go(func() {
				state, err := s.WaitForState(wsep.State(want))
				states[want] = seen{state, err, time.Since(began)}
			})
		}
		return func() []seen {
			watching.Wait()
			return states
		}
	}
	requireSeen := func(t *testing.T, got []seen, text string, after ...time.Duration) {
		t.Helper()
		for i, s := range got {
			require.Equal(t, after[i].String(), s.after.String(), "state %d", i)
			if i < wsep.StateDone && after[i+1] == after[i] {
				require.LessOrEqual(t, wsep.State(i), s.state)
			} else {
				require.EqualValues(t, i, s.state)
			}
			if i < wsep.StateClosing {
				require.NoError(t, s.err)
			} else {
				require.ErrorContains(t, s.err, text)
			}
		}
	}
	// slowly makes a session take two seconds to start, and one to close.
	slowly := func(st *stage) {
		st.keep, st.ending = slow, time.Second
		if st.kind == wsep.SessionsNative {
			st.refuse = func(int) error {
				time.Sleep(2 * time.Second)
				return nil
			}
		}
	}
	overStages(t, "its command ends", func(t *testing.T, st *stage) {
		slowly(st)
		done := 8 * time.Second
		if st.kind == wsep.SessionsNative {
			done = 7 * time.Second // Nothing of it is left to close.
		}
		s := st.session(0)
		result := watch(s)
		mustAttach(t, s)
		requireState(t, s, wsep.StateReady)
		time.Sleep(5 * time.Second)
		st.command().do("exit 0")
		s.Wait()
		if st.kind == wsep.SessionsScreen {
			requireState(t, s, wsep.StateClosing)
		}
		// Too late to be the first error.
		s.Close("late")
		requireSeen(t, result(), "session is done", 0, 2*time.Second, 7*time.Second, done)
		requireState(t, s, wsep.StateDone)
	})
	overStages(t, "it is closed", func(t *testing.T, st *stage) {
		slowly(st)
		s := st.session(0)
		result := watch(s)
		time.Sleep(4 * time.Second)
		s.Close("first")
		s.Close("second")
		requireSeen(t, result(), "session is closing: first", 0, 2*time.Second, 4*time.Second, 5*time.Second)
	})
}

func TestSessionTimeout(t *testing.T) {
	for _, tc := range []struct{ timeout, first, later time.Duration }{
		{0, 5 * time.Minute, 5 * time.Minute},
		{1, 30 * time.Second, 1},
		{10 * time.Second, 30 * time.Second, 10 * time.Second},
		{7 * time.Minute, 7 * time.Minute, 7 * time.Minute},
	} {
		requireClosesAfter := func(t *testing.T, s *wsep.Session, after time.Duration) {
			t.Helper()
			began := time.Now()
			state, err := s.WaitForState(wsep.StateClosing)
			require.GreaterOrEqual(t, state, wsep.State(wsep.StateClosing))
			require.ErrorContains(t, err, "session timeout")
			requireTook(t, began, after)
			_, again := s.Attach(t.Context())
			require.ErrorIs(t, again, err)
		}
		overStages(t, fmt.Sprint(tc.timeout, " and no client comes"), func(t *testing.T, st *stage) {
			requireClosesAfter(t, st.session(tc.timeout), tc.first)
			require.Empty(t, st.all("attach"))
		})
		overStages(t, fmt.Sprint(tc.timeout, " and clients leave"), func(t *testing.T, st *stage) {
			s := st.session(tc.timeout)
			time.Sleep(tc.first - 1)
			p, q := mustAttach(t, s), mustAttach(t, s)
			time.Sleep(time.Hour)
			leave(t, p)
			time.Sleep(time.Hour)
			requireState(t, s, wsep.StateReady)
			leave(t, q)
			if tc.later > time.Second {
				time.Sleep(tc.later - 1)
				q = mustAttach(t, s)
				time.Sleep(time.Hour)
				requireState(t, s, wsep.StateReady)
				leave(t, q)
			}
			requireClosesAfter(t, s, tc.later)
		})
	}
}

func TestAttachWithContextThatEnds(t *testing.T) {
	// requireAlive checks that a client can attach, and is the only client. The command starts only then.
	requireAlive := func(t *testing.T, st *stage, s *wsep.Session) {
		t.Helper()
		require.Empty(t, st.last("new").wasTold())
		leave(t, mustAttach(t, s))
		requireState(t, s, wsep.StateReady)
		synctest.Wait()
		require.Len(t, st.last("new").wasTold(), 1)
		require.Contains(t, st.last("new").wasTold()[0], " go")
		began := time.Now()
		s.Wait()
		requireTook(t, began, 5*time.Minute)
	}
	onStage(t, "before the session has started", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.pause(5 * time.Second)
			return keep(p)
		}
		s := st.session(0)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Attach(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		requireTook(t, began, time.Second)
		requireState(t, s, wsep.StateStarting)
		requireAlive(t, st, s)
	})
	onStage(t, "before the call", func(t *testing.T, st *stage) {
		s := st.session(0)
		requireState(t, s, wsep.StateReady)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 {
			_, err := s.Attach(ctx)
			require.ErrorIs(t, err, context.Canceled)
		}
		time.Sleep(time.Minute)
		requireAlive(t, st, s)
	})
	for name, shows := range map[string]time.Duration{"soon": 1500 * time.Millisecond, "late": 4 * time.Second} {
		onStage(t, "while it attaches, which shows "+name, func(t *testing.T, st *stage) {
			st.show = func(p *role) error {
				if len(st.all("attach")) == 1 {
					p.pause(shows)
				}
				return show(p)
			}
			s := st.session(0)
			requireState(t, s, wsep.StateReady)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := s.Attach(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			requireTook(t, began, time.Second)
			p := st.last("attach")
			_ = p.Wait()
			synctest.Wait() // The session has noticed.
			requireTook(t, began, shows)
			// It gets TERM once it shows the session, or after 2 s.
			require.Equal(t, fmt.Sprint(min(shows, 3*time.Second), " TERM"), p.wasTold()[0])
			requireAlive(t, st, s)
		})
	}
	onStage(t, "while its process starts", func(t *testing.T, st *stage) {
		s := st.session(0)
		requireState(t, s, wsep.StateReady)
		st.refuse = func(n int) error {
			if n == 2 {
				ctx := st.last("attach").ctx
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Attach(ctx)
		require.Error(t, err)
		// A process that has started meanwhile has 5 s to detach.
		requireTook(t, began, 6*time.Second)
		requireAlive(t, st, s)
	})
	overStages(t, "later", func(t *testing.T, st *stage) {
		s := st.session(0)
		ctx, cancel := context.WithCancel(t.Context())
		p, err := s.Attach(ctx)
		require.NoError(t, err)
		cancel()
		require.ErrorContains(t, p.Wait(), "detached")
		requireState(t, s, wsep.StateReady)
	})
}

// TestAttachWaitsForTheSize: another client is attached, so the keeper has to fit the terminal to the new client.
func TestAttachWaitsForTheSize(t *testing.T) {
	for name, tc := range map[string]struct {
		happens func(keeper *role, cancel func()) // a second after the client has come
		takes   time.Duration
		err     error
	}{
		"until it is given": {func(k *role, _ func()) { k.say("fitted 1") }, time.Second, nil},
		"no other's":        {func(k *role, _ func()) { k.say("fitted 2") }, 3 * time.Second, nil},
		"with its keeper":   {func(k *role, _ func()) { k.do("die") }, time.Second, nil},
		"with its context":  {func(_ *role, cancel func()) { cancel() }, time.Second, context.Canceled},
	} {
		onStage(t, name, func(t *testing.T, st *stage) {
			st.keep = func(p *role) error { return keepWithout(p, "fit 1") }
			s := st.session(0)
			mustAttach(t, s)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			began := time.Now()
			time.AfterFunc(time.Second, func() { tc.happens(st.last("new"), cancel) })
			_, err := s.Attach(ctx)
			require.ErrorIs(t, err, tc.err)
			requireTook(t, began, tc.takes)
			require.Contains(t, st.last("new").wasTold(), "0s fit 1")
		})
	}
	onStage(t, "with others", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error { return keepWithout(p, "fit 1", "fit 2") }
		s := st.session(0)
		mustAttach(t, s)
		began := time.Now()
		var attaching sync.WaitGroup
		for range 20 {
			attaching.Go(func() { mustAttach(t, s) })
		}
		time.Sleep(time.Second)
		st.last("new").say("fitted 1")
		time.Sleep(time.Second)
		st.last("new").say("fitted 2")
		attaching.Wait()
		requireTook(t, began, 2*time.Second)
		require.Equal(t, []string{"0s go", "0s fit 1", "1s fit 2"}, st.last("new").wasTold())
	})
	onStage(t, "of an only client, which screen sees to", func(t *testing.T, st *stage) {
		s := st.session(0)
		leave(t, mustAttach(t, s))
		leave(t, mustAttach(t, s))
		require.Equal(t, []string{"0s go"}, st.last("new").wasTold())
	})
}

func TestExecerThatFails(t *testing.T) {
	cause := errors.New("out of order")
	failsAt := func(from, to int) func(int) error {
		return func(n int) error {
			if from <= n && n <= to {
				return cause
			}
			return nil
		}
	}
	overStages(t, "at its first Start, of the keeper", func(t *testing.T, st *stage) {
		st.refuse = failsAt(1, 1)
		s := st.session(0)
		for range 2 {
			_, err := s.Attach(t.Context())
			require.ErrorIs(t, err, cause)
		}
		state, err := s.WaitForState(wsep.StateReady)
		require.EqualValues(t, wsep.StateDone, state)
		require.ErrorIs(t, err, cause)
		require.Len(t, st.roles, 1)
	})
	onStage(t, "at its second Start, of a client", func(t *testing.T, st *stage) {
		st.refuse = failsAt(2, 2)
		s := st.session(0)
		_, err := s.Attach(t.Context())
		require.ErrorIs(t, err, cause)
		requireState(t, s, wsep.StateReady)
		leave(t, mustAttach(t, s))
	})
	onStage(t, "at its second Start, and no client comes again", func(t *testing.T, st *stage) {
		st.refuse = failsAt(2, 2)
		s := st.session(0)
		_, err := s.Attach(t.Context())
		require.ErrorIs(t, err, cause)
		began := time.Now()
		s.Wait()
		requireTook(t, began, 5*time.Minute)
	})
	onStage(t, "at its third Start, of another client", func(t *testing.T, st *stage) {
		st.refuse = failsAt(3, 3)
		s := st.session(time.Minute)
		p := mustAttach(t, s)
		_, err := s.Attach(t.Context())
		require.ErrorIs(t, err, cause)
		time.Sleep(time.Hour)
		requireState(t, s, wsep.StateReady)
		st.last("new").do("exit 3")
		requireCode(t, p.Wait(), 3)
	})
	onStage(t, "at its third Start, of another keeper", func(t *testing.T, st *stage) {
		st.refuse = failsAt(3, 3)
		s := st.session(0)
		p := mustAttach(t, s)
		time.Sleep(time.Second)
		st.last("new").do("die")
		time.Sleep(time.Second)
		requireState(t, s, wsep.StateReady)
		joins := st.all("join")
		require.Len(t, joins, 2)
		require.Equal(t, 50*time.Millisecond, joins[1].began.Sub(joins[0].began))
		require.Equal(t, []string{"0s go", "0s fit"}, joins[1].wasTold())
		joins[1].do("exit 4")
		requireCode(t, p.Wait(), 4)
	})
	for _, timeout := range []time.Duration{1, 2 * time.Minute} {
		onStage(t, fmt.Sprint("from its third Start on, for longer than ", timeout), func(t *testing.T, st *stage) {
			st.refuse = failsAt(3, 1000)
			s := st.session(timeout)
			p := mustAttach(t, s)
			began := time.Now()
			st.last("new").do("die")
			state, err := s.WaitForState(wsep.StateDone)
			require.EqualValues(t, wsep.StateDone, state)
			require.ErrorIs(t, err, cause)
			requireTook(t, began, timeout)
			require.ErrorIs(t, p.Wait(), cause)
			requireTook(t, began, timeout+500*time.Millisecond) // The client does not notice by itself.
			_, err = s.Attach(t.Context())
			require.ErrorIs(t, err, cause)
			if timeout > time.Second {
				var after []time.Duration
				for _, join := range st.all("join")[:9] {
					after = append(after, join.began.Sub(began)/time.Millisecond)
				}
				require.Equal(t, []time.Duration{0, 50, 150, 350, 750, 1550, 3150, 6350, 11350}, after)
			}
		})
	}
}

func requireCode(t *testing.T, err error, code int) {
	t.Helper()
	exit, ok := errors.AsType[wsep.ExitError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, code, exit.ExitCode())
}

func TestKeeperThatFails(t *testing.T) {
	requireFails := func(t *testing.T, s *wsep.Session, want error) {
		t.Helper()
		_, err := s.Attach(t.Context())
		require.ErrorIs(t, err, want)
		state, err := s.WaitForState(wsep.StateDone)
		require.EqualValues(t, wsep.StateDone, state)
		require.ErrorIs(t, err, want)
	}
	onStage(t, "never says started", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.say("dir /dir")
			p.pause(time.Hour)
			return nil
		}
		began := time.Now()
		requireFails(t, st.session(0), context.DeadlineExceeded)
		requireTook(t, began, 10*time.Second)
	})
	onStage(t, "says why", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.say("fail permission the reason")
			return wsep.NewExitError(1, "exit status 1")
		}
		s := st.session(0)
		requireFails(t, s, fs.ErrPermission)
		_, err := s.Attach(t.Context())
		start, ok := errors.AsType[*wsep.StartError](err)
		require.True(t, ok)
		require.EqualError(t, start.Err, "the reason")
	})
	onStage(t, "ends before it has started", func(t *testing.T, st *stage) {
		st.keep = func(*role) error { return wsep.NewExitError(2, "exit status 2") }
		s := st.session(0)
		_, err := s.Attach(t.Context())
		require.ErrorContains(t, err, "exit status 2")
		require.ErrorContains(t, err, "complaint")
		requireState(t, s, wsep.StateDone)
	})
	onStage(t, "ends again and again", func(t *testing.T, st *stage) {
		s := st.session(0)
		p := mustAttach(t, s)
		mustAttach(t, s)
		for n := range 10 {
			time.Sleep(time.Second)
			requireState(t, s, wsep.StateReady)
			require.Len(t, st.all("join"), n)
			if n == 0 {
				st.last("new").do("die")
			} else {
				st.last("join").do("die")
			}
		}
		time.Sleep(time.Second)
		require.Equal(t, []string{"0s go", "0s fit"}, st.last("join").wasTold())
		st.last("join").do("exit 5")
		requireCode(t, p.Wait(), 5)
	})
	onStage(t, "is not followed by another, for the session is gone", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			if p.kind == "join" {
				p.say("lost")
				return wsep.NewExitError(1, "exit status 1")
			}
			return keep(p)
		}
		s := st.session(0)
		p := mustAttach(t, s)
		began := time.Now()
		st.last("new").do("die")
		s.Wait()
		requireTook(t, began, 0)
		require.Len(t, st.all("join"), 1)
		requireFails(t, s, fs.ErrNotExist)
		require.ErrorIs(t, p.Wait(), fs.ErrNotExist)
	})
	onStage(t, "is lost, and the session closed", func(t *testing.T, st *stage) {
		joins := 0
		st.keep = func(p *role) error {
			if p.kind == "join" {
				if joins++; joins < 5 {
					return errors.New("not yet")
				}
			}
			return keep(p)
		}
		s := st.session(0)
		p := mustAttach(t, s)
		began := time.Now()
		st.last("new").do("die")
		time.Sleep(500 * time.Millisecond) // After four tries; the next is due at 750 ms.
		s.Close("in between")
		requireTook(t, began, 500*time.Millisecond)
		require.ErrorContains(t, p.Wait(), "in between")
		require.Equal(t, []string{"0s quit", "0s kill", "0s clean"}, st.last("join").wasTold())
	})
}

// TestSignalAfterASession checks that only a command that has exited is reported as such.
func TestSignalAfterASession(t *testing.T) {
	signal := func(t *testing.T, p wsep.Process) error {
		t.Helper()
		err := p.(wsep.Signaler).Signal(t.Context(), "INT")
		require.Error(t, err)
		return err
	}
	overStages(t, "whose command has exited", func(t *testing.T, st *stage) {
		s := st.session(0)
		p := mustAttach(t, s)
		st.command().do("exit 5")
		requireCode(t, p.Wait(), 5)
		require.ErrorIs(t, signal(t, p), os.ErrProcessDone)
	})
	onStage(t, "that was lost", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			if p.kind == "join" {
				p.say("lost")
				return wsep.NewExitError(1, "exit status 1")
			}
			return keep(p)
		}
		s := st.session(0)
		p := mustAttach(t, s)
		st.last("new").do("die")
		require.ErrorIs(t, p.Wait(), fs.ErrNotExist)
		err := signal(t, p)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NotErrorIs(t, err, os.ErrProcessDone)
	})
	overStages(t, "that was closed", func(t *testing.T, st *stage) {
		s := st.session(0)
		p := mustAttach(t, s)
		go s.Close("no reason")
		synctest.Wait()
		for range 2 {
			err := signal(t, p)
			require.ErrorContains(t, err, "session is closing: no reason")
			require.NotErrorIs(t, err, os.ErrProcessDone)
			require.EqualError(t, p.Wait(), err.Error())
		}
	})
}

func TestCloseOfASession(t *testing.T) {
	onStage(t, "during its start", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.say("dir /dir")
			p.pause(5 * time.Second)
			return keep(p)
		}
		s := st.session(0)
		attached := make(chan error, 1)
		go func() {
			_, err := s.Attach(t.Context())
			attached <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		s.Close("no reason")
		requireTook(t, began, 0)
		require.ErrorContains(t, <-attached, "session is closing: no reason")
		state, err := s.WaitForState(wsep.StateReady)
		require.EqualValues(t, wsep.StateDone, state)
		require.ErrorContains(t, err, "session is closing: no reason")
		require.True(t, st.last("new").isOver())
	})
	overStages(t, "before it has begun", func(t *testing.T, st *stage) {
		s := st.session(0)
		s.Close("no reason")
		_, err := s.Attach(t.Context())
		require.ErrorContains(t, err, "session is closing: no reason")
	})
	onStage(t, "while a client attaches", func(t *testing.T, st *stage) {
		st.show = func(p *role) error {
			for e := p.next(); e != "" && e != "end"; {
				e = p.next()
			}
			return nil
		}
		s := st.session(0)
		attached := make(chan error, 1)
		go func() {
			_, err := s.Attach(t.Context())
			attached <- err
		}()
		time.Sleep(time.Second)
		began := time.Now()
		s.Close("no reason")
		require.ErrorContains(t, <-attached, "session is closing: no reason")
		requireTook(t, began, 0)
	})
	overStages(t, "by many at once", func(t *testing.T, st *stage) {
		s := st.session(0)
		p, q := mustAttach(t, s), mustAttach(t, s)
		began := time.Now()
		s.Close("first")
		var closing sync.WaitGroup
		for range 10 {
			closing.Go(func() { s.Close("further") })
		}
		closing.Wait()
		require.ErrorContains(t, p.Wait(), "session is closing: first")
		require.ErrorContains(t, q.Wait(), "session is closing: first")
		requireTook(t, began, 0)
		requireOrdersAtTheEnd(t, st)
	})
	// slowly makes a session take a second to close.
	slowly := func(st *stage) {
		st.keep, st.ending = func(p *role) error { return keepWithout(p, "quit") }, time.Second
	}
	overStages(t, "by many at once, which takes time", func(t *testing.T, st *stage) {
		slowly(st)
		s := st.session(0)
		mustAttach(t, s)
		began := time.Now()
		var closing sync.WaitGroup
		for range 10 {
			closing.Go(func() {
				s.Close("at once")
				if took := time.Since(began); took != time.Second {
					t.Errorf("Close returned after %v", took)
				}
			})
		}
		closing.Wait()
		requireOrdersAtTheEnd(t, st)
	})
	overStages(t, "and of all others of its server, which takes no longer", func(t *testing.T, st *stage) {
		slowly(st)
		srv := wsep.NewServer()
		start := st.serve(t, srv, nil)
		for id := range 7 {
			_, err := start(wsep.Command{ID: fmt.Sprint(id), Command: "true", TTY: true})
			require.NoError(t, err)
		}
		began := time.Now()
		srv.Close()
		requireTook(t, began, time.Second)
	})
	onStage(t, "whose command ignores that it is hung up", func(t *testing.T, st *stage) {
		st.kind, st.ending = wsep.SessionsNative, time.Minute
		s := st.session(0)
		requireState(t, s, wsep.StateReady)
		began := time.Now()
		s.Close("no reason")
		requireTook(t, began, 5*time.Second) // Then its context ends.
		requireState(t, s, wsep.StateDone)
	})
	for _, tc := range []struct {
		ignored []string
		want    string
		took    time.Duration
	}{
		{nil, "0s quit, 0s kill, 0s clean", 0},
		{[]string{"quit"}, "0s quit, 1s kill, 1s clean", time.Second},
		{[]string{"quit", "kill"}, "0s quit, 1s kill, 2s clean", 2 * time.Second},
		// Another keeper does what this keeper ignores.
		{[]string{"clean"}, "0s quit, 0s kill, 0s clean", 15 * time.Second},
		{[]string{"quit", "kill", "clean"}, "0s quit, 1s kill, 2s clean", 17 * time.Second},
	} {
		onStage(t, fmt.Sprint("with a keeper that ignores ", tc.ignored), func(t *testing.T, st *stage) {
			st.keep = func(p *role) error {
				if p.kind == "join" {
					return keep(p)
				}
				return keepWithout(p, tc.ignored...)
			}
			began := time.Now()
			s := st.session(0)
			requireState(t, s, wsep.StateReady)
			s.Close("no reason")
			requireTook(t, began, tc.took)
			requireState(t, s, wsep.StateDone)
			require.Equal(t, tc.want, strings.Join(st.last("new").wasTold(), ", "))
			require.True(t, st.last("new").isOver())
			if slices.Contains(tc.ignored, "clean") {
				require.Equal(t, []string{"0s quit", "0s kill", "0s clean"}, st.last("join").wasTold())
			} else {
				require.Empty(t, st.all("join"))
			}
		})
	}
	onStage(t, "with keepers that ignore everything", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error { return keepWithout(p, "quit", "kill", "clean") }
		began := time.Now()
		s := st.session(0)
		requireState(t, s, wsep.StateReady)
		s.Close("no reason")
		requireTook(t, began, 34*time.Second)
	})
}

// requireOrdersAtTheEnd checks the orders that screen's keeper gets when its session closes. A native session has no keeper.
func requireOrdersAtTheEnd(t *testing.T, st *stage) {
	t.Helper()
	if st.kind == wsep.SessionsNative {
		return
	}
	var orders []string
	for _, told := range st.last("new").wasTold() {
		switch words := strings.Fields(told); words[1] {
		case "go", "fit", "check":
		default:
			orders = append(orders, words[1])
		}
	}
	require.Equal(t, []string{"quit", "kill", "clean"}, orders)
}

func TestHowACommandEnds(t *testing.T) {
	for said, want := range map[string]func(t *testing.T, err error){
		"exit 0":   func(t *testing.T, err error) { require.NoError(t, err) },
		"exit 9":   func(t *testing.T, err error) { requireCode(t, err, 9) },
		"exit 255": func(t *testing.T, err error) { requireCode(t, err, 255) },
		"gone":     requireUnknown,
		"exit x":   requireUnknown,
	} {
		over := overStages
		if said == "exit x" {
			over = onStage // Only screen's keeper can say that.
		}
		over(t, said, func(t *testing.T, st *stage) {
			s := st.session(0)
			p, q := mustAttach(t, s), mustAttach(t, s)
			st.command().do(said)
			want(t, p.Wait())
			want(t, q.Wait())
			_, err := s.Attach(t.Context())
			if said == "gone" && st.kind == wsep.SessionsNative {
				require.ErrorIs(t, err, wsep.ErrDisconnected)
			} else {
				require.ErrorContains(t, err, "session is done")
			}
		})
		onStage(t, said+", after the client's process", func(t *testing.T, st *stage) {
			s := st.session(0)
			p := mustAttach(t, s)
			st.last("attach").do("end")
			time.Sleep(9900 * time.Millisecond)
			st.last("new").do(said)
			want(t, p.Wait())
			require.Contains(t, st.last("new").wasTold(), "0s check")
		})
		onStage(t, said+", unnoticed by the client's process", func(t *testing.T, st *stage) {
			st.show = func(p *role) error {
				p.say("\x1b[Hshown")
				for e := p.next(); e != "" && e != "TERM"; {
					e = p.next()
				}
				return nil
			}
			s := st.session(0)
			p := mustAttach(t, s)
			began := time.Now()
			st.last("new").do(said)
			want(t, p.Wait())
			requireTook(t, began, 500*time.Millisecond)
		})
	}
	onStage(t, "not, but the client's process does", func(t *testing.T, st *stage) {
		s := st.session(0)
		p := mustAttach(t, s)
		began := time.Now()
		st.last("attach").do("end")
		require.ErrorContains(t, p.Wait(), "detached")
		requireTook(t, began, 10*time.Second)
		requireState(t, s, wsep.StateReady)
	})
}

// TestOutputOfASessionThatIsOver: the output waits a minute for its reader. It is dropped when the
// client's context ends, or when the client closes.
func TestOutputOfASessionThatIsOver(t *testing.T) {
	onStage(t, "is kept for a minute", func(t *testing.T, st *stage) {
		s := st.session(0)
		p := mustAttach(t, s)
		began := time.Now()
		st.last("new").do("exit 0")
		require.NoError(t, p.Wait())
		<-st.last("attach").ctx.Done()
		requireTook(t, began, time.Minute)
	})
	for name, abandon := range map[string]func(p wsep.Process, cancel func()){
		"is dropped with its context": func(_ wsep.Process, cancel func()) { cancel() },
		"is dropped when closed":      func(p wsep.Process, _ func()) { _ = p.Close() },
	} {
		onStage(t, name, func(t *testing.T, st *stage) {
			s := st.session(0)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := s.Attach(ctx)
			require.NoError(t, err)
			began := time.Now()
			st.last("new").do("exit 0")
			require.NoError(t, p.Wait())
			time.Sleep(time.Second)
			require.NoError(t, st.last("attach").ctx.Err())
			abandon(p, cancel)
			<-st.last("attach").ctx.Done()
			requireTook(t, began, time.Second)
		})
	}
}

func requireUnknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorContains(t, err, "unknown")
	_, ok := errors.AsType[wsep.ExitError](err)
	require.False(t, ok)
}

// TestClientThatShowsNothing: an attaching process hangs. It may ignore signals.
func TestClientThatShowsNothing(t *testing.T) {
	for _, minds := range []bool{true, false} {
		onStage(t, fmt.Sprint("minds a signal: ", minds), func(t *testing.T, st *stage) {
			st.show = func(p *role) error {
				for e := p.next(); e != "" && (e != "TERM" || !minds); {
					e = p.next()
				}
				return nil
			}
			s := st.session(time.Minute)
			began := time.Now()
			_, err := s.Attach(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			requireTook(t, began, 10*time.Second)
			requireState(t, s, wsep.StateReady)
			_ = st.last("attach").Wait()
			left := 12 * time.Second
			if !minds {
				left = 15 * time.Second
			}
			requireTook(t, began, left)
			// A process that hangs does not count as a client.
			s.Wait()
			requireTook(t, began, 10*time.Second+time.Minute)
		})
	}
	onStage(t, "and ends", func(t *testing.T, st *stage) {
		st.show = func(*role) error { return errors.New("exit status 1") }
		s := st.session(0)
		_, err := s.Attach(t.Context())
		require.ErrorContains(t, err, "attach to session")
		requireState(t, s, wsep.StateReady)
	})
	onStage(t, "but a complaint", func(t *testing.T, st *stage) {
		st.show = func(p *role) error {
			p.say("This terminal won't do.")
			return nil
		}
		s := st.session(0)
		began := time.Now()
		_, err := s.Attach(t.Context())
		require.ErrorContains(t, err, `attach to session: "This terminal won't do."`)
		requireTook(t, began, 0)
		requireState(t, s, wsep.StateReady)
		require.NotContains(t, strings.Join(st.last("new").wasTold(), " "), "go")
	})
	for ending, want := range map[string]func(*testing.T, error){
		"exit 0": func(t *testing.T, err error) { require.NoError(t, err) },
		"exit 3": func(t *testing.T, err error) {
			exit, ok := errors.AsType[wsep.ExitError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, 3, exit.ExitCode())
		},
	} {
		onStage(t, "but a complaint, since the session is done: "+ending, func(t *testing.T, st *stage) {
			st.show = func(p *role) error {
				st.last("new").commandEnds(ending)
				synctest.Wait()
				p.say("Cannot access the session's directory: No such file or directory")
				return wsep.NewExitError(1, "exit status 1")
			}
			p, err := st.session(0).Attach(t.Context())
			require.NoError(t, err)
			shown, err := io.ReadAll(p.Stdout())
			require.NoError(t, err)
			require.Empty(t, string(shown))
			want(t, p.Wait())
		})
	}
}

func TestMachineWithoutScreen(t *testing.T) {
	onStage(t, "runs the command in a plain terminal", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			p.say("none screen is not installed")
			return nil
		}
		s := st.start(&wsep.Options{Sessions: wsep.SessionsScreen})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 2 {
			p, err := s.Attach(ctx)
			require.NoError(t, err)
			plain := st.last("plain")
			require.Same(t, plain, p)
			require.Equal(t, wsep.Command{Command: "true", TTY: true}, plain.Command)
			out := make([]byte, len("\x1b[Hshown"))
			_, err = io.ReadFull(p.Stdout(), out)
			require.NoError(t, err)
			require.Equal(t, "\x1b[Hshown", string(out))
		}
		state, err := s.WaitForState(wsep.StateReady)
		require.EqualValues(t, wsep.StateDone, state)
		require.ErrorContains(t, err, "screen is not installed")
		require.Len(t, st.all("plain"), 2)
		cancel()
	})
}

// TestStartWaitsForClosingSession: a client that has the exit of a session's command can start the next session at once.
func TestStartWaitsForClosingSession(t *testing.T) {
	again := wsep.Command{ID: "1", Command: "true", TTY: true}
	for _, tc := range []struct {
		name    string
		next    wsep.Command
		ends    bool          // the first session's command ends; if not, its client leaves
		closing time.Duration // how long the first session takes to close after that
		refused bool
		took    time.Duration
	}{
		{"of the same ID", again, true, 2 * time.Second, false, 2 * time.Second},
		{"of another ID", wsep.Command{ID: "2", Command: "true", TTY: true}, true, 2 * time.Second, false, 2 * time.Second},
		{"for a plain command", wsep.Command{Command: "true"}, true, 2 * time.Second, false, 2 * time.Second},
		{"for too long", again, true, time.Hour, true, 5 * time.Second},
		{"that does not close", wsep.Command{Command: "true"}, false, 0, true, 0},
		{"that can be returned to", again, false, 0, false, 0},
	} {
		over, most := overStages, 5*time.Second
		if tc.closing > most {
			over = onStage // A native session is done with its command.
		}
		over(t, tc.name, func(t *testing.T, st *stage) {
			st.keep = func(p *role) (err error) {
				if p.kind == "new" { // The next keeper, which finishes the work, takes as long.
					err = keep(p)
				}
				p.pause(tc.closing)
				return err
			}
			took := tc.took
			if st.kind == wsep.SessionsNative {
				took = 0
			}
			start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 1})
			p, err := start(again)
			require.NoError(t, err)
			if tc.ends {
				st.command().do("exit 3")
				require.EqualError(t, p.Wait(), "exit status 3")
			} else {
				leave(t, p)
			}
			began := time.Now()
			_, err = start(tc.next)
			require.InDelta(t, took, time.Since(began), float64(100*time.Millisecond))
			if tc.refused {
				require.ErrorIs(t, err, wsep.ErrBusy)
			} else {
				require.NoError(t, err)
			}
		})
	}
	overStages(t, "by many at once", func(t *testing.T, st *stage) {
		st.keep = func(p *role) error {
			err := keep(p)
			p.pause(2 * time.Second)
			return err
		}
		start := st.serve(t, wsep.NewServer(), &wsep.Options{MaxProcesses: 10})
		p, err := start(again)
		require.NoError(t, err)
		st.command().do("exit 3")
		require.EqualError(t, p.Wait(), "exit status 3")
		var starting sync.WaitGroup
		for range 10 {
			starting.Go(func() {
				_, err := start(again)
				assert.NoError(t, err)
			})
		}
		starting.Wait()
		require.Len(t, st.all(st.command().kind), 2, "all share the next")
	})
}
