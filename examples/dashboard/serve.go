package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
)

// newMetrics returns a MeterProvider, for Config.MeterProvider, and what it has collected, for Prometheus. A program with metrics
// of its own gives its registry in place of the new one.
func newMetrics() (*metric.MeterProvider, *prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	exporter, err := prometheusexporter.New(
		prometheusexporter.WithRegisterer(registry),
		prometheusexporter.WithoutScopeInfo(), // three labels on each series, which say "berth" as its name does
	)
	if err != nil {
		return nil, nil, err
	}
	return metric.NewMeterProvider(metric.WithReader(exporter)), registry, nil
}

// handler shows a pool.
func handler(p *berth.Provider, metrics *prometheus.Registry, view dashboard.Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		text := "ok"
		if err := p.Health(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = err.Error()
		}
		_, _ = w.Write([]byte(text + "\n"))
	})
	mux.Handle("/", dashboard.Handler(p, view))
	return mux
}

// serve serves until the context ends. Requests that last, such as the dashboard's stream of changes, end with it.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	// There is no time limit for a whole response: the dashboard's stream of changes has no end.
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-ended
	return err
}
