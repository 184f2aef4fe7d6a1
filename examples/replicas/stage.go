package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/workspace"
	"github.com/berth-go/berth/store/pgstore"
)

const clearTimeout = 2 * time.Minute // for removing everything at the end

// A stage has the replicas and everything that they need.
type stage struct {
	config
	out           *narrate.Printer
	docker        *client.Client
	shop, billing string // URLs of repositories
	a, b, c       *replica
	destroyed     bool // by one of the replicas

	closers []func() error // in the order of what they close
}

// newStage makes the workspace image if the engine lacks it, serves the repositories, makes the schema, and starts the
// replicas.
func newStage(ctx context.Context, out *narrate.Printer, cfg config) (_ *stage, err error) {
	st := &stage{config: cfg, out: out}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = narrate.ErrInterrupted
		}
		if err != nil {
			err = errors.Join(err, st.close())
		}
	}()
	if st.docker, err = client.New(client.FromEnv); err != nil {
		return nil, err
	}
	st.closers = append(st.closers, st.docker.Close)
	if st.image, err = workspace.Ensure(ctx, st.docker, func(line string) { out.Say("%s", line) }); err != nil {
		return nil, err
	}
	shop, billing := sampleRepos()
	git, err := gittest.Serve(ctx, st.docker, shop, billing)
	if err != nil {
		return nil, err
	}
	st.closers = append(st.closers, git.Close)
	st.shop, st.billing = git.URL(shop), git.URL(billing)

	records, err := pgstore.Open(ctx, st.database, pgstore.Options{Schema: st.schema()}) // its error says what is wrong
	if err == nil || ctx.Err() != nil {                                                  // otherwise it has made nothing
		st.closers = append(st.closers, st.dropSchema)
	}
	if err != nil {
		return nil, err
	}
	if err := records.Close(); err != nil {
		return nil, err
	}
	st.closers = append(st.closers, st.removePool)
	for _, r := range []struct {
		name string
		is   **replica
	}{{"A", &st.a}, {"B", &st.b}, {"C", &st.c}} {
		if *r.is, err = startReplica(ctx, r.name, st.config, out); err != nil {
			return nil, err
		}
		st.closers = append(st.closers, (*r.is).end)
		out.Say("replica %s is process %d at %s", r.name, (*r.is).cmd.Process.Pid, (*r.is).url)
	}
	return st, nil
}

// sampleRepos makes two small repositories in memory. The second has many files, so that a fetch of it takes a moment.
func sampleRepos() (shop, billing *gittest.Repo) {
	shop = gittest.NewRepo("acme/shop")
	shop.Commit("main", "Begin the shop", map[string]string{"README.md": "# shop\n"})
	billing = gittest.NewRepo("acme/billing")
	invoices := make(map[string]string)
	for i := range 500 {
		invoices[fmt.Sprintf("invoices/%03d.txt", i)] = fmt.Sprintf("invoice %d\n", i)
	}
	billing.Commit("main", "Send invoices", invoices)
	return shop, billing
}

// removePool removes the pool, unless a replica has. After a complete story, nothing is left. All replicas have ended, so this
// process opens the pool itself.
func (st *stage) removePool() error {
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	if !st.destroyed {
		p, close, err := st.open(ctx, nil)
		if err != nil {
			return err
		}
		if err := errors.Join(p.Destroy(ctx), close()); err != nil {
			return err
		}
	}
	left, err := st.left(ctx)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("the engine still has %s", strings.Join(left, ", "))
	}
	if err == nil {
		st.out.Say("the engine has no container, volume or network of %s", st.pool)
	}
	return err
}

// left asks the engine for everything that carries the pool's label.
func (st *stage) left(ctx context.Context) (names []string, err error) {
	filters := make(client.Filters).Add("label", "berth.pool="+st.pool)
	containers, err := st.docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, c := range containers.Items {
		names = append(names, "container "+strings.TrimPrefix(strings.Join(c.Names, " "), "/"))
	}
	volumes, err := st.docker.VolumeList(ctx, client.VolumeListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, v := range volumes.Items {
		names = append(names, "volume "+v.Name)
	}
	networks, err := st.docker.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		return nil, err
	}
	for _, n := range networks.Items {
		names = append(names, "network "+n.Name)
	}
	return names, nil
}

// dropSchema removes the records, and checks that they are gone.
func (st *stage) dropSchema() error {
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	parsed, err := pgxpool.ParseConfig(st.database) // it may have settings that only a pool understands
	if err != nil {
		return errors.New("cannot read the database's URL")
	}
	conn, err := pgx.ConnectConfig(ctx, parsed.ConnConfig)
	if err != nil {
		return fmt.Errorf("cannot drop schema %s: %w", st.schema(), err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "DROP SCHEMA IF EXISTS "+st.schema()+" CASCADE"); err != nil {
		return err
	}
	st.out.Say("the database has no schema %s", st.schema())
	return nil
}

// close removes the parts of the stage, the last one first.
func (st *stage) close() error {
	var errs []error
	for len(st.closers) > 0 {
		last := len(st.closers) - 1
		errs = append(errs, st.closers[last]())
		st.closers = st.closers[:last]
	}
	return errors.Join(errs...)
}
