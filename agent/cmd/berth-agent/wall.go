package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/daemon"
	"github.com/berth-go/berth/agent/internal/wall"
	"github.com/berth-go/berth/agent/internal/warden"
)

// noWallsError says that the warden has put up no walls.
type noWallsError struct{ error }

func (e noWallsError) Unwrap() error { return e.error }

// wallsTimeout bounds the warden's work on the walls.
const wallsTimeout = 15 * time.Second

// keepWalls lets the warden put up the walls of this container's network, and tells it of them every minute until ctx ends: a
// warden that was started anew does not know them. It returns when they stand.
func keepWalls(ctx context.Context, client *warden.Client, o daemon.Options) error {
	putUp := func() error {
		ctx, cancel := context.WithTimeout(ctx, wallsTimeout)
		defer cancel()
		return client.PutUpWalls(ctx, o.Egress)
	}
	if err := putUp(); err != nil {
		return noWallsError{err}
	}
	go func() {
		tick := time.NewTicker(time.Minute)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := putUp(); err != nil && ctx.Err() == nil {
				o.Log.Warn("the walls of the network stay as they are", "error", err)
			}
		}
	}()
	return nil
}

// putUpWalls puts up the walls of a network namespace, and denies the subnets of its interfaces, too.
func putUpWalls(args []string) error {
	flags := flag.NewFlagSet("wall", flag.ExitOnError)
	policy := daemon.PolicyFlags(flags)
	namespace := flags.String("namespace", "/proc/self/ns/net", "the file of the network namespace")
	var c wall.Config
	flags.Func("deny", "an address or a CIDR of the host's; may be repeated", func(item string) error {
		net, err := egress.ParseNet(item)
		c.Deny = append(c.Deny, net)
		return err
	})
	flags.Parse(args)
	var err error
	if c.Policy, err = policy(); err != nil {
		return err
	}
	return wall.In(*namespace, func() error {
		subnets, err := wall.Subnets()
		if err != nil {
			return err
		}
		c.Deny = append(c.Deny, subnets...)
		weaker, err := wall.Install(c)
		if weaker != nil {
			fmt.Fprintln(os.Stderr, "the walls stand;", weaker)
		}
		return err
	})
}
