package fleet_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet"
)

func TestID(t *testing.T) {
	ring := fleet.NewKeyRing()
	id := ring.New("n1", "abc", "alice")
	got, err := ring.Verify(id.String(), "alice")
	require.NoError(t, err)
	require.Equal(t, id, got)
	require.Equal(t, "n1", got.Node)
	require.Equal(t, "abc", got.Incarnation)
	require.True(t, fleet.IsID(id.String()))
	require.NotEqual(t, id, ring.New("n1", "abc", "alice"))
}

// TestIDRefused shows IDs that nobody may use.
func TestIDRefused(t *testing.T) {
	ring := fleet.NewKeyRing()
	id := ring.New("n1", "abc", "alice").String()
	parts := strings.Split(id, ".")
	with := func(i int, text string) string {
		changed := append([]string(nil), parts...)
		changed[i] = text
		return strings.Join(changed, ".")
	}
	flipped := func(i, at int) string {
		b := []byte(parts[i])
		b[at] ^= 1
		return with(i, string(b))
	}
	for name, text := range map[string]string{
		"foreign fleet":      fleet.NewKeyRing().New("n1", "abc", "alice").String(),
		"other owner":        ring.New("n1", "abc", "bob").String(),
		"unknown key":        with(1, "2"),
		"other node":         with(2, "n2"),
		"other incarnation":  with(3, "abd"),
		"other random":       flipped(4, 3),
		"other MAC":          flipped(5, 3),
		"bits after the MAC": with(5, parts[5][:42]+string(next(parts[5][42]))),
		"short MAC":          with(5, parts[5][:42]),
		"no MAC":             with(5, ""),
		"line end in MAC":    with(5, "\n"+parts[5][1:]),
		"no parts":           "w1.",
		"one part more":      id + ".",
		"other version":      "w2" + id[2:],
		"upper case":         with(2, "N1"),
		"empty":              "",
	} {
		_, err := ring.Verify(text, "alice")
		require.ErrorIs(t, err, fleet.ErrForgedID, name)
		require.ErrorIs(t, err, fs.ErrPermission, name)
	}
	// The owner is separate from what comes before it.
	_, err := ring.Verify(ring.New("n1", "abc", "").String(), "\x00")
	require.ErrorIs(t, err, fleet.ErrForgedID)
}

// next returns another letter of base64url whose first four bits are those of c.
func next(c byte) byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return letters[strings.IndexByte(letters, c)^1]
}

// TestRotation rotates a ring, while two programs have different ones.
func TestRotation(t *testing.T) {
	first := fleet.NewKeyRing()
	added, err := first.Add()
	require.NoError(t, err)
	old := added.New("n1", "abc", "alice").String()
	_, err = first.Verify(old, "alice")
	require.NoError(t, err, "a key that was added does not sign yet")

	promoted, err := added.Promote("2")
	require.NoError(t, err)
	young := promoted.New("n1", "abc", "alice").String()
	for _, ring := range []*fleet.KeyRing{added, promoted} {
		for _, id := range []string{old, young} {
			_, err := ring.Verify(id, "alice")
			require.NoError(t, err)
		}
	}
	_, err = first.Verify(young, "alice")
	require.ErrorIs(t, err, fleet.ErrForgedID)

	removed, err := promoted.Remove("1")
	require.NoError(t, err)
	_, err = removed.Verify(young, "alice")
	require.NoError(t, err)
	_, err = removed.Verify(old, "alice")
	require.ErrorIs(t, err, fleet.ErrForgedID)

	_, err = removed.Remove("2")
	require.Error(t, err, "the key signs")
	again, err := removed.Add()
	require.NoError(t, err)
	require.Equal(t, []string{"2", "3"}, again.Keys())
	for _, change := range []func(string) (*fleet.KeyRing, error){removed.Promote, removed.Remove} {
		_, err = change("9")
		require.Error(t, err)
	}
}

func TestKeyRingText(t *testing.T) {
	ring, err := fleet.NewKeyRing().Add()
	require.NoError(t, err)
	text := string(ring.Encode())
	read, err := fleet.ParseKeyRing([]byte(text))
	require.NoError(t, err)
	require.Equal(t, text, string(read.Encode()))
	secret := strings.Fields(text)[1]
	for _, printed := range []string{fmt.Sprint(ring), fmt.Sprintf("%+v %#v", ring, ring)} {
		require.NotContains(t, printed, secret)
	}
	for _, bad := range []string{
		"", "\n", "1\n", "1 short\n", text + text, "A " + secret + "\n", "1 " + secret + " \n", strings.Repeat("1", 64) + " " + secret,
	} {
		_, err := fleet.ParseKeyRing([]byte(bad))
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), secret)
	}
}

// FuzzID checks that a text that parses is the only one of its ID, and that only what the ring has signed is verified.
func FuzzID(f *testing.F) {
	ring := fleet.NewKeyRing()
	signed := ring.New("n1", "abc", "alice")
	f.Add(signed.String(), "alice")
	f.Add(signed.String(), "bob")
	f.Add("w1.1.n1.abc.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "")
	f.Add("w1.....", "")
	f.Fuzz(func(t *testing.T, text, owner string) {
		id, err := fleet.ParseID(text)
		if err == nil && id.String() != text {
			t.Fatalf("%q is %q", text, id)
		}
		if err != nil && !errors.Is(err, fleet.ErrForgedID) {
			t.Fatal(err)
		}
		if _, err := ring.Verify(text, owner); err == nil && (text != signed.String() || owner != "alice") {
			t.Fatalf("%q of %q is verified", text, owner)
		}
	})
}

// FuzzKeyRing checks that reading a ring gives what was written.
func FuzzKeyRing(f *testing.F) {
	f.Add(fleet.NewKeyRing().Encode())
	f.Add([]byte("1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		ring, err := fleet.ParseKeyRing(text)
		if err != nil {
			return
		}
		again, err := fleet.ParseKeyRing(ring.Encode())
		if err != nil || string(again.Encode()) != string(ring.Encode()) {
			t.Fatal(err)
		}
	})
}
