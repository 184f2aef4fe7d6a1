package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/store/pgstore"
)

// config has the settings that all replicas share.
type config struct {
	pool     string // its name
	database string // URL
	image    string // of the containers
}

// The environment variables by which a replica gets its config. Arguments would show the database's password to others.
const (
	poolVariable     = "REPLICAS_POOL"
	databaseVariable = "REPLICAS_DATABASE"
	imageVariable    = "REPLICAS_IMAGE"
)

func fromEnvironment() config {
	return config{pool: os.Getenv(poolVariable), database: os.Getenv(databaseVariable), image: os.Getenv(imageVariable)}
}

func (c config) environment() []string {
	return []string{poolVariable + "=" + c.pool, databaseVariable + "=" + c.database, imageVariable + "=" + c.image}
}

// schema is the schema of the pool's records.
func (c config) schema() string { return strings.ReplaceAll(c.pool, "-", "_") }

// open opens the pool: its records, which all replicas share, and the engine of this machine. close stops the work of this
// process in the pool, and ends nothing else.
func (c config) open(ctx context.Context, logger *slog.Logger) (p *berth.Provider, close func() error, err error) {
	records, err := pgstore.Open(ctx, c.database, pgstore.Options{Schema: c.schema(), Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	p, err = berth.NewLocalProvider(ctx, berth.Config{Name: c.pool, Image: c.image, Store: records, Logger: logger, Egress: gittest.Egress()})
	if err != nil {
		return nil, nil, errors.Join(err, records.Close())
	}
	return p, func() error { return errors.Join(p.Close(), records.Close()) }, nil
}

// closeGrace is how long requests under way may take when the process is told to end.
const closeGrace = 3 * time.Second

// serve runs a replica. It prints its URL, and answers until it gets a SIGTERM or its standard input is closed. Sessions and
// their commands live on.
func serve(cfg config) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	signal.Ignore(os.Interrupt, syscall.SIGHUP) // at a terminal the parent gets these too, and decides
	go func() {
		io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	provider, closePool, err := cfg.open(ctx, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, closePool())
	}
	server := &http.Server{Handler: (&backend{provider}).handler(), ReadHeaderTimeout: 10 * time.Second}
	fmt.Println("http://" + listener.Addr().String())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err = <-served:
	case <-ctx.Done():
		grace, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		server.Shutdown(grace) // the other requests end with the pool, which kills no command
	}
	err = errors.Join(err, closePool())
	server.Close()
	return err
}
