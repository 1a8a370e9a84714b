package wsep_test

import (
	"net/http/httptest"
	"testing"

	"cdr.dev/wsep"
)

var prepares = map[string]func(*testing.T) func(*testing.T) wsep.Execer{
	localOnWine: each(func(*testing.T) wsep.Execer { return wsep.Again{} }),
	dialerOnWine: each(func(t *testing.T) wsep.Execer {
		server := httptest.NewServer(&wsep.Handler{Execer: wsep.Again{}})
		t.Cleanup(server.Close)
		return wsep.Dialer{URL: server.URL}
	}),
}

// TestWindowsExecers runs the contract against the contenders of this system, and compares the results with README.
func TestWindowsExecers(t *testing.T) { contend(t) }
