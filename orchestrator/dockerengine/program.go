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
	"sync"

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

// program is the agent's program and the volume from which containers have it. A volume is never changed. Another version
// of the program has another volume, so that running containers keep theirs.
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
	version := versionOf(binary)
	return program{binary: binary, version: version, volume: "berth-agent-" + short(pool) + "-" + version}, nil
}

// versionOf returns the version of a program.
func versionOf(binary []byte) string {
	sum := sha256.Sum256(binary)
	return hex.EncodeToString(sum[:])[:12]
}

// installer puts the agent's program onto the engine. It owns the filling of the program's volume.
type installer struct {
	*daemon
	program
	resources *resources
	filling   flights[struct{}] // one key

	mu     sync.Mutex // protects filled
	filled bool       // the volume holds the program
}

// ensure fills the volume with the agent's program, unless it is filled. Engines copy files only into containers, so
// one is made from the image, and never started.
func (i *installer) ensure(ctx context.Context, image string) error {
	if i.known() {
		return nil
	}
	_, err := i.filling.do(ctx, "", nil, func(ctx context.Context, _ func(string)) (struct{}, error) {
		if err := i.fill(ctx, image); err != nil {
			return struct{}{}, fmt.Errorf("copying the agent to the engine: %w", err)
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		i.filled = true
		return struct{}{}, nil
	}, nil)
	return err
}

func (i *installer) known() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.filled
}

// forget makes the next Ensure check the agent's volume again, because it may have been removed.
func (i *installer) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.filled = false
}

func (i *installer) fill(ctx context.Context, image string) error {
	if _, err := i.ownVolume(ctx, i.volume, kindAgent); err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	ctx, cancel := unbroken(ctx, i.opts.StartTimeout)
	defer cancel()
	helper, err := i.docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image:      image,
			Entrypoint: []string{programPath},
			Labels:     i.labels(kindHelper),
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none",
			Mounts:      []mount.Mount{i.mount(false)},
		},
	})
	if err == nil {
		err = needs(helper.ID != "", "the making of a helper container", "Id")
	}
	if err != nil {
		return err
	}
	err = i.copyTo(ctx, helper.ID)
	if err != nil {
		if _, inspectErr := i.inspect(ctx, helper.ID); errdefs.IsNotFound(inspectErr) {
			return againError{fmt.Errorf("the helper container was removed from outside: %w", err)}
		}
	}
	return errors.Join(err, i.resources.removeHelper(ctx, helper.ID, kindHelper))
}

func (i *installer) copyTo(ctx context.Context, helper string) error {
	full := func() (bool, error) {
		stat, err := i.docker.ContainerStatPath(ctx, helper, client.ContainerStatPathOptions{Path: programPath})
		if errdefs.IsNotFound(err) {
			return false, nil
		}
		return err == nil && stat.Stat.Size == int64(len(i.binary)), err
	}
	if ok, err := full(); ok || err != nil {
		return err
	}
	archive, err := i.archive()
	if err != nil {
		return err
	}
	_, err = i.docker.CopyToContainer(ctx, helper, client.CopyToContainerOptions{DestinationPath: programDir, Content: archive})
	if err != nil {
		return err
	}
	if ok, err := full(); err != nil {
		return err
	} else if !ok {
		return againError{errors.New("the copy is not complete; is the disk full?")} // or another process replaces it just now
	}
	return nil
}

// archive returns the program as a tar archive, which is the format in which engines take files.
func (p program) archive() (io.Reader, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := w.WriteHeader(&tar.Header{Name: path.Base(programPath), Mode: 0o755, Size: int64(len(p.binary))})
	if err == nil {
		_, err = w.Write(p.binary)
	}
	return &buf, errors.Join(err, w.Close())
}

// mount describes a mount of the volume. The engine makes the volume if it does not exist.
func (i *installer) mount(readOnly bool) mount.Mount {
	return mount.Mount{
		Type:          mount.TypeVolume,
		Source:        i.volume,
		Target:        programDir,
		ReadOnly:      readOnly,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: i.labels(kindAgent)},
	}
}
