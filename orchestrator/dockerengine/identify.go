package dockerengine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// identities holds the engine's ID of each launch to which this process has connected, in some hundred bytes each. The zero
// value is ready for use.
type identities struct {
	mu  sync.Mutex        // protects ids
	ids map[string]string // by launch
}

// note records the ID of a launch's engine. If another ID was recorded before, it returns that one, and true.
func (i *identities) note(launch, id string) (before string, changed bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ids == nil {
		i.ids = map[string]string{}
	}
	before, known := i.ids[launch]
	if !known {
		i.ids[launch] = id
	}
	return before, known && before != id
}

// machine is what an engine says of the machine that it runs on.
type machine struct {
	arch                     string // as Go names it
	memory                   int64  // in bytes; 0 = the engine does not say
	boundsMemory, boundsSwap bool   // the engine can bound them
	cgroup2                  bool   // it has cgroups of version 2
	runtimes                 []string
}

// identify verifies that the right engine answers, and returns what it says of its machine. An engine that has a label
// with its launch must belong to the right launch, because addresses are given to other machines sooner or later. If the
// Endpoint has Trust, the engine's certificate proves its launch. It must then also have the label, and the ID that it had
// before: a machine with another ID was set up again, and nothing that we made on it is left.
func (i *identities) identify(ctx context.Context, docker *client.Client, at orchestrator.Endpoint) (machine, error) {
	found, err := docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return machine{}, err
	}
	const call = "the question about itself"
	info := found.Info
	if err := errors.Join(
		needs(info.ID != "" || at.Trust == "", call, "ID"),
		needs(info.OSType != "", call, "OSType"),
		needs(info.Architecture != "", call, "Architecture"),
	); err != nil {
		return machine{}, err
	}
	launch, labelled := "", false
	for _, label := range info.Labels {
		if value, ok := strings.CutPrefix(label, labelLaunch+"="); ok {
			launch, labelled = value, true
		}
	}
	switch {
	case labelled && launch != at.Launch:
		return machine{}, fmt.Errorf("%w: it is launch %q, not %q", orchestrator.ErrWrongHost, launch, at.Launch)
	case !labelled && at.Trust != "":
		return machine{}, fmt.Errorf("%w: it has no label %s that says that it is launch %q", orchestrator.ErrWrongHost, labelLaunch, at.Launch)
	}
	if at.Trust != "" {
		if before, changed := i.note(at.Launch, info.ID); changed {
			return machine{}, fmt.Errorf("%w: it was set up again: its ID was %s and is %s", orchestrator.ErrWrongHost, before, info.ID)
		}
	}
	if info.OSType != "linux" {
		return machine{}, fmt.Errorf("it runs %s containers, but berth needs Linux containers", info.OSType)
	}
	m := machine{
		arch: info.Architecture, memory: info.MemTotal, boundsMemory: info.MemoryLimit, boundsSwap: info.SwapLimit,
		cgroup2: info.CgroupVersion == "2", runtimes: slices.Sorted(maps.Keys(info.Runtimes)),
	}
	switch m.arch {
	case "x86_64":
		m.arch = "amd64"
	case "aarch64":
		m.arch = "arm64"
	}
	return m, nil
}

// explain returns an error that says what to do about an engine that cannot be used.
func explain(address string, err error) error {
	at := "the Docker engine at " + address
	if err := explainTLS(at, err); err != nil {
		return err
	}
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", at, err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("no right to use %s: add the user to the group docker and log in again, or set DOCKER_HOST to an engine that the user may use: %w", at, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return unreachable{fmt.Errorf("%s does not answer in time: %w", at, err)}
	case errors.Is(err, os.ErrNotExist), isRefused(err):
		return unreachable{fmt.Errorf("no Docker engine at %s: start it, or set DOCKER_HOST to the address of one that runs: %w", address, err)}
	case client.IsErrConnectionFailed(err):
		return unreachable{fmt.Errorf("%s cannot be reached: %w", at, err)}
	}
	return fmt.Errorf("%s: %w", at, err)
}

// explainTLS is explain for errors of certificates and TLS. It returns nil for any other error.
func explainTLS(at string, err error) error {
	var (
		unverified *tls.CertificateVerificationError
		invalid    x509.CertificateInvalidError
		other      tls.RecordHeaderError
		op         *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // or not valid yet; nothing else was checked
		return fmt.Errorf("%s has a certificate that is not valid at this time; does one of the machines have the wrong time? %w", at, err)
	case errors.As(err, &unverified):
		return fmt.Errorf("%s: %w: %w", at, orchestrator.ErrWrongHost, err)
	case errors.As(err, &other):
		return fmt.Errorf("%s: %w: it does not speak TLS: %w", at, orchestrator.ErrWrongHost, err)
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("%s refuses this program's certificate: %w", at, err)
	}
	return nil
}
