package dockerengine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// identities are the engines that were found behind the launches that this process has connected to: some hundred
// bytes for each. The zero value is ready for use.
type identities struct {
	mu  sync.Mutex // protects ids
	ids map[string]string
}

// note takes down the ID of a launch's engine. It returns the one that is known from before, if that is another.
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

// identify verifies whose engine answers and returns its architecture, in Go's words. An engine that says by a label
// which launch it belongs to must belong to the right one: addresses are given to other machines sooner or later. Where
// an engine has to prove itself, which its certificate does, it must also have the label and the ID that it had before:
// the same machine with another ID was set up anew, and what we made on it is gone.
func (i *identities) identify(ctx context.Context, docker *client.Client, at orchestrator.Endpoint) (arch string, err error) {
	found, err := docker.Info(ctx, client.InfoOptions{})
	if err != nil {
		return "", err
	}
	info := found.Info
	launch, labelled := "", false
	for _, label := range info.Labels {
		if value, ok := strings.CutPrefix(label, labelLaunch+"="); ok {
			launch, labelled = value, true
		}
	}
	switch {
	case labelled && launch != at.Launch:
		return "", fmt.Errorf("%w: it is launch %q, not %q", orchestrator.ErrWrongHost, launch, at.Launch)
	case !labelled && at.Trust != "":
		return "", fmt.Errorf("%w: it does not say by a label %s that it is launch %q", orchestrator.ErrWrongHost, labelLaunch, at.Launch)
	}
	if at.Trust != "" {
		if before, changed := i.note(at.Launch, info.ID); changed {
			return "", fmt.Errorf("%w: it was set up anew: its ID is %s and was %s", orchestrator.ErrWrongHost, info.ID, before)
		}
	}
	if info.OSType != "linux" {
		return "", fmt.Errorf("it runs %s containers, and Linux ones are needed", info.OSType)
	}
	switch info.Architecture {
	case "x86_64":
		return "amd64", nil
	case "aarch64":
		return "arm64", nil
	}
	return info.Architecture, nil
}

// explain says what to do about an engine that cannot be used.
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
		return fmt.Errorf("no right to use %s: add the user to the group docker and log in again, or set DOCKER_HOST to an engine that you may use: %w", at, err)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("%s does not answer in time: %w", at, err)
	case errors.Is(err, os.ErrNotExist), isRefused(err):
		return fmt.Errorf("no Docker engine at %s: start it, or set DOCKER_HOST to the address of one that runs: %w", address, err)
	}
	return fmt.Errorf("%s: %w", at, err)
}

// explainTLS is explain for what goes wrong with certificates; nil if that is not it.
func explainTLS(at string, err error) error {
	var (
		unverified *tls.CertificateVerificationError
		invalid    x509.CertificateInvalidError
		other      tls.RecordHeaderError
		op         *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // or not valid yet; nothing else was looked at
		return fmt.Errorf("%s has a certificate that is not valid now; does one of the machines have the wrong time? %w", at, err)
	case errors.As(err, &unverified):
		return fmt.Errorf("%s: %w: %w", at, orchestrator.ErrWrongHost, err)
	case errors.As(err, &other):
		return fmt.Errorf("%s: %w: it does not speak TLS: %w", at, orchestrator.ErrWrongHost, err)
	case errors.As(err, &op) && op.Op == "remote error":
		return fmt.Errorf("%s refuses this program's certificate: %w", at, err)
	}
	return nil
}
