package etcd

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
)

// Watch implements fleet.Registry.
func (r *Registry) Watch(ctx context.Context, tell func(fleet.Change)) error {
	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	stop := context.AfterFunc(r.ctx, cancel)
	defer stop()
	all, err := r.all(watching)
	if err != nil {
		return err
	}
	tell(all)
	err = r.follow(watching, all.Revision, tell)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fleet.NoRegistry(err)
}

// all returns everything that there is, at one revision.
func (r *Registry) all(ctx context.Context) (all fleet.Change, err error) {
	var found *clientv3.TxnResponse
	err = r.try(ctx, func(ctx context.Context) (err error) {
		found, err = r.client.Txn(ctx).Then(
			clientv3.OpGet(r.prefix+"nodes/", clientv3.WithPrefix()),
			clientv3.OpGet(r.prefix+"names/", clientv3.WithPrefix()),
		).Commit()
		return err
	})
	if err != nil {
		return all, err
	}
	all = fleet.Change{Revision: found.Header.Revision, All: true}
	for _, response := range found.Responses {
		for _, kv := range response.GetResponseRange().Kvs {
			if err := r.put(&all, kv); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// put adds to a change what a key has now.
func (r *Registry) put(change *fleet.Change, kv *mvccpb.KeyValue) (err error) {
	switch rest := strings.TrimPrefix(string(kv.Key), r.prefix); {
	case strings.HasPrefix(rest, "nodes/"):
		change.Nodes, err = appendDecoded(change.Nodes, kv.Value)
	case strings.HasPrefix(rest, "names/"):
		claims, decodeErr := claimsOf([]*mvccpb.KeyValue{kv}, "")
		change.Claims, err = append(change.Claims, claims...), decodeErr
	}
	return err
}

// remove adds to a change that a key is gone.
func (r *Registry) remove(change *fleet.Change, key string) error {
	rest := strings.TrimPrefix(key, r.prefix)
	if node, ok := strings.CutPrefix(rest, "nodes/"); ok {
		change.GoneNodes = append(change.GoneNodes, node)
	}
	if !strings.HasPrefix(rest, "names/") {
		return nil
	}
	claim, err := r.ownerAndName(key)
	change.GoneClaims = append(change.GoneClaims, claim)
	return err
}

var errFeedEnded = xerrors.New("etcd tells of no more changes")

// follow tells of the changes after a revision, until it can't go on.
func (r *Registry) follow(ctx context.Context, revision int64, tell func(fleet.Change)) error {
	feed := r.client.Watch(ctx, r.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	for response := range feed {
		if err := response.Err(); err != nil {
			return err
		}
		for _, change := range groups(response.Events) {
			c := fleet.Change{Revision: change[0].Kv.ModRevision}
			for _, event := range change {
				if err := r.apply(&c, event); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			tell(c)
		}
	}
	return errFeedEnded
}

func (r *Registry) apply(c *fleet.Change, event *clientv3.Event) error {
	if event.Type == clientv3.EventTypeDelete {
		return r.remove(c, string(event.Kv.Key))
	}
	return r.put(c, event.Kv)
}

// groups parts events by their revision. They are in its order.
func groups(events []*clientv3.Event) (groups [][]*clientv3.Event) {
	for i, event := range events {
		if i == 0 || event.Kv.ModRevision != events[i-1].Kv.ModRevision {
			groups = append(groups, nil)
		}
		last := len(groups) - 1
		groups[last] = append(groups[last], event)
	}
	return groups
}
