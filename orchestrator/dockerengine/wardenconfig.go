package dockerengine

import (
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
)

// wardenCapabilities are those that the warden needs to enter a container, to make namespaces and cgroups in it and to put up
// the walls of its network, and those of the container: the first process of a room gets the same ones as the agent, which the warden must have to give.
var wardenCapabilities = slices.Concat(capabilities, []string{"NET_ADMIN", "SETPCAP", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"})

const cgroupDir = "/sys/fs/cgroup"

// config describes the warden's container. It has the machine's processes and cgroups, no network, no secret, and none of
// the pool's data. Its own memory and processes are bounded: a room does not count to them.
func (w *warden) config(image string) client.ContainerCreateOptions {
	pids := int64(1024)
	return client.ContainerCreateOptions{
		Name: w.name,
		Config: &container.Config{
			Image:       image,
			User:        "0:0",
			Entrypoint:  agent.WardenCommand(),
			WorkingDir:  "/",
			Labels:      w.wardenLabels(),
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			NetworkMode:    "none",
			PidMode:        "host", // a request comes with the process ID of its sender there
			IpcMode:        container.IPCModePrivate,
			CgroupnsMode:   container.CgroupnsModeHost, // engines before API 1.41 know no other
			RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
			Init:           new(bool),
			ReadonlyRootfs: true,
			CapDrop:        []string{"ALL"},
			CapAdd:         wardenCapabilities,
			SecurityOpt:    []string{"seccomp=unconfined", "apparmor=unconfined", "label=disable"},
			MaskedPaths:    []string{}, // not nil, which means the engine's defaults
			ReadonlyPaths:  []string{},
			LogConfig:      container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
			Tmpfs:          map[string]string{runDir: "rw,nosuid,nodev,noexec,mode=0755,size=1m"},
			Mounts: []mount.Mount{
				w.installer.mount(true),
				w.mount(false),
				{Type: mount.TypeBind, Source: cgroupDir, Target: cgroupDir},
			},
			Resources: container.Resources{
				Memory:     256 << 20,
				MemorySwap: swapBound(256<<20, w.machine),
				PidsLimit:  &pids,
				Ulimits:    noCoreDumps(),
			},
		},
	}
}

func (w *warden) wardenLabels() map[string]string {
	l := w.labels(kindWarden)
	l[labelAgent] = w.installer.version
	return l
}

// mount describes a mount of the volume of the warden's socket. The engine makes the volume if it does not exist.
func (w *warden) mount(readOnly bool) mount.Mount {
	m := volumeMount(w.name, agent.WardenDir, w.wardenLabels())
	m.ReadOnly = readOnly
	return m
}
