package fleet_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/fleet"
)

// scrape returns what Prometheus gets: the values by name and labels, as name{label="value"}.
func scrape(t *testing.T, m *fleet.Metrics) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(m))
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	defer server.Close()
	response, err := http.Get(server.URL)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(t, err)
	values := map[string]float64{}
	for name, family := range families {
		for _, metric := range family.Metric {
			values[name+labelsOf(metric)] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
		}
	}
	return values
}

// labelsOf returns the labels of a metric, in the order of their names.
func labelsOf(metric *dto.Metric) (text string) {
	for i, label := range metric.Label {
		if i > 0 {
			text += ","
		}
		text += label.GetName() + "=" + label.GetValue()
	}
	return "{" + text + "}"
}

// TestMetrics scrapes gateways and nodes.
func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	node, near, far := f.nodes[0], f.gateways[0], f.gateways[1]
	near.Local = node.serveLocally()
	f.requireToken(near.Execer, shell("5:alice:main"), wsep.SessionCreated)
	id := f.claim("alice", "main").ID
	for range 2 {
		f.requireToken(near.Execer, shell("5:alice:main"), wsep.SessionFound)
		f.requireToken(f.as("alice", 1), wsep.Command{ID: id}, wsep.SessionFound)
	}
	_, err := wsep.Output(f.ctx, near.Execer, wsep.Command{Command: "true"})
	require.NoError(t, err)
	foreign := fleet.NewKeyRing().New("n1", "1", "alice").String()
	_, err = far.Start(f.ctx, wsep.Command{ID: "5:alice:" + foreign})
	require.ErrorIs(t, err, fs.ErrPermission)
	_, err = far.Start(f.ctx, wsep.Command{ID: "5:alice:none"})
	require.ErrorIs(t, err, fs.ErrNotExist)

	got := scrape(t, near.Metrics)
	require.EqualValues(t, 1, got["wsep_fleet_starts_total{kind=session,path=local}"])
	require.EqualValues(t, 1, got["wsep_fleet_starts_total{kind=command,path=local}"])
	require.EqualValues(t, 2, got["wsep_fleet_attaches_total{by=name,path=local}"]+got["wsep_fleet_attaches_total{by=registry,path=local}"])
	got = scrape(t, far.Metrics)
	require.EqualValues(t, 2, got["wsep_fleet_attaches_total{by=id,path=hop}"])
	require.EqualValues(t, 1, got["wsep_fleet_refusals_total{reason=forged,side=gateway}"])
	require.EqualValues(t, 1, got["wsep_fleet_refusals_total{reason=not_found,side=gateway}"])
	require.EqualValues(t, 1, got["wsep_fleet_registry_calls_total{call=find}"])

	got = scrape(t, node.metrics)
	require.EqualValues(t, 1, got["wsep_fleet_sessions{node=n1}"])
	require.EqualValues(t, 0, got["wsep_fleet_draining{node=n1}"])
	require.NotContains(t, got, "wsep_fleet_drain_remaining{node=n1}")
	require.Contains(t, got, "wsep_fleet_commands{node=n1}")
	require.Less(t, got["wsep_fleet_lease_age_seconds{node=n1}"], patience.Seconds())
	require.NoError(t, node.Drain(f.ctx))
	_, err = far.Start(f.ctx, wsep.Command{Command: "true"})
	require.ErrorIs(t, err, wsep.ErrBusy)
	got = scrape(t, node.metrics)
	require.EqualValues(t, 1, got["wsep_fleet_draining{node=n1}"])
	require.GreaterOrEqual(t, got["wsep_fleet_drain_remaining{node=n1}"], 1.0)
	node.stop()
	require.NotContains(t, scrape(t, node.metrics), "wsep_fleet_sessions{node=n1}")
}

// TestLocal has a gateway and a node in one program. A client of it comes back through another gateway.
func TestLocal(t *testing.T) {
	t.Parallel()
	f := newNetwork(t, 1)
	f.gateways[0].Local = f.nodes[0].serveLocally()
	local := f.gateways[0].Execer
	local.TLS = nil // It needs none.
	token := f.requireToken(local, shell("5:alice:main"), wsep.SessionCreated)
	require.Equal(t, token, f.requireToken(f.as("alice", 1), shell("main"), wsep.SessionFound))
	server := httptest.NewServer(&wsep.Handler{Execer: local, Authorize: ownerOf})
	defer server.Close()
	f.comeAndGo(server.Listener.Addr().String(), f.gateways[1].address)
	f.nodes[0].stop()
	_, _, err := f.token(local, shell("5:alice:main"))
	require.ErrorIs(t, err, fleet.ErrUnreachable)
}
