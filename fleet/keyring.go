package fleet

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/xerrors"
)

// KeyRing has the keys that sign IDs. The first one signs, and all of them verify. All nodes and gateways of a fleet have the same
// keys. Whoever has them can make IDs, so they are as secret as a password, and not in the registry. A KeyRing does not change. It is
// safe for concurrent use.
//
// To rotate: give all of them the ring of [KeyRing.Add], then the ring of [KeyRing.Promote], and when no session of an old key is
// left, the ring of [KeyRing.Remove].
type KeyRing struct{ keys []ringKey }

type ringKey struct {
	name   string
	secret []byte
}

const (
	macSize = sha256.Size
	keySize = 32
	// maxKeys bounds the keys of a ring. The file that holds them comes from outside.
	maxKeys = 16
)

var errNoKey = xerrors.New("there is no such key")

// NewKeyRing returns a ring with one new key.
func NewKeyRing() *KeyRing { return &KeyRing{[]ringKey{newKey("1")}} }

func newKey(name string) ringKey {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // It never fails.
	return ringKey{name, secret}
}

// ParseKeyRing reads what [KeyRing.Encode] has written. Its errors do not contain the text.
func ParseKeyRing(text []byte) (*KeyRing, error) {
	r := &KeyRing{}
	for line := range bytes.Lines(text) {
		key, err := parseKey(string(line))
		if err != nil {
			return nil, xerrors.Errorf("key %d: %w", len(r.keys)+1, err)
		}
		if r.index(key.name) >= 0 || len(r.keys) == maxKeys {
			return nil, xerrors.Errorf("key %d has the name of another one, or is one too many", len(r.keys)+1)
		}
		r.keys = append(r.keys, key)
	}
	if len(r.keys) == 0 {
		return nil, xerrors.New("there are no keys")
	}
	return r, nil
}

func parseKey(line string) (ringKey, error) {
	name, secret, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !isLabel(name) {
		return ringKey{}, xerrors.New("the name is no label of lower-case letters and digits")
	}
	if !isBytes(secret, keySize) {
		return ringKey{}, xerrors.Errorf("the key is not %d bytes in base64url", keySize)
	}
	decoded, err := encoding.DecodeString(secret)
	return ringKey{name, decoded}, err
}

// Encode returns the ring as text: a line for each key, with its name and the key. Keep it in a file of mode 0600.
func (r *KeyRing) Encode() []byte {
	var text bytes.Buffer
	for _, k := range r.keys {
		fmt.Fprintf(&text, "%s %s\n", k.name, encoding.EncodeToString(k.secret))
	}
	return text.Bytes()
}

// String returns the keys' names. So a ring that is printed tells no secrets.
func (r *KeyRing) String() string { return strings.Join(r.Keys(), " ") }

// GoString returns what String does.
func (r *KeyRing) GoString() string { return r.String() }

// Keys returns the keys' names. The first signs.
func (r *KeyRing) Keys() (names []string) {
	for _, k := range r.keys {
		names = append(names, k.name)
	}
	return names
}

func (r *KeyRing) index(name string) int {
	return slices.IndexFunc(r.keys, func(k ringKey) bool { return k.name == name })
}

// Add returns a ring with one more key, which verifies and does not sign yet.
func (r *KeyRing) Add() (*KeyRing, error) {
	if len(r.keys) >= maxKeys {
		return nil, xerrors.Errorf("a ring has at most %d keys", maxKeys)
	}
	return &KeyRing{append(slices.Clone(r.keys), newKey(r.unusedName()))}, nil
}

// unusedName returns a name for another key: the number after the highest one.
func (r *KeyRing) unusedName() string {
	highest := uint64(0)
	for _, k := range r.keys {
		if n, err := strconv.ParseUint(k.name, 10, 32); err == nil {
			highest = max(highest, n)
		}
	}
	return strconv.FormatUint(highest+1, 10)
}

// Promote returns a ring in which the named key signs.
func (r *KeyRing) Promote(name string) (*KeyRing, error) {
	i := r.index(name)
	if i < 0 {
		return nil, errNoKey
	}
	keys := slices.Delete(slices.Clone(r.keys), i, i+1)
	return &KeyRing{slices.Insert(keys, 0, r.keys[i])}, nil
}

// Remove returns a ring without the named key. The IDs that it has signed are then refused. The key that signs can't be removed.
func (r *KeyRing) Remove(name string) (*KeyRing, error) {
	i := r.index(name)
	if i < 0 {
		return nil, errNoKey
	}
	if i == 0 {
		return nil, xerrors.New("the key signs: promote another one first")
	}
	return &KeyRing{slices.Delete(slices.Clone(r.keys), i, i+1)}, nil
}

// New returns the ID of a new session of a node. The node's name and incarnation are labels: see [NodeRecord].
func (r *KeyRing) New(node, incarnation, owner string) ID {
	random := make([]byte, randomSize)
	_, _ = rand.Read(random) // It never fails.
	id := ID{Key: r.keys[0].name, Node: node, Incarnation: incarnation, Random: encoding.EncodeToString(random)}
	id.mac = encoding.EncodeToString(r.keys[0].sign(id, owner))
	return id
}

// Verify returns the ID that a text stands for. If it is not an ID of this fleet, or not the owner's, the error matches
// [ErrForgedID].
func (r *KeyRing) Verify(text, owner string) (ID, error) {
	id, err := ParseID(text)
	if err != nil {
		return ID{}, err
	}
	i := r.index(id.Key)
	if i < 0 {
		return ID{}, ErrForgedID
	}
	mac, err := encoding.DecodeString(id.mac)
	if err != nil || !hmac.Equal(mac, r.keys[i].sign(id, owner)) {
		return ID{}, ErrForgedID
	}
	return id, nil
}

// sign returns the MAC of an owner's ID. The owner stands last, and the rest has no zero byte. So no two inputs are the same.
func (k ringKey) sign(id ID, owner string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	_, _ = mac.Write([]byte("wsep fleet session\x00" + id.signed() + "\x00" + owner)) // It never fails.
	return mac.Sum(nil)
}
