package fleet

import (
	"encoding/base64"
	"io/fs"
	"strings"

	"golang.org/x/xerrors"
)

// ID identifies a session for ever, and says where it is. As text it is w1.KEY.NODE.INCARNATION.RANDOM.MAC: the MAC is over the rest
// and the session's owner. [KeyRing.New] makes IDs. [KeyRing.Verify] says whether a text is one of the fleet's.
type ID struct {
	// Key names the key of the MAC.
	Key string
	// Node is the name of the node that has the session.
	Node string
	// Incarnation is the node's incarnation when the session was made.
	Incarnation string
	// Random tells the node's sessions apart.
	Random string

	mac string
}

const (
	idPrefix = "w1."
	// randomSize is how many bytes of an ID are random.
	randomSize = 16
	// maxLabel is how long a node's name may be, and an incarnation: as a label in DNS (RFC 1035 section 2.3.4).
	maxLabel = 63
)

// ErrForgedID is matched by the error of an ID that no key of this fleet has signed for this owner. It matches [fs.ErrPermission].
var ErrForgedID = xerrors.Errorf("ID is not of this fleet and owner: %w", fs.ErrPermission)

// IsID reports whether a client means an ID by a text, and not a name. The ID may be forged.
func IsID(text string) bool { return strings.HasPrefix(text, idPrefix) }

// String returns the ID as text.
func (id ID) String() string { return id.signed() + "." + id.mac }

// signed returns the part of the text that the MAC is over.
func (id ID) signed() string {
	return idPrefix + strings.Join([]string{id.Key, id.Node, id.Incarnation, id.Random}, ".")
}

// ParseID returns the parts of an ID. It does not say who has made it: see [KeyRing.Verify]. Each ID has one text.
func ParseID(text string) (ID, error) {
	rest, ok := strings.CutPrefix(text, idPrefix)
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 5 {
		return ID{}, ErrForgedID
	}
	id := ID{parts[0], parts[1], parts[2], parts[3], parts[4]}
	if !isLabel(id.Key) || !isLabel(id.Node) || !isLabel(id.Incarnation) || !isBytes(id.Random, randomSize) || !isBytes(id.mac, macSize) {
		return ID{}, ErrForgedID
	}
	return id, nil
}

// IDs carry bytes in base64url without padding, which has no dots.
var encoding = base64.RawURLEncoding.Strict()

// isBytes reports whether a text stands for n bytes.
func isBytes(text string, n int) bool {
	// The length is checked first: decoding skips line ends.
	if len(text) != encoding.EncodedLen(n) {
		return false
	}
	decoded, err := encoding.DecodeString(text)
	return err == nil && len(decoded) == n
}

// isLabel reports whether a text is a label as in a host's name: lower-case letters, digits, and hyphens inside.
func isLabel(text string) bool {
	if text == "" || len(text) > maxLabel || text[0] == '-' || text[len(text)-1] == '-' {
		return false
	}
	for _, c := range []byte(text) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
