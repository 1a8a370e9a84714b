package wsep

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/proto"
)

// conversations are those of a Server whose clients may come back, and what the Server remembers of other keys. The Server's
// lock guards them.
type conversations struct {
	byKey    map[keyHash]*conversation
	detached map[*conversation]struct{} // those that wait for their client
	owners   map[string]*ownerKeys      // what is remembered of each owner's keys
	swept    time.Time                  // when owners was last swept
	secret   [32]byte                   // what the Server's names come from
	born     time.Time                  // when secret was chosen; zero before that
}

// keyHash is what the server keeps of a client's key.
type keyHash [sha256.Size]byte

func hashKey(k *proto.Key) keyHash { return sha256.Sum256(k[:]) }

// ownerKeys are keys of an owner that must start nothing.
type ownerKeys struct {
	refused []deadKey // a client asked for them before their start had arrived; the oldest first, as is ended
	ended   []deadKey // of conversations that can't be taken up, though their client may not know that
	since   time.Time // since when ended is complete; zero means always
}

type deadKey struct {
	key  keyHash
	died time.Time
}

const (
	// maxDeadKeys bounds the keys that are remembered for an owner, of each kind. Each takes 56 bytes.
	maxDeadKeys = 1024
	// keyMemory is how long a key is remembered: longer than a start can be under way on a dead connection.
	keyMemory = 10 * time.Minute
)

var (
	errNoConversation = xerrors.New("there is no such conversation")
	errKeyUsed        = xerrors.Errorf("key was used before: %w", ErrInvalidCommand)
	errTooManyKeys    = xerrors.New("too many keys are asked for")
	errOtherOwner     = xerrors.New("the conversation belongs to another owner")
)

// mark returns what a client of an owner is given with its connection. A client that has lost pid sends it back. So the Server
// knows that it has got the client's start, if any server has, and as whose. And it knows since when it must know all keys.
func (srv *Server) mark(owner string) string {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return fmt.Sprintf("%s.%d", srv.nameFor(owner), time.Since(srv.born))
}

// nameFor returns the Server's name for an owner. No other Server has it. The lock is held.
func (srv *Server) nameFor(owner string) string {
	if srv.born.IsZero() {
		_, _ = rand.Read(srv.secret[:]) // It never fails.
		srv.born = time.Now()
	}
	name := sha256.Sum256(append(srv.secret[:], owner...))
	return base64.RawURLEncoding.EncodeToString(name[:16])
}

// markedAt returns when the Server gave a mark to a client of the owner. ok is false if it did not. The lock is held.
func (srv *Server) markedAt(mark, owner string) (given time.Time, ok bool) {
	name, at, _ := strings.Cut(mark, ".")
	since, err := strconv.ParseInt(at, 10, 64)
	if err != nil || name != srv.nameFor(owner) {
		return time.Time{}, false
	}
	return srv.born.Add(time.Duration(since)), true
}

// addConversation begins the time of a conversation. It makes the conversation known by the key of its start, and decides how
// long its client is waited for.
func (srv *Server) addConversation(ctx context.Context, c *conversation, start *proto.Start) error {
	if start.Key == nil {
		c.live(ctx)
		return nil
	}
	key := hashKey(start.Key)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if _, known := srv.byKey[key]; known || srv.owners[c.opts.Owner].has(key) {
		return &StartError{errKeyUsed}
	}
	c.grace = srv.grace(c.opts, start.Extensions)
	c.live(ctx)
	if c.grace == 0 {
		srv.rememberEnded(c.opts.Owner, key) // The client may ask for it, because it has lost pid.
		return nil
	}
	c.key = key
	if srv.byKey == nil {
		srv.byKey = make(map[keyHash]*conversation)
	}
	srv.byKey[key] = c
	return nil
}

// grace returns how long a client that offers these extensions is waited for. The lock is held.
func (srv *Server) grace(opts *Options, offered *proto.Extensions) time.Duration {
	if offered == nil || offered.Window == 0 || !offered.Outcome || opts.ResumeTimeout < 0 {
		return 0
	}
	if opts.MaxDetached > 0 && len(srv.detached) >= opts.MaxDetached {
		return 0
	}
	longest := int64(opts.ResumeTimeout / time.Second)
	return time.Duration(min(offered.Resume, longest)) * time.Second
}

// findConversation returns the conversation that a client asks for. If there is none, the key starts nothing from now on.
func (srv *Server) findConversation(m *proto.Resume, owner string) (*conversation, error) {
	key := hashKey(&m.Key)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	c, ok := srv.byKey[key]
	switch {
	case ok && c.opts.Owner != owner:
		return nil, &resumeError{kind: proto.ResumePermission, err: errOtherOwner}
	case ok && m.Attempt != 0 && m.Attempt <= c.attempt:
		return nil, errLate
	case ok:
		c.attempt = max(c.attempt, m.Attempt)
		return c, nil
	}
	return nil, srv.refuseKey(owner, key, m.Server)
}

// isLate reports whether a client has made a later attempt than this one to take up a conversation.
func (srv *Server) isLate(c *conversation, attempt int64) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return attempt != 0 && attempt < c.attempt
}

// refuseKey makes a key start nothing, and returns the answer for its client, whose connection for start had the mark. The lock
// is held.
func (srv *Server) refuseKey(owner string, key keyHash, mark string) error {
	now := time.Now()
	keys := srv.keysOf(owner, now)
	answer := &resumeError{kind: proto.ResumeUnknown, err: errNoConversation}
	if contains(keys.ended, key) {
		return answer
	}
	if !contains(keys.refused, key) {
		if len(keys.refused) >= maxDeadKeys {
			return &resumeError{kind: proto.ResumeBusy, err: errTooManyKeys}
		}
		keys.refused = append(keys.refused, deadKey{key, now})
	}
	given, ok := srv.markedAt(mark, owner)
	answer.never = ok && given.After(keys.since) && now.Sub(given) < keyMemory
	return answer
}

// forgetConversation removes a conversation that is over. If its client does not know that, the key is remembered.
func (srv *Server) forgetConversation(c *conversation, clientKnows bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.byKey[c.key] != c {
		return
	}
	delete(srv.byKey, c.key)
	if clientKnows {
		return
	}
	srv.rememberEnded(c.opts.Owner, c.key)
}

// rememberEnded remembers the key of a conversation that can't be taken up. The lock is held.
func (srv *Server) rememberEnded(owner string, key keyHash) {
	now := time.Now()
	keys := srv.keysOf(owner, now)
	if len(keys.ended) >= maxDeadKeys {
		keys.forgetOldest(now)
	}
	keys.ended = append(keys.ended, deadKey{key, now})
}

// keysOf returns what is remembered of an owner's keys. The lock is held.
func (srv *Server) keysOf(owner string, now time.Time) *ownerKeys {
	if now.Sub(srv.swept) > keyMemory {
		srv.swept = now
		for name, keys := range srv.owners {
			if keys.expire(now); len(keys.refused)+len(keys.ended) == 0 {
				delete(srv.owners, name)
			}
		}
	}
	keys := srv.owners[owner]
	if keys == nil {
		keys = &ownerKeys{}
		if srv.owners == nil {
			srv.owners = make(map[string]*ownerKeys)
		}
		srv.owners[owner] = keys
	}
	keys.expire(now)
	return keys
}

// has reports whether a key must start nothing. The receiver may be nil.
func (o *ownerKeys) has(key keyHash) bool {
	return o != nil && (contains(o.refused, key) || contains(o.ended, key))
}

// expire forgets the keys that were remembered for long enough. A mark that is older gets no promise.
func (o *ownerKeys) expire(now time.Time) {
	expired := func(k deadKey) bool { return now.Sub(k.died) > keyMemory }
	o.refused = slices.DeleteFunc(o.refused, expired)
	o.ended = slices.DeleteFunc(o.ended, expired)
}

// forgetOldest makes room for a key. Marks that were given before get no promise from now on.
func (o *ownerKeys) forgetOldest(now time.Time) {
	o.ended = slices.Delete(o.ended, 0, 1)
	o.since = now
}

func contains(keys []deadKey, key keyHash) bool {
	return slices.ContainsFunc(keys, func(k deadKey) bool { return k.key == key })
}

// setDetached records that a conversation begins, or ceases, to wait for its client.
func (srv *Server) setDetached(c *conversation, detached bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if !detached {
		delete(srv.detached, c)
		return
	}
	if srv.detached == nil {
		srv.detached = make(map[*conversation]struct{})
	}
	srv.detached[c] = struct{}{}
}

// endDetached ends all conversations that wait for their client, and waits until their processes have exited.
func (srv *Server) endDetached() {
	srv.mu.Lock()
	ending := slices.Collect(maps.Keys(srv.detached))
	srv.mu.Unlock()
	for _, c := range ending {
		c.cancel()
	}
	for _, c := range ending {
		<-c.done
	}
}
