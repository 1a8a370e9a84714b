package fleet_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

func candidate(name string, load int) fleet.Candidate {
	return fleet.Candidate{NodeRecord: fleet.NodeRecord{Name: name, Load: load, Labels: map[string]string{"zone": name[:1]}}}
}

func TestBestOfThree(t *testing.T) {
	place := func(p fleet.BestOfThree, owner string, candidates ...fleet.Candidate) string {
		node, ok := p.Place(owner, wsep.Command{}, candidates)
		require.Equal(t, ok, node != "")
		return node
	}
	idle, coming, busy := candidate("a1", 3), candidate("a2", 1), candidate("b1", 9)
	coming.Coming = 5
	for range 20 {
		require.Equal(t, "a1", place(fleet.BestOfThree{}, "alice", busy, coming, idle))
		require.Equal(t, "b1", place(fleet.BestOfThree{Labels: map[string]string{"zone": "b"}}, "alice", busy, coming, idle))
	}
	require.Empty(t, place(fleet.BestOfThree{Labels: map[string]string{"zone": "c"}}, "alice", busy, coming, idle))
	failing := idle
	failing.Failing = true
	require.Equal(t, "a2", place(fleet.BestOfThree{}, "alice", busy, coming, failing))
	require.Equal(t, "a1", place(fleet.BestOfThree{}, "alice", failing), "better than none")
}

// TestByOwner has owners stay where they are when another node goes.
func TestByOwner(t *testing.T) {
	all := []fleet.Candidate{candidate("a", 9), candidate("b", 0), candidate("c", 5)}
	placer := fleet.BestOfThree{ByOwner: true}
	used := map[string]int{}
	for i := range 60 {
		owner := fmt.Sprint("owner", i)
		before, ok := placer.Place(owner, wsep.Command{}, all)
		require.True(t, ok)
		used[before]++
		after, ok := placer.Place(owner, wsep.Command{}, all[:2])
		require.True(t, ok)
		if before != "c" {
			require.Equal(t, before, after)
		}
	}
	require.Len(t, used, 3)
}
