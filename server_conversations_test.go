package wsep

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/proto"
)

// testKeys returns a function that returns a new key at each call.
func testKeys() func() keyHash {
	var n uint16
	return func() keyHash {
		n++
		return keyHash{byte(n), byte(n >> 8)}
	}
}

// saysNever asks a Server for a key, with a mark, and reports whether it says that no command was started under the key.
func saysNever(t *testing.T, srv *Server, key keyHash, mark string) bool {
	t.Helper()
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var answer *resumeError
	require.ErrorAs(t, srv.refuseKey("owner", key, mark), &answer)
	require.Equal(t, proto.ResumeUnknown, answer.kind)
	return answer.never
}

func endKey(srv *Server, key keyHash) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.rememberEnded("owner", key)
}

// TestNeverNeedsMemory: the server makes no promise for a time of which it has forgotten keys.
func TestNeverNeedsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, key := NewServer(), testKeys()
		early, first := srv.mark("owner"), key()
		require.True(t, saysNever(t, srv, key(), early))
		endKey(srv, first)
		require.False(t, saysNever(t, srv, first, early))

		time.Sleep(time.Second)
		for range maxDeadKeys - 1 {
			endKey(srv, key())
		}
		require.True(t, saysNever(t, srv, key(), early))
		endKey(srv, key()) // The first is forgotten.
		require.False(t, saysNever(t, srv, first, early))
		require.False(t, saysNever(t, srv, key(), early))

		time.Sleep(time.Second)
		require.True(t, saysNever(t, srv, key(), srv.mark("owner")))
	})
}

// TestNeverIsNotSaidForLong: the server remembers keys for some minutes.
func TestNeverIsNotSaidForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, key := NewServer(), testKeys()
		late, last := srv.mark("owner"), key()
		endKey(srv, last)
		time.Sleep(keyMemory - time.Second)
		require.False(t, saysNever(t, srv, last, late))
		require.True(t, saysNever(t, srv, key(), late))
		time.Sleep(time.Second)
		require.False(t, saysNever(t, srv, key(), late), "as old as what is remembered")
		require.False(t, saysNever(t, srv, last, late))
	})
}

// TestAskingForKeysIsBounded: a client that asks for many keys costs a bounded amount of memory, and other owners nothing.
func TestAskingForKeysIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, key := NewServer(), testKeys()
		ask := func(owner string) error {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			return srv.refuseKey(owner, key(), "")
		}
		kindOf := func(err error) string {
			var answer *resumeError
			require.ErrorAs(t, err, &answer)
			return answer.kind
		}
		for range maxDeadKeys {
			require.Equal(t, proto.ResumeUnknown, kindOf(ask("one")))
		}
		require.Equal(t, proto.ResumeBusy, kindOf(ask("one")))
		require.Equal(t, proto.ResumeUnknown, kindOf(ask("two")))
		require.Len(t, srv.owners["one"].refused, maxDeadKeys)
		time.Sleep(keyMemory + time.Second)
		require.Equal(t, proto.ResumeUnknown, kindOf(ask("three")))
		require.Len(t, srv.owners, 1, "owners who have not asked for long are forgotten")
	})
}

// TestPeerThatRemembersTooManyKeys does not have the conversation that a gateway looks for. Another one may.
func TestPeerThatRemembersTooManyKeys(t *testing.T) {
	t.Parallel()
	srv, key := NewServer(), testKeys()
	srv.mu.Lock()
	for range maxDeadKeys {
		_ = srv.refuseKey("", key(), "")
	}
	srv.mu.Unlock()
	peer := httptest.NewServer(&Handler{Server: srv, Execer: LocalExecer{}})
	defer peer.Close()
	_, _, err := Dialer{URL: peer.URL}.askToResume(t.Context(), &proto.Resume{Key: proto.Key{1}, Extensions: &offer})
	require.Equal(t, errNotThere, err)
}
