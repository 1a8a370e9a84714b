package servercmd

import (
	"context"
	"time"

	"cdr.dev/slog"
	"github.com/spf13/pflag"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/cli/webterm"
)

// Gateway is what the flags of [Flags.AddGateway] say: a server whose commands run elsewhere.
type Gateway struct{ config }

// Gateway returns what the flags say. Its error is for people.
func (f *Flags) Gateway(flags *pflag.FlagSet) (Gateway, error) {
	c, err := f.parsed(flags)
	return Gateway{c}, err
}

// SessionTimeout is that of [wsep.Options].
func (g Gateway) SessionTimeout() time.Duration { return g.options.SessionTimeout }

// RunningGateway is a server that runs. It must be closed.
type RunningGateway struct {
	*serve.Server
	// Page is the web terminal's address, with the token if that was made here. It is empty if there is nothing to say.
	Page    string
	drained *drainable
	spread  serve.Spread
}

// Start serves commands that the Execer runs.
func (g Gateway) Start(execer wsep.Execer, logger slog.Logger) (*RunningGateway, error) {
	listener, err := g.listener(logger)
	if err != nil {
		return nil, err
	}
	r := &RunningGateway{drained: &drainable{Execer: execer}}
	handler, page := g.handler(r.drained, logger), g.page()
	r.Server = serve.Start(listener, withHealth(r.drained, r.spread.Over(webterm.New(handler, page))), handler.Server, logger)
	if webterm.Built(page) || g.randomToken {
		r.Page = g.pageURL(r.Server)
	}
	return r, nil
}

// Leave starts nothing any more, and closes the connections one after the other. Their commands go on elsewhere, and their clients
// come back through another server.
func (r *RunningGateway) Leave(ctx context.Context) {
	r.drained.ending.Store(true)
	r.spread.End(ctx)
}
