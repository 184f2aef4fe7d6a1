// Command fleet shows a pool that grows and shrinks: three EC2 instances, each with a Docker engine of its own, which berth
// reaches over mutual TLS. It needs root on a Linux machine, and no account at AWS. EC2 is a server in this process that speaks
// EC2's protocol. An instance is a container of systemd-nspawn that boots Debian with systemd, cloud-init and Docker, and finds
// its user data at the metadata service, as on EC2. If systemd-nspawn or mmdebstrap is missing, an instance is a set of
// namespaces in which its user data starts the real Docker.
//
// It leaves nothing behind, also when it is interrupted.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"

	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/hostboottest"
)

func main() {
	narrate.Main("fleet", func(ctx context.Context) error {
		return run(ctx, narrate.NewPrinter(os.Stdout), "fleet-"+strings.ToLower(rand.Text()[:8]))
	})
}

// run opens a fleet, tells its story and removes all of it.
func run(ctx context.Context, out *narrate.Printer, pool string) error {
	o := options{systemd: true}
	if err := hostboottest.ReadySystemd(); err != nil {
		out.Say("instances are namespaces without systemd and cloud-init: %v", err)
		o.systemd = false
	}
	f, err := newFleet(ctx, out, pool, o)
	if err != nil {
		return err
	}
	err = tell(ctx, f)
	if ctx.Err() != nil {
		err = narrate.ErrInterrupted
	}
	return errors.Join(err, f.close())
}
