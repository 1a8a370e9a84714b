package registrytest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet"
)

// Races between programs, while the registry is disturbed.

// decided makes a claim, as often as it takes to know what has become of it.
func (s *suite) decided(n *node, request fleet.ClaimRequest) (fleet.Claim, error) {
	for {
		c, err := n.Claim(s.ctx, request)
		if !errors.Is(err, fleet.ErrNoRegistry) {
			return c, err
		}
	}
}

// race lets each node claim each name, all at the same time, while the registry is disturbed. It returns the claims that were made.
func (s *suite) race(t *testing.T, names, slots int) map[string]fleet.Claim {
	nodes := []*node{s.join(t, "a"), s.join(t, "b"), s.join(t, "c")}
	var mu sync.Mutex
	made := map[string]fleet.Claim{}
	var racing sync.WaitGroup
	for _, n := range nodes {
		for i := range names {
			racing.Go(func() {
				request := n.request("alice", fmt.Sprint("name ", i))
				request.Slots = slots
				c, err := s.decided(n, request)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					if other, twice := made[c.Name]; twice {
						t.Errorf("%q was given to %q and %q", c.Name, other.ID, c.ID)
					}
					made[c.Name] = c
				case !errors.Is(err, fleet.ErrNameTaken) && !errors.Is(err, fleet.ErrQuota):
					t.Error(err)
				}
			})
		}
	}
	if s.Disturb != nil {
		s.Disturb()
	}
	racing.Wait()
	all, err := s.Open().Claims(s.ctx, "")
	require.NoError(t, err)
	require.Len(t, all, len(made))
	for _, c := range all {
		require.Equal(t, c, made[c.Name])
	}
	return made
}

func testRaceNames(t *testing.T, s *suite) { require.Len(t, s.race(t, 40, 0), 40) }

func testRaceSlots(t *testing.T, s *suite) {
	slots := map[int]bool{}
	for _, c := range s.race(t, 12, 5) {
		slots[c.Slot] = true
	}
	require.Len(t, slots, 5)
}

// testRaceJoin has many machines with the same name join at the same time.
func testRaceJoin(t *testing.T, s *suite) {
	var mu sync.Mutex
	joined := 0
	var racing sync.WaitGroup
	for i := range 6 {
		r := s.Open()
		racing.Go(func() {
			record := recordOf("a")
			record.Incarnation = fmt.Sprint("a-", i)
			_, err := r.Join(s.ctx, record)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				joined++
			case !errors.Is(err, fleet.ErrNodeTaken):
				t.Error(err)
			}
		})
	}
	racing.Wait()
	require.Equal(t, 1, joined)
}
