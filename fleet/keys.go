package fleet

import "sync/atomic"

// Keys tells which ring is the fleet's now. A [KeyRing] tells of itself. It is safe for concurrent use.
type Keys interface {
	Ring() *KeyRing
}

// Ring implements [Keys].
func (r *KeyRing) Ring() *KeyRing { return r }

// CurrentKeys is a [Keys] whose ring can be replaced, so that keys rotate while nodes and gateways run.
type CurrentKeys struct{ ring atomic.Pointer[KeyRing] }

// NewCurrentKeys returns a CurrentKeys with a ring.
func NewCurrentKeys(r *KeyRing) *CurrentKeys {
	k := &CurrentKeys{}
	k.Set(r)
	return k
}

// Set replaces the ring.
func (k *CurrentKeys) Set(r *KeyRing) { k.ring.Store(r) }

// Ring implements [Keys].
func (k *CurrentKeys) Ring() *KeyRing { return k.ring.Load() }
