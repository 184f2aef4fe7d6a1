// Command replicas shows several processes on one pool: three replicas of a small HTTP backend, that share this machine's
// Docker engine by their records in PostgreSQL, and one of them is killed in the midst of its work. What it had made is
// found, used and ended through the others.
//
// backend.go and replica.go are what a backend of yours may begin with: the handlers, and a process that serves them.
// The rest starts three of these processes, tells the story, and leaves nothing behind, also when it is interrupted.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const howToGetOne = `no database: give -database, or set DATABASE_URL. With Docker, one can be had by

  docker run --rm -d --name berth-postgres -e POSTGRES_PASSWORD=berth -p 127.0.0.1:5432:5432 postgres:17
  export DATABASE_URL='postgres://postgres:berth@127.0.0.1:5432/postgres?sslmode=disable'

and where PostgreSQL is installed, as an ordinary user, by

  initdb -D /tmp/berth-pg -U postgres -A trust
  pg_ctl -D /tmp/berth-pg -l /tmp/berth-pg/log -o '-p 5433 -k /tmp -c listen_addresses=127.0.0.1' -w start
  export DATABASE_URL='postgres://postgres@127.0.0.1:5433/postgres?sslmode=disable'
`

func main() {
	if cfg := fromEnvironment(); cfg.pool != "" { // this process was started as a replica
		if err := serve(cfg); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	database := flag.String("database", os.Getenv("DATABASE_URL"), "`URL` of a PostgreSQL database; a schema of its own is made in it, and dropped")
	flag.Parse()
	switch {
	case flag.NArg() > 0:
		usage("it takes no arguments beside its flags")
	case *database == "":
		usage(howToGetOne)
	}
	// Any of these ends the story early, and what it made is still removed. SIGPIPE: the reader of a pipe has left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	pool := "replicas-" + strings.ToLower(rand.Text()[:8])
	_, err := run(ctx, newPrinter(os.Stdout), config{pool: pool, database: *database})
	if err != nil {
		fmt.Fprintln(os.Stderr, "replicas:", err)
	}
	switch {
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}

func usage(what string) {
	fmt.Fprintln(os.Stderr, "replicas:", what)
	os.Exit(2)
}

var errInterrupted = errors.New("interrupted")

// run starts the replicas, tells their story and removes all of it.
func run(ctx context.Context, out *printer, cfg config) (*story, error) {
	st, err := newStage(ctx, out, cfg)
	if err != nil {
		return nil, err
	}
	s := &story{stage: st}
	err = s.tell(ctx)
	if ctx.Err() != nil {
		err = errInterrupted
	}
	return s, errors.Join(err, st.close())
}
