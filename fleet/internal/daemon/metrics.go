package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/internal/plain"
)

// metricsTimeout bounds how long a request for metrics may take to arrive.
const metricsTimeout = 10 * time.Second

// startMetrics begins to count, and serves what is counted if that was asked for.
func (d *daemon) startMetrics(ctx context.Context) error {
	d.metrics = fleet.NewMetrics()
	if d.config.metrics == "" {
		return nil
	}
	all := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{d.metrics, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})} {
		if err := all.Register(c); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", d.config.metrics)
	if err != nil {
		return xerrors.Errorf("--metrics: %w", plain.Listening(d.config.metrics, err))
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: metricsTimeout}
	d.do(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	d.background.Go(func() {
		<-ctx.Done()
		_ = server.Close()
	})
	fmt.Fprintf(d.stdout, "metrics at http://%s/metrics\n", listener.Addr())
	return nil
}
