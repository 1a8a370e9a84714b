package wsep

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/xerrors"
)

// defaultKeepAlive is how often a connection is pinged.
const defaultKeepAlive = 15 * time.Second

// slowWrite is how long a write may take before the connection counts as blocked. A ping would wait behind that write, and
// nhooyr.io/websocket closes a connection whose ping is not written within 5 s.
const slowWrite = time.Second

var errPeerGone = xerrors.New("peer does not answer")

// liveness is what a link knows of its peer between two pings.
type liveness struct {
	heard   atomic.Int64 // messages received
	written atomic.Int64 // bytes sent
	deaf    atomic.Bool  // nobody reads the connection, so no pong can be heard

	writing  atomic.Int32 // writes under way; the connection does one after the other
	progress atomic.Int64 // when the last one ended, or the first one began, in Unix ns
	slow     atomic.Bool  // a write since the last look was slow
}

// begin and end surround a write.
func (l *liveness) begin() {
	if l.writing.Add(1) == 1 {
		l.progress.Store(time.Now().UnixNano())
	}
}

func (l *liveness) end(n int) {
	now := time.Now().UnixNano()
	if now-l.progress.Swap(now) > int64(slowWrite) {
		l.slow.Store(true)
	}
	l.writing.Add(-1)
	l.written.Add(int64(n))
}

// blocked reports whether writes have been slow since the last call.
func (l *liveness) blocked() bool {
	slow := l.slow.Swap(false)
	waiting := time.Duration(time.Now().UnixNano() - l.progress.Load())
	return l.writing.Load() > 0 && (slow || waiting > slowWrite)
}

// keepAlive watches over a peer. It has a goroutine only while it looks.
type keepAlive struct {
	link     *link
	ctx      context.Context
	interval time.Duration
	patient  bool
	pongedAt int64 // bytes sent when the last ping that was answered went out
	timer    *time.Timer
	gone     func(error)

	listening bool  // for a while before a ping
	heard     int64 // messages received when the listening began
}

// keepAlive pings the peer every interval until ctx ends. It skips a ping while it hears from the peer. When the peer was
// silent for two intervals, it calls gone with errPeerGone.
//
// patient says that the peer may stop reading for as long as it likes. Its silence then proves nothing if it was sent
// anything since its last pong. read is how many of the bytes sent so far are known to be read.
func (l *link) keepAlive(ctx context.Context, interval time.Duration, patient bool, read int64, gone func(error)) {
	k := &keepAlive{link: l, ctx: ctx, interval: interval, patient: patient, pongedAt: read, gone: gone}
	const never = math.MaxInt64
	k.timer = time.AfterFunc(never, k.look)
	k.timer.Reset(interval - k.listen())
	context.AfterFunc(ctx, func() { k.timer.Stop() })
}

// listen is how long look listens for the peer before a ping. A peer that talks all the time gets none: in the libraries
// the reader writes the pong. If both readers waited for their writers, and both writers for the other end's reader, the
// connection would be lost.
func (k *keepAlive) listen() time.Duration { return k.interval / 8 }

// look looks after the peer once, and schedules the next look.
func (k *keepAlive) look() {
	began := time.Now()
	if k.listening = !k.listening; k.listening {
		k.heard = k.link.life.heard.Load()
		k.again(k.listen())
		return
	}
	if !k.alive() {
		k.gone(errPeerGone)
		return
	}
	k.again(max(0, k.interval-k.listen()-time.Since(began)))
}

// again schedules the next look.
func (k *keepAlive) again(after time.Duration) {
	if k.ctx.Err() == nil {
		k.timer.Reset(after)
	}
}

// alive reports whether the peer has not been silent for too long. It is true, too, when nobody wants to know any more.
func (k *keepAlive) alive() bool {
	life := &k.link.life
	if k.ctx.Err() != nil || life.deaf.Load() {
		return true
	}
	if !k.patient && life.heard.Load() != k.heard {
		return true
	}
	heard, written := life.heard.Load(), life.written.Load()
	blocked, progress := life.blocked(), life.progress.Load()
	answered := k.link.probe(k.ctx, k.interval-k.listen(), blocked)
	switch {
	case answered:
		k.pongedAt = written
		return true
	case k.ctx.Err() != nil, life.heard.Load() != heard, life.deaf.Load():
		return true
	case blocked && (k.patient || life.progress.Load() != progress): // No ping was sent.
		return true
	}
	return k.patient && written != k.pongedAt
}

// probe pings the peer and waits up to timeout. It reports whether the peer answered.
func (l *link) probe(ctx context.Context, timeout time.Duration, blocked bool) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if blocked {
		<-ctx.Done()
		return false
	}
	return l.answers(ctx)
}

// answers pings the peer until it answers, ctx ends or the connection is lost. It reports whether the peer has answered. If ctx
// is canceled, a ping under way goes on: the libraries close a connection when the context of a write ends, and the next
// conversation may have this connection.
func (l *link) answers(ctx context.Context) bool {
	pinging := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		pinging, cancel = context.WithDeadline(pinging, deadline)
		defer cancel()
	}
	for {
		err := l.conn.Ping(pinging)
		if err == nil {
			return true
		}
		// The libraries have a timeout of their own, which a ping behind a long message can exceed.
		if ctx.Err() != nil || pinging.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return false
		}
	}
}
