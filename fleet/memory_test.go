package fleet_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/fleet/registrytest"
)

func TestMemory(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Setup {
		m := fleet.NewMemory()
		return registrytest.Setup{
			Open: func() fleet.Registry { return m },
			Kill: func(_ fleet.Registry, node string) { m.Expire(node) },
		}
	})
}

// TestMemoryBehind has a program that does not take changes for too long.
func TestMemoryBehind(t *testing.T) {
	m := fleet.NewMemory()
	member, err := m.Join(t.Context(), fleet.NodeRecord{Name: "a", Incarnation: "1"})
	require.NoError(t, err)
	told := 0
	err = m.Watch(t.Context(), func(fleet.Change) {
		told++
		for range 2500 {
			require.NoError(t, member.Update(context.Background(), fleet.NodeRecord{}))
		}
	})
	require.ErrorIs(t, err, fleet.ErrNoRegistry)
	require.Equal(t, 1, told)
}
