package fleet

import (
	"context"
	"fmt"
	"io/fs"
	"time"
	"unicode/utf8"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// Registry is what the nodes and gateways of a fleet agree on. [NewMemory] returns one for one process, and package etcd one for many
// machines. Package registrytest is the contract as a test suite. A Registry is safe for concurrent use.
//
// All changes have an order, and [Change.Revision] counts them. A method that has returned is seen by all later ones, wherever they
// are called. If the registry can't be reached, or has no majority, the error matches [ErrNoRegistry]. A change may have been made
// then, or may still be made. The methods return within a few seconds in any case.
type Registry interface {
	// Join makes the record of a node. It lives until Leave, or until it was not renewed for the registry's time to live. The
	// Membership renews it. If another node has the name, the error matches [ErrNodeTaken]. A record of the same incarnation is an
	// earlier one of this node: it is replaced, and its Membership is lost.
	Join(ctx context.Context, record NodeRecord) (Membership, error)
	// Nodes returns the records of all nodes, by name.
	Nodes(ctx context.Context) ([]NodeRecord, error)
	// Find returns the claim of an owner's name. If there is none the error matches [fs.ErrNotExist].
	Find(ctx context.Context, owner, name string) (Claim, error)
	// Claims returns all claims of the sessions of a node, of all its incarnations, in no order. An empty node means those of all nodes.
	Claims(ctx context.Context, node string) ([]Claim, error)
	// Forget gives up the claim of a node that is lost. If the node has a record, the error matches [ErrNodeLives]. If there is
	// no such claim it matches [fs.ErrNotExist].
	Forget(ctx context.Context, owner, name string) error
	// Watch tells of everything that there is, and then of each change, in order. While the registry can't be reached it may wait, or
	// return an error. The receiver then has to watch anew. Watch returns the context's error when that ends. Nothing is told after
	// it has returned.
	Watch(ctx context.Context, tell func(Change)) error
}

// Membership is a node's place in a fleet. It is safe for concurrent use.
type Membership interface {
	// Update changes the node's record, but not its name and incarnation. If the node has lost its record, the error matches
	// [ErrNotMember].
	Update(ctx context.Context, record NodeRecord) error
	// Claim claims a name, in one transaction. A name that is claimed for this ID already is no error. Claim fails if the node has lost its record, with [ErrNotMember], if somebody has the
	// name, with [ErrNameTaken], or if the owner has no slot left, with [ErrQuota]. In these cases nothing is changed.
	Claim(ctx context.Context, request ClaimRequest) (Claim, error)
	// Release gives up a claim, if it is still there as it is given. Otherwise it does nothing.
	Release(ctx context.Context, claim Claim) error
	// Renewed returns a time that is not later than the record's last renewal. It has a monotonic clock reading.
	Renewed() time.Time
	// Lost is closed when the record is known to be gone, also after Leave.
	Lost() <-chan struct{}
	// Leave removes the record. The claims stay. Leave may be called several times.
	Leave(ctx context.Context) error
}

// NodeRecord is what a node tells the fleet about itself.
type NodeRecord struct {
	// Name is the node's name: a label, of at most 63 lower-case letters, digits and hyphens.
	Name string `json:"name"`
	// Incarnation is a label too. A record with another incarnation is another node.
	Incarnation string `json:"incarnation"`
	// Address is the host and the port at which gateways reach the node.
	Address string `json:"address"`
	// State says whether the node starts commands.
	State NodeState `json:"state"`
	// Load is how many sessions the node has, and how many commands without ID it runs.
	Load int `json:"load"`
	// Labels are for a [Placer].
	Labels map[string]string `json:"labels,omitempty"`
}

// NodeState says whether a node starts commands.
type NodeState string

const (
	// NodeReady says that the node starts commands.
	NodeReady NodeState = "ready"
	// NodeDraining says that clients can attach to the node's sessions, and that it starts nothing.
	NodeDraining NodeState = "draining"
)

// Claim says which session has a name.
type Claim struct {
	// Owner and Name are what is claimed.
	Owner string `json:"owner"`
	Name  string `json:"name"`
	// ID is the session's.
	ID string `json:"id"`
	// Slot is the number of the owner's slot that the claim fills. It is negative if owners have no slots.
	Slot int `json:"slot"`
	// Revision is that of the change that made the claim.
	Revision int64 `json:"-"`
}

// Node returns the name of the node that has the session.
func (c Claim) Node() string {
	id, err := ParseID(c.ID)
	if err != nil {
		return ""
	}
	return id.Node
}

// ClaimRequest is what a node claims.
type ClaimRequest struct {
	Owner, Name string
	// ID is the session's. It is one of the node's.
	ID ID
	// Slots is how many names the owner may have at a time. 0 means any number.
	Slots int
	// Replace, if set, is a claim of a lost node that this one takes the place of, with its slot. It must be there as it is given.
	Replace *Claim
	// LostAt is the revision at which the node of Replace was seen to be lost. If it has come back since, the error matches
	// [ErrNameTaken], even if it is lost again.
	LostAt int64
}

// Change is what has changed in a registry.
type Change struct {
	// Revision is that of the change. It is greater than that of the last Change.
	Revision int64
	// All says that Nodes and Claims are all that there is. Otherwise they are new or have changed.
	All    bool
	Nodes  []NodeRecord
	Claims []Claim
	// GoneNodes and GoneClaims are no longer there. Of a claim, only Owner and Name are set.
	GoneNodes  []string
	GoneClaims []Claim
}

var (
	// ErrNoRegistry is matched by the error of anything that needs the registry while that can't be reached.
	ErrNoRegistry = xerrors.New("the fleet's registry can't be reached")
	// ErrNodeTaken is matched by the error of a node that can't join because another one has its name.
	ErrNodeTaken = xerrors.New("another node has this name")
	// ErrNodeLives is matched by the error of Forget for a session of a node that is not lost.
	ErrNodeLives = xerrors.New("the session's node is not lost")
	// ErrNotMember is matched by the error of a node without a record.
	ErrNotMember = xerrors.New("the node has no record in the registry")
	// ErrNameTaken is matched by the error of a claim of a name that is claimed already. A [TakenError] says by what.
	ErrNameTaken = xerrors.New("another session has this name")
	// ErrQuota is matched by the error of a start for an owner whose slots are full. It matches [wsep.ErrBusy].
	ErrQuota = xerrors.Errorf("the owner has as many names as it may: %w", wsep.ErrBusy)
)

// TakenError is the error of a claim of a name that is claimed already. It matches [ErrNameTaken].
type TakenError struct{ Claim Claim }

func (e *TakenError) Error() string {
	return fmt.Sprintf("%v: node %s", ErrNameTaken, e.Claim.Node())
}

// Is reports whether the target is [ErrNameTaken].
func (e *TakenError) Is(target error) bool { return target == ErrNameTaken }

// NoRegistry returns an error that matches [ErrNoRegistry] and its cause. It is for implementations of [Registry].
func NoRegistry(cause error) error { return &noRegistryError{cause} }

type noRegistryError struct{ cause error }

func (e *noRegistryError) Error() string        { return ErrNoRegistry.Error() + ": " + e.cause.Error() }
func (e *noRegistryError) Unwrap() error        { return e.cause }
func (e *noRegistryError) Is(target error) bool { return target == ErrNoRegistry }

// maxText bounds an owner, and a name, in bytes. Both are part of a key in the registry.
const maxText = 512

// CheckNode returns an error unless a node's record can be in a registry.
func CheckNode(r NodeRecord) error {
	if !isLabel(r.Name) || !isLabel(r.Incarnation) {
		return xerrors.Errorf("node %q: name and incarnation have 1 to %d lower-case letters, digits and hyphens: %w", r.Name, maxLabel, wsep.ErrInvalidCommand)
	}
	return nil
}

// CheckClaim returns an error unless a request can be in a registry.
func CheckClaim(r ClaimRequest) error {
	if len(r.Name) > maxText || r.Name == "" || IsID(r.Name) || !utf8.ValidString(r.Name) {
		return xerrors.Errorf("a name is UTF-8, has 1 to %d bytes, and does not look like an ID: %w", maxText, wsep.ErrInvalidCommand)
	}
	if len(r.Owner) > maxText || !utf8.ValidString(r.Owner) {
		return xerrors.Errorf("an owner is UTF-8, and has at most %d bytes: %w", maxText, wsep.ErrInvalidCommand)
	}
	if r.Replace != nil && (r.Replace.Owner != r.Owner || r.Replace.Name != r.Name) {
		return xerrors.Errorf("a claim can replace one of the same name: %w", wsep.ErrInvalidCommand)
	}
	return nil
}

// NoClaim returns the error of a name that nobody has claimed. It is for implementations of [Registry].
func NoClaim(name string) error {
	return xerrors.Errorf("there is no session %q: %w", name, fs.ErrNotExist)
}
