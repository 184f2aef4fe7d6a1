package dockerengine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
)

const (
	programDir  = agent.ProgramDir
	programPath = agent.Program
)

// program is the agent's program and the volume that brings it into containers. A volume is never changed: another
// version of the program has another volume, so that containers that run keep theirs.
type program struct {
	binary  []byte
	version string // its hash, in hex
	volume  string
}

func loadProgram(opts Options, pool, arch string) (program, error) {
	binary, err := opts.Agent(arch)
	if err != nil {
		return program{}, fmt.Errorf("no agent for %s: %w", arch, err)
	}
	sum := sha256.Sum256(binary)
	version := hex.EncodeToString(sum[:])[:12]
	return program{binary: binary, version: version, volume: "berth-agent-" + short(pool) + "-" + version}, nil
}

// ensureProgram makes sure that the volume with the agent's program is filled. The image, which the engine has, is only
// lent: an engine copies files into containers alone, so one is made, and never started.
func (h *host) ensureProgram(ctx context.Context, image string) error {
	if h.knowsProgram() {
		return nil
	}
	_, err := h.programs.do(ctx, "", nil, func(ctx context.Context, _ func(string)) (struct{}, error) {
		if err := h.fillProgram(ctx, image); err != nil {
			return struct{}{}, fmt.Errorf("bringing the agent to the engine: %w", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.agentReady = true
		return struct{}{}, nil
	}, nil)
	return err
}

func (h *host) knowsProgram() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agentReady
}

// forgetShared makes the next Ensure look again for what containers share. Somebody may have removed it.
func (h *host) forgetShared() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.network, h.agentReady = "", false
}

func (h *host) fillProgram(ctx context.Context, image string) error {
	if _, err := h.ownVolume(ctx, h.agent.volume, kindAgent); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	ctx, cancel := unbroken(ctx, h.opts.StartTimeout)
	defer cancel()
	helper, err := h.docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image:      image,
			Entrypoint: []string{programPath},
			Labels:     h.labels(kindHelper),
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none",
			Mounts:      []mount.Mount{h.programMount(false)},
		},
	})
	if err != nil {
		return err
	}
	return errors.Join(h.copyProgram(ctx, helper.ID), h.removeHelper(ctx, helper.ID))
}

func (h *host) copyProgram(ctx context.Context, helper string) error {
	full := func() (bool, error) {
		stat, err := h.docker.ContainerStatPath(ctx, helper, client.ContainerStatPathOptions{Path: programPath})
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return err == nil && stat.Stat.Size == int64(len(h.agent.binary)), err
	}
	if ok, err := full(); ok || err != nil {
		return err
	}
	archive, err := h.agent.archive()
	if err != nil {
		return err
	}
	_, err = h.docker.CopyToContainer(ctx, helper, client.CopyToContainerOptions{DestinationPath: programDir, Content: archive})
	if err != nil {
		return err
	}
	if ok, err := full(); err != nil {
		return err
	} else if !ok {
		return errors.New("it is not complete after it was copied; is the disk full?")
	}
	return nil
}

func (h *host) removeHelper(ctx context.Context, id string) error {
	_, err := h.docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return ignoreAbsent(err)
}

// archive returns the program as a tar archive, the form in which engines take files.
func (p program) archive() (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Name: path.Base(programPath), Mode: 0o755, Size: int64(len(p.binary))})
	if err == nil {
		_, err = w.Write(p.binary)
	}
	return &buf, errors.Join(err, w.Close())
}

// programMount mounts the volume, and makes it if it is not there.
func (h *host) programMount(readOnly bool) mount.Mount {
	return mount.Mount{
		Type:          mount.TypeVolume,
		Source:        h.agent.volume,
		Target:        programDir,
		ReadOnly:      readOnly,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: h.labels(kindAgent)},
	}
}
