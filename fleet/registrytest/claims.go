package registrytest

import (
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

// The claims of names: one each, and only while their node and a slot are there.

func testClaim(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	_, err := a.registry.Find(s.ctx, "alice", "main")
	require.ErrorIs(t, err, fs.ErrNotExist)
	request := a.request("alice", "main")
	claimed, err := a.Claim(s.ctx, request)
	require.NoError(t, err)
	again, err := a.Claim(s.ctx, request)
	require.NoError(t, err, "a claim whose answer was lost is made again")
	require.Equal(t, claimed, again)
	s.requireTaken(t, b, b.request("alice", "main"), claimed)
	s.requireTaken(t, a, a.request("alice", "main"), claimed)
	other := s.claim(t, b, "bob", "main", 0)
	require.Greater(t, other.Revision, claimed.Revision)

	of := func(node string) (claims []fleet.Claim) {
		claims, err := s.Open().Claims(s.ctx, node)
		require.NoError(t, err)
		return claims
	}
	require.ElementsMatch(t, []fleet.Claim{claimed, other}, of(""))
	require.Equal(t, []fleet.Claim{other}, of("b"))
	require.Empty(t, of("c"))
}

// testNames claims names that are hard to tell apart, or to put into a key.
func testNames(t *testing.T, s *suite) {
	a := s.join(t, "a")
	want := map[[2]string]fleet.Claim{}
	for _, key := range [][2]string{
		{"", "x"}, {"", "/x"}, {"/", "x"}, {"a/b", "c"}, {"a", "b/c"}, {"a%2Fb", "c"}, {".", ".."}, {"..", "."}, {"é", "日本"}, {"\t", "\x00"},
		{"a", " "}, {"A", "B"}, {"a", "b"},
	} {
		want[key] = s.claim(t, a, key[0], key[1], 3)
	}
	for key, c := range want {
		found, err := s.Open().Find(s.ctx, key[0], key[1])
		require.NoError(t, err)
		require.Equal(t, c, found)
	}
	long := make([]byte, 1000)
	for _, key := range [][2]string{{"a", ""}, {"a", string(long)}, {string(long), "a"}, {"a", "w1.x"}, {"a", "\xff"}, {"\xff", "a"}} {
		_, err := a.Claim(s.ctx, a.request(key[0], key[1]))
		require.ErrorIs(t, err, wsep.ErrInvalidCommand)
	}
}

func testSlots(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	first := s.claim(t, a, "alice", "1", 2)
	s.claim(t, b, "alice", "2", 2)
	full := a.request("alice", "3")
	full.Slots = 2
	_, err := a.Claim(s.ctx, full)
	require.ErrorIs(t, err, fleet.ErrQuota)
	require.ErrorIs(t, err, wsep.ErrBusy)
	_, err = a.registry.Find(s.ctx, "alice", "3")
	require.ErrorIs(t, err, fs.ErrNotExist)
	s.claim(t, a, "bob", "3", 2)
	s.claim(t, a, "alice", "unbounded", 0)
	require.NoError(t, a.Release(s.ctx, first))
	s.claim(t, a, "alice", "3", 2)
}

func testRelease(t *testing.T, s *suite) {
	a := s.join(t, "a")
	first := s.claim(t, a, "alice", "main", 1)
	require.NoError(t, a.Release(s.ctx, first))
	require.NoError(t, a.Release(s.ctx, first))
	second := s.claim(t, a, "alice", "main", 1)
	require.NoError(t, a.Release(s.ctx, first), "the claim is another one now")
	found, err := a.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err)
	require.Equal(t, second, found)
	full := a.request("alice", "other")
	full.Slots = 1
	_, err = a.Claim(s.ctx, full)
	require.ErrorIs(t, err, fleet.ErrQuota, "the second claim holds the slot")
}

func testReplace(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	old := s.claim(t, a, "alice", "main", 1)
	request := b.request("alice", "main")
	request.Slots, request.Replace, request.LostAt = 1, &old, 1<<60
	s.requireTaken(t, b, request, old)

	lost := s.kill(t, a)
	request.LostAt = lost
	wrong := old
	wrong.Revision--
	stale := request
	stale.Replace = &wrong
	s.requireTaken(t, b, stale, old)
	replaced, err := b.Claim(s.ctx, request)
	require.NoError(t, err)
	require.Equal(t, old.Slot, replaced.Slot)
	found, err := b.registry.Find(s.ctx, "alice", "main")
	require.NoError(t, err)
	require.Equal(t, replaced, found)
	third := b.request("alice", "main")
	third.Replace, third.LostAt = &old, lost
	s.requireTaken(t, b, third, replaced)
}

// testReplaceReturned loses a node, which comes back, and loses it again. A node that has seen only the first loss must not take its
// names.
func testReplaceReturned(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	old := s.claim(t, a, "alice", "main", 0)
	first := s.kill(t, a)
	second := s.kill(t, s.join(t, "a"))
	request := b.request("alice", "main")
	request.Replace, request.LostAt = &old, first
	s.requireTaken(t, b, request, old)
	request.LostAt = second
	_, err := b.Claim(s.ctx, request)
	require.NoError(t, err)
}

func testForget(t *testing.T, s *suite) {
	a, b := s.join(t, "a"), s.join(t, "b")
	s.claim(t, a, "alice", "main", 1)
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "none"), fs.ErrNotExist)
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "main"), fleet.ErrNodeLives)
	s.kill(t, a)
	require.NoError(t, b.registry.Forget(s.ctx, "alice", "main"))
	require.ErrorIs(t, b.registry.Forget(s.ctx, "alice", "main"), fs.ErrNotExist)
	s.claim(t, b, "alice", "other", 1)
}
