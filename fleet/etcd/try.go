package etcd

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"cdr.dev/wsep/fleet"
)

// askTimeout is how long a member may take that is asked. Then another one is asked: a member that is parted from its leader, and does not
// know it yet, does not answer.
const askTimeout = opTimeout / 2

// try does something that may be done again, until it succeeds, fails for good, or takes too long. Then its error matches
// [fleet.ErrNoRegistry].
func (r *Registry) try(ctx context.Context, do func(context.Context) error) error {
	return r.tryLong(ctx, func(ctx context.Context) error {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		return do(asking)
	})
}

// tryLong is try for something that takes longer than a question.
func (r *Registry) tryLong(ctx context.Context, do func(context.Context) error) error {
	// A member that knows no leader refuses at once, so another one is asked.
	trying, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), opTimeout)
	defer cancel()
	stop := context.AfterFunc(r.ctx, cancel)
	defer stop()
	refused := time.AfterFunc(r.connectPatience(), func() {
		if !r.connected() {
			cancel() // etcd's client would wait for a connection.
		}
	})
	defer refused.Stop()
	for {
		err := do(trying)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case codeOf(err) == codes.OK:
			return err
		case trying.Err() != nil, !mayPass(err):
			return fleet.NoRegistry(err)
		}
		select {
		case <-time.After(retryPause):
		case <-trying.Done():
		}
	}
}

// mayPass reports whether another try may succeed: no member can be reached, or they elect a leader.
func mayPass(err error) bool {
	switch codeOf(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return false
}

// codeOf returns the gRPC code of an error that etcd, or the connection to it, has returned. Without an error the code is OK.
func codeOf(err error) codes.Code {
	if coded, ok := errors.AsType[interface {
		error
		Code() codes.Code
	}](err); ok { // As etcd's own errors.
		return coded.Code()
	}
	if s, ok := status.FromError(err); ok {
		return s.Code()
	}
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	return codes.OK
}

// connected reports whether there is a connection to a member.
func (r *Registry) connected() bool {
	return r.client.ActiveConnection().GetState() == connectivity.Ready
}

// get reads keys as they are now.
func (r *Registry) get(ctx context.Context, key string, options ...clientv3.OpOption) (response *clientv3.GetResponse, err error) {
	err = r.try(ctx, func(ctx context.Context) (err error) {
		response, err = r.client.Get(ctx, key, options...)
		return err
	})
	return response, err
}

// claimsOf decodes those claims that are a node's, or all.
func claimsOf(kvs []*mvccpb.KeyValue, node string) (claims []fleet.Claim, err error) {
	for _, kv := range kvs {
		if claims, err = appendDecoded(claims, kv.Value); err != nil {
			return nil, err
		}
		last := len(claims) - 1
		claims[last].Revision = kv.ModRevision
		if node != "" && claims[last].Node() != node {
			claims = claims[:last]
		}
	}
	return claims, nil
}
