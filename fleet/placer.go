package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"slices"

	"cdr.dev/wsep"
)

// Candidate is a node at which a command may start.
type Candidate struct {
	NodeRecord
	// Coming is how many starts of this gateway are on their way to the node.
	Coming int
	// Failing says that this gateway could not connect to the node some seconds ago.
	Failing bool
}

// busyness is how much a candidate has to do.
func (c Candidate) busyness() int { return c.Load + c.Coming }

// Placer chooses the node at which a command starts. It is safe for concurrent use.
type Placer interface {
	// Place returns one of the candidates. It has at least one, all of which start commands. It returns false if none is fit.
	Place(owner string, c wsep.Command, candidates []Candidate) (node string, ok bool)
}

// BestOfThree is a [Placer]: of three nodes at random it takes the one with the least to do. So gateways that know the same do not all
// choose the same.
type BestOfThree struct {
	// Labels are those that a node must have.
	Labels map[string]string
	// ByOwner keeps an owner on one node as long as that starts commands, for example because the owner's files are there.
	ByOwner bool
}

// Place implements Placer.
func (p BestOfThree) Place(owner string, _ wsep.Command, candidates []Candidate) (string, bool) {
	fit := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool { return !p.fits(c) })
	if sound := slices.DeleteFunc(slices.Clone(fit), func(c Candidate) bool { return c.Failing }); len(sound) > 0 {
		fit = sound
	}
	if len(fit) == 0 {
		return "", false
	}
	if p.ByOwner {
		return slices.MaxFunc(fit, func(a, b Candidate) int { return cmp.Compare(rank(owner, a.Name), rank(owner, b.Name)) }).Name, true
	}
	rand.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
	fit = fit[:min(3, len(fit))]
	return slices.MinFunc(fit, func(a, b Candidate) int { return a.busyness() - b.busyness() }).Name, true
}

func (p BestOfThree) fits(c Candidate) bool {
	for key, value := range p.Labels {
		if c.Labels[key] != value {
			return false
		}
	}
	return true
}

// rank is a node's rank for an owner (rendezvous hashing): when a node goes, only its own owners move.
func rank(owner, node string) uint64 {
	sum := sha256.Sum256([]byte(node + "\x00" + owner))
	return binary.BigEndian.Uint64(sum[:])
}
