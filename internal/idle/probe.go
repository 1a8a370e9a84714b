package idle

import "context"

type probing struct{}

// Probing returns a context for starts that must not be lost with a connection that was kept: it is pinged before, however fresh.
func Probing(ctx context.Context) context.Context { return context.WithValue(ctx, probing{}, true) }

// Probes reports whether a context is one of [Probing].
func Probes(ctx context.Context) bool { return ctx.Value(probing{}) != nil }
