package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzOwned checks that no owner and ID are taken for others. TestNames shows that a wsep.Server joins them so.
func FuzzOwned(f *testing.F) {
	f.Add("", "main")
	f.Add("alice", "main")
	f.Add("", "5:alice:main")
	f.Add("5:alice:", ":")
	f.Fuzz(func(t *testing.T, owner, id string) {
		gotOwner, gotID := splitOwned(joinOwned(owner, id))
		require.Equal(t, owner, gotOwner)
		require.Equal(t, id, gotID)
	})
}

func TestHop(t *testing.T) {
	claim := Claim{Owner: "alice", Name: "<main>", ID: "w1.x", Slot: 2, Revision: 7}
	want := hop{Owner: "alice", Name: "<main>", ID: "w1.y", Revision: 9, Replace: &claim, ReplaceRevision: 7, LostAt: 8}
	got, err := parseHop(want.String())
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, text := range []string{"", "main", "fleet ", "fleet x", "5:alice:fleet {}"} {
		_, err := parseHop(text)
		require.Error(t, err, text)
	}
}
