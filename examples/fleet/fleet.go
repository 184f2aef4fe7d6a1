package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/hostboottest"
	"github.com/berth-go/berth/internal/test/workspace"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store/memstore"
)

const (
	maxInstances = 3
	slots        = 2               // of an instance
	idleTimeout  = 4 * time.Second // of an instance
	zone         = "us-east-1a"

	notice        = 45 * time.Second // of EC2, before it takes back a spot instance; in AWS it is 2 min
	settleTimeout = 4 * time.Minute  // for instances to become ready: on a busy machine they boot slowly
	clearTimeout  = 2 * time.Minute  // for removing everything at the end
)

// A fleet is a pool on a cloud in this process.
type fleet struct {
	*berth.Provider
	*machines
	out   *narrate.Printer
	repos []string // URLs

	closers []func() error // in the order of what they close
}

// options are the settings in which fleets differ.
type options struct {
	systemd bool          // instances boot a real systemd with cloud-init; otherwise only their user data is real
	spot    ec2cloud.Spot // on demand or spot
	logger  *slog.Logger  // nil = none
}

// newFleet opens a pool that has only the instance of MinInstances.
func newFleet(ctx context.Context, out *narrate.Printer, pool string, o options) (_ *fleet, err error) {
	ready := hostboottest.Ready
	if o.systemd {
		ready = hostboottest.ReadySystemd
	}
	if err := ready(); err != nil {
		return nil, err
	}
	f := &fleet{out: out}
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = narrate.ErrInterrupted
		}
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return nil, err
	}
	f.closers = append(f.closers, docker.Close)
	tarball, err := f.saveImage(ctx, docker)
	if err != nil {
		return nil, err
	}
	if err := f.serveRepositories(ctx, docker); err != nil {
		return nil, err
	}
	if o.systemd {
		if _, err := hostboottest.Image(ctx, func(line string) { out.Say("%s", line) }); err != nil {
			return nil, err
		}
	}
	f.machines = newMachines(ctx, out, o.systemd, filepath.Dir(tarball))
	f.closers = append(f.closers, f.machines.close)
	if err := f.openPool(ctx, pool, o, tarball); err != nil {
		return nil, err
	}
	return f, nil
}

// openPool makes the Provider. The instances load their image from tarball.
func (f *fleet) openPool(ctx context.Context, pool string, o options, tarball string) error {
	taken, err := addressesOf(f.repos[0])
	if err != nil {
		return err
	}
	network := fmt.Sprintf("10.218.%d.0/24", rand.IntN(256)) // at random, because fleets may run side by side
	subnet := f.server.AddSubnet(zone, network)
	group := f.server.AddSecurityGroup("engines", ec2test.Rule{Port: hostboot.Port, Source: network})
	f.Provider, err = berth.NewEC2SharedProvider(ctx, berth.Config{
		Name: pool, MinInstances: 1, MaxInstances: maxInstances, MaxTasksPerInstance: slots, InstanceIdleTimeout: idleTimeout,
		Store: memstore.New(), OnEvent: f.tellEvent, Logger: o.logger, Egress: gittest.Egress(f.repos...),
		EC2: berth.EC2Config{
			AWS: &aws.Config{
				Region: "us-east-1", HTTPClient: f.server.Client(), BaseEndpoint: aws.String(f.server.URL()),
				Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", ""),
			},
			Subnets: []string{subnet}, SecurityGroups: []string{group}, Spot: o.spot,
			AvoidCIDRs: []netip.Prefix{taken, netip.MustParsePrefix(network)},
			Daemon:     hostboottest.Daemon(), BootScript: "docker load --quiet --input " + tarball,
		},
	})
	if err != nil {
		return err
	}
	f.closers = append(f.closers, f.destroy)
	return nil
}

// saveImage writes the workspace image to a file, because the instances reach no registry.
func (f *fleet) saveImage(ctx context.Context, docker *client.Client) (path string, err error) {
	image, err := workspace.Ensure(ctx, docker, func(line string) { f.out.Say("%s", line) })
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		return "", err
	}
	f.closers = append(f.closers, func() error { return os.RemoveAll(dir) })
	file, err := os.Create(filepath.Join(dir, "image.tar"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	saved, err := docker.ImageSave(ctx, []string{image})
	if err != nil {
		return "", err
	}
	defer saved.Close()
	_, err = io.Copy(file, saved)
	return file.Name(), err
}

// serveRepositories serves the repositories of the tasks.
func (f *fleet) serveRepositories(ctx context.Context, docker *client.Client) error {
	var repos []*gittest.Repo
	for _, name := range []string{"shop", "billing", "docs"} {
		r := gittest.NewRepo("acme/" + name)
		r.Commit("main", "Begin "+name, map[string]string{"README.md": "# " + name + "\n"})
		repos = append(repos, r)
	}
	server, err := gittest.Serve(ctx, docker, repos...)
	if err != nil {
		return err
	}
	f.closers = append(f.closers, server.Close)
	for _, r := range repos {
		f.repos = append(f.repos, server.URL(r))
	}
	return nil
}

// addressesOf returns a network that holds the server of a repository. The containers of the instances get addresses outside of
// it, so that they reach the server.
func addressesOf(repo string) (netip.Prefix, error) {
	u, err := url.Parse(repo)
	if err != nil {
		return netip.Prefix{}, err
	}
	address, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("the bridge of this machine's Docker engine cannot be used: %w", err)
	}
	return address.Prefix(16)
}

// destroy ends the pool, and checks that the cloud has no instance of it.
func (f *fleet) destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	if err := f.Destroy(ctx); err != nil && !errors.Is(err, berth.ErrClosed) {
		return err
	}
	if left := f.up(); len(left) > 0 {
		return fmt.Errorf("after Destroy the cloud still has the instances %v", left)
	}
	f.out.Say("the pool is destroyed: the cloud has no instance")
	return nil
}

// close removes the parts of the fleet, the last one first.
func (f *fleet) close() error {
	var errs []error
	for len(f.closers) > 0 {
		last := len(f.closers) - 1
		errs = append(errs, f.closers[last]())
		f.closers = f.closers[:last]
	}
	return errors.Join(errs...)
}

// tellEvent prints what happens to instances and sessions.
func (f *fleet) tellEvent(e berth.Event) {
	switch e.Type {
	case berth.EventInstanceChange:
		f.out.Say("instance %s is %s", e.Instance, e.Message)
	case berth.EventSessionQueued:
		f.out.Say("%s waits for a slot", e.TaskID)
	case berth.EventSessionActive:
		f.out.Say("%s has started (%s) on %s", e.TaskID, e.Start, e.Instance)
	case berth.EventSessionEndangered:
		f.out.Say("%s is warned: %v", e.TaskID, e.Err)
	case berth.EventSessionEnded:
		f.out.Say("%s has ended: %v", e.TaskID, e.Err)
	}
}
