package wsep_test

import (
	"context"
	"errors"
	"log"
	"net/http/httptest"
	"testing"

	"golang.org/x/sys/windows"

	"cdr.dev/wsep"
)

var prepares = map[string]func(*testing.T) func(*testing.T) wsep.Execer{
	localOnWine: each(func(*testing.T) wsep.Execer { return again{} }),
	dialerOnWine: each(func(t *testing.T) wsep.Execer {
		server := httptest.NewServer(&wsep.Handler{Execer: again{}})
		t.Cleanup(server.Close)
		return wsep.Dialer{URL: server.URL}
	}),
}

// again is a LocalExecer that starts a command once more, and logs so, if Wine could not create its process. Wine's NtCreateUserProcess
// fails with STATUS_INTERNAL_ERROR if the new process has ended before its first instruction. This package ends none so early.
type again struct{}

// Start implements wsep.Execer.
func (again) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	p, err := wsep.LocalExecer{}.Start(ctx, c)
	if onWine && errors.Is(err, windows.ERROR_INTERNAL_ERROR) {
		log.Printf("Wine could not create a process: %v", err)
		p, err = wsep.LocalExecer{}.Start(ctx, c)
	}
	return p, err
}

// TestWindowsExecers runs the contract against the contenders of this system, and compares the results with README.
func TestWindowsExecers(t *testing.T) { contend(t) }
