package dockerengine

import (
	"cmp"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

const (
	mirrorDir  = agent.MirrorDir   // the mirror volume
	runDir     = agent.RunDir      // the agent's sockets
	sessionDir = agent.SessionsDir // the work volume: homes and checkouts

	defaultTmp = 1 << 30
)

// capabilities are what the agent needs as root to make and to end sessions. What a session runs has none of them in
// effect, since it runs under a uid of its own.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}

// config describes the container of a sharing key. Nothing in it is secret: whoever may talk to the engine can read it.
func (h *host) config(spec orchestrator.ContainerSpec, image, network, attempt string) client.ContainerCreateOptions {
	labels := func(kind string) map[string]string {
		l := h.labels(kind)
		l[labelKey] = spec.Key.String()
		l[labelAttempt] = attempt
		return l
	}
	l := labels(kindContainer)
	l[labelAgent] = h.agent.version
	pids, ofSession := processes(spec)
	return client.ContainerCreateOptions{
		Name: spec.Name,
		Config: &container.Config{
			Image:       image,
			Hostname:    spec.Name,
			User:        "0:0", // images may name another, and the agent starts sessions under theirs
			Entrypoint:  agent.ServeCommand(agent.ServeOptions{MaxProcesses: ofSession}),
			WorkingDir:  "/",
			Labels:      l,
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			NetworkMode:   container.NetworkMode(network),
			IpcMode:       container.IPCModePrivate,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			Init:          new(bool), // the engine may be set to bring an init of its own; the agent is PID 1
			CapDrop:       []string{"ALL"},
			CapAdd:        capabilities,
			SecurityOpt:   []string{"no-new-privileges"},
			LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
			Tmpfs: map[string]string{
				runDir: "rw,nosuid,nodev,noexec,mode=0755,size=1m",
				"/tmp": fmt.Sprintf("rw,nosuid,nodev,exec,mode=1777,size=%d", cmp.Or(spec.Limits.TmpBytes, defaultTmp)),
			},
			Mounts: []mount.Mount{
				h.programMount(true),
				volumeMount(spec.Name, mirrorDir, labels(kindMirror)),
				volumeMount(workVolume(spec.Name), sessionDir, labels(kindWork)),
			},
			Resources: resources(spec.Limits, pids),
		},
	}
}

// volumeMount mounts a volume, and makes it with these labels if it is not there.
func volumeMount(name, target string, labels map[string]string) mount.Mount {
	return mount.Mount{
		Type:          mount.TypeVolume,
		Source:        name,
		Target:        target,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: labels},
	}
}

// resources sets no ulimits: an engine without CAP_SYS_RESOURCE cannot start a container that asks for more than the
// engine has itself, and what it has is not known. The agent bounds each session by what it finds.
func resources(l orchestrator.Limits, pids int64) container.Resources {
	return container.Resources{
		Memory:     l.MemoryBytes,
		MemorySwap: l.MemoryBytes, // as much as without swap: what is swapped out is slow, not dead
		NanoCPUs:   int64(l.CPUs * 1e9),
		PidsLimit:  &pids,
	}
}
