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
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/hostboot/hostboottest"
	"github.com/berth-go/berth/internal/workspace"
	"github.com/berth-go/berth/store/memstore"
)

const (
	maxInstances = 3
	slots        = 2               // of an instance
	idleTimeout  = 4 * time.Second // of an instance
	zone         = "us-east-1a"

	clearTimeout = 2 * time.Minute // for removing everything at the end
)

// A fleet is a pool on a cloud that is all here.
type fleet struct {
	*berth.Provider
	*machines
	out   *printer
	repos []string // URLs

	closers []func() error // in the order of what they close
}

// newFleet opens a pool with nothing in it but the instance that it keeps. logger may be nil.
func newFleet(ctx context.Context, out *printer, pool string, logger *slog.Logger) (_ *fleet, err error) {
	if err := hostboottest.Ready(); err != nil {
		return nil, err
	}
	f := &fleet{out: out}
	defer func() {
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
	f.machines = newMachines(ctx, out)
	f.closers = append(f.closers, f.machines.close)
	taken, err := addressesOf(f.repos[0])
	if err != nil {
		return nil, err
	}
	network := fmt.Sprintf("10.218.%d.0/24", rand.IntN(256)) // one of many: fleets may run side by side
	subnet := f.server.AddSubnet(zone, network)
	group := f.server.AddSecurityGroup("engines", ec2test.Rule{Port: hostboot.Port, Source: network})
	f.Provider, err = berth.NewEC2SharedProvider(ctx, berth.Config{
		Name: pool, MinInstances: 1, MaxInstances: maxInstances, MaxTasksPerInstance: slots, InstanceIdleTimeout: idleTimeout,
		Store: memstore.New(), OnEvent: f.tellEvent, Logger: logger,
		EC2: berth.EC2Config{
			AWS: &aws.Config{
				Region: "us-east-1", HTTPClient: f.server.Client(), BaseEndpoint: aws.String(f.server.URL()),
				Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", ""),
			},
			Subnets: []string{subnet}, SecurityGroups: []string{group},
			AvoidCIDRs: []netip.Prefix{taken, netip.MustParsePrefix(network)},
			Daemon:     hostboottest.Daemon(), BootScript: "docker load --quiet --input " + tarball,
		},
	})
	if err != nil {
		return nil, err
	}
	f.closers = append(f.closers, f.destroy)
	return f, nil
}

// saveImage writes the workspace image to a file, for want of a registry that the instances could reach.
func (f *fleet) saveImage(ctx context.Context, docker *client.Client) (path string, err error) {
	image, err := workspace.Ensure(ctx, docker, func(line string) { f.out.say("%s", line) })
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

// serveRepositories serves what the tasks work on.
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

// addressesOf returns a network that holds the server of a repository: the containers of the instances must reach it, so
// their own addresses are others.
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

// destroy ends the pool, and looks at the cloud whether it is gone.
func (f *fleet) destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	if err := f.Destroy(ctx); err != nil && !errors.Is(err, berth.ErrClosed) {
		return err
	}
	if left := f.up(); len(left) > 0 {
		return fmt.Errorf("after Destroy the cloud still has the instances %v", left)
	}
	f.out.say("the pool is destroyed: the cloud has no instance")
	return nil
}

// close removes all of the fleet, the last first.
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
		f.out.say("instance %s is %s", e.Instance, e.Message)
	case berth.EventSessionQueued:
		f.out.say("%s waits for a slot", e.TaskID)
	case berth.EventSessionActive:
		f.out.say("%s has started (%s) on %s", e.TaskID, e.Start, e.Instance)
	case berth.EventSessionEnded:
		f.out.say("%s has ended: %v", e.TaskID, e.Err)
	}
}
