package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	prometheusexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/pgstore"
	"github.com/berth-go/berth/store/sqlitestore"
)

// options are the flags that are no settings of the pool.
type options struct {
	listen, database, tokens, agent string
}

// run serves until ctx ends. It closes l. Agents go on when it returns, and when the process is killed: the next process finds them in the
// database.
func run(ctx context.Context, l net.Listener, o options, cfg berth.Config) (err error) {
	defer l.Close()
	agent, err := splitCommand(o.agent)
	if err != nil {
		return fmt.Errorf("the agent's command: %w", err)
	}
	records, err := openStore(ctx, o.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	meters, registry, err := newMetrics()
	if err != nil {
		return err
	}
	cfg.Store, cfg.MeterProvider = records, meters
	provider, err := berth.NewLocalProvider(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, provider.Close()) }()
	a := &app{provider: provider, metrics: registry, tokens: &tokens{path: o.tokens}, agent: agent, log: cfg.Logger}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.log.Info("serving", "url", "http://"+l.Addr().String())
	return serve(ctx, l, a.handler())
}

// openStore opens the database: PostgreSQL by its URL, and SQLite by its file.
func openStore(ctx context.Context, database string) (store.Store, error) {
	if strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://") {
		return pgstore.Open(ctx, database, pgstore.Options{})
	}
	return sqlitestore.Open(ctx, database)
}

// newMetrics returns a MeterProvider, for Config.MeterProvider, and what it has collected, for Prometheus.
func newMetrics() (*metric.MeterProvider, *prometheus.Registry, error) {
	registry := prometheus.NewRegistry()
	exporter, err := prometheusexporter.New(prometheusexporter.WithRegisterer(registry), prometheusexporter.WithoutScopeInfo())
	if err != nil {
		return nil, nil, err
	}
	return metric.NewMeterProvider(metric.WithReader(exporter)), registry, nil
}

// graceTimeout is how long requests may take to end when the program ends.
const graceTimeout = 10 * time.Second

// serve serves until ctx ends. Streams and terminals end with ctx: their clients come back to another process, and miss nothing. Other
// requests have graceTimeout.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ConnContext: func(c context.Context, _ net.Conn) context.Context { return context.WithValue(c, ending{}, ctx.Done()) },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-ended
	return err
}

// ending is the key of the channel that is closed when the program is about to end.
type ending struct{}

// lasting returns the context of a request that may last, which ends when the program is about to end.
func lasting(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.Context())
	if done, ok := ctx.Value(ending{}).(<-chan struct{}); ok {
		go func() {
			select {
			case <-done:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// splitCommand splits a command at its spaces, as a shell does: what is in single or double quotes belongs together.
func splitCommand(s string) (args []string, err error) {
	var arg strings.Builder
	quote, begun := rune(0), false
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && r == ' ':
			if begun {
				args = append(args, arg.String())
			}
			arg.Reset()
			begun = false
		default:
			arg.WriteRune(r)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote has no end: %s", s)
	}
	if begun {
		args = append(args, arg.String())
	}
	if len(args) == 0 {
		return nil, errors.New("it names no program")
	}
	return args, nil
}
