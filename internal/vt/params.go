package vt

import (
	"math"
	"strconv"
)

// maxParams is how many parameters a sequence has at most, and how many subparameters. More are ignored.
const maxParams = 32

// params are a sequence's parameters, each with its subparameters. There is always one.
type params struct {
	values [maxParams]int32
	n      int
	subs   [maxParams]int32 // -1 where nothing was given
	nSubs  int
	// subEnd holds where in subs those of each parameter end.
	subEnd [maxParams]int

	inSub             bool // the last separator was a colon
	noMore, noMoreSub bool // what follows is ignored
}

func (p *params) reset() {
	p.n = 1
	p.values[0] = 0
	p.nSubs = 0
	p.subEnd[0] = 0
	p.inSub, p.noMore, p.noMoreSub = false, false, false
}

// add takes a digit or a separator.
func (p *params) add(c rune) {
	switch c {
	case ';':
		p.next()
	case ':':
		p.nextSub()
	default:
		p.digit(int32(c - '0'))
	}
}

func (p *params) next() {
	p.inSub = false
	if p.n == maxParams {
		p.noMore = true
		return
	}
	p.values[p.n] = 0
	p.subEnd[p.n] = p.nSubs
	p.n++
}

func (p *params) nextSub() {
	p.inSub = true
	if p.noMore || p.nSubs == maxParams {
		p.noMoreSub = true
		return
	}
	p.subs[p.nSubs] = -1
	p.nSubs++
	p.subEnd[p.n-1] = p.nSubs
}

func (p *params) digit(d int32) {
	v := &p.values[p.n-1]
	if p.inSub && p.nSubs > 0 {
		v = &p.subs[p.nSubs-1]
	}
	switch {
	case p.noMore || p.inSub && (p.noMoreSub || p.nSubs == 0):
	case *v < 1e8:
		*v = max(*v, 0)*10 + d
	default:
		*v = int32(min(int64(*v)*10+int64(d), math.MaxInt32))
	}
}

// get returns parameter i, and 0 where it was not given.
func (p *params) get(i int) int {
	if i >= p.n {
		return 0
	}
	return int(p.values[i])
}

// atLeast1 returns parameter i, and 1 where it was not given or 0.
func (p *params) atLeast1(i int) int { return max(p.get(i), 1) }

// sub returns the subparameters of parameter i.
func (p *params) sub(i int) []int32 {
	start := 0
	if i > 0 {
		start = p.subEnd[i-1]
	}
	return p.subs[start:p.subEnd[i]]
}

// append writes the parameters so that reading them leads to the same state.
func (p *params) append(b []byte) []byte {
	for i := range p.n {
		if i > 0 {
			b = append(b, ';')
		}
		b = strconv.AppendInt(b, int64(p.values[i]), 10)
		for _, s := range p.sub(i) {
			b = append(b, ':')
			if s >= 0 {
				b = strconv.AppendInt(b, int64(s), 10)
			}
		}
	}
	if p.noMore {
		b = append(b, ';')
	}
	if p.inSub && p.noMoreSub {
		b = append(b, ':')
	}
	return b
}
