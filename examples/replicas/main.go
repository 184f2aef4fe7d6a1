// Command replicas shows several processes on one pool. Three replicas of a small HTTP backend share this machine's Docker
// engine by their records in PostgreSQL. One of them is killed in the middle of its work. The others find, use and end the
// sessions that it had made.
//
// The handlers are those of examples/hosttest. A backend of yours may begin with backend.go and replica.go, which add handlers and
// have the process that serves them. The other files start three of these processes and tell the story. The program leaves nothing
// behind, also when it is interrupted.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/berth-go/berth/examples/internal/narrate"
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
	narrate.Main("replicas", func(ctx context.Context) error {
		_, err := run(ctx, narrate.NewPrinter(os.Stdout), config{pool: "replicas-" + strings.ToLower(rand.Text()[:8]), database: *database})
		return err
	})
}

func usage(what string) {
	fmt.Fprintln(os.Stderr, "replicas:", what)
	os.Exit(2)
}

// run starts the replicas, tells their story and removes all of it.
func run(ctx context.Context, out *narrate.Printer, cfg config) (*story, error) {
	st, err := newStage(ctx, out, cfg)
	if err != nil {
		return nil, err
	}
	s := &story{stage: st}
	err = s.tell(ctx)
	if ctx.Err() != nil {
		err = narrate.ErrInterrupted
	}
	return s, errors.Join(err, st.close())
}
