package dockerengine

import (
	"cmp"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

const (
	mirrorDir  = agent.MirrorDir   // the mirror volume
	runDir     = agent.RunDir      // the agent's sockets
	sessionDir = agent.SessionsDir // the work volume: homes and checkouts
)

// capabilities are those that the agent needs as root to make and end sessions. They are not effective in the processes
// of a session, which run under a uid of their own.
var capabilities = []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}

// serveOptions are those of the agent of a container without rooms.
func (e *ensuring) serveOptions(b bounds) agent.ServeOptions {
	l := e.spec.Limits
	return agent.ServeOptions{
		MaxProcesses: b.ofSession, Repository: l.Repository, Egress: agent.Egress(e.spec.Egress),
		Disk: agent.DiskLimits{Bytes: l.Session.DiskBytes, Files: l.Session.DiskFiles, Parts: cmp.Or(e.spec.Sessions, usualSessions)},
	}
}

// config describes the container. It holds no secret, because every client of the engine can read it.
func (e *ensuring) config(image, network string) client.ContainerCreateOptions {
	labels := func(kind string) map[string]string {
		l := e.labels(kind)
		l[labelKey] = e.spec.Key.String()
		l[labelAttempt] = e.attempt
		return l
	}
	l := labels(kindContainer)
	l[labelAgent], l[labelRooms] = e.installer.version, string(e.isolation.Level)
	b := boundsOf(e.spec, e.machine)
	serve := e.serveOptions(b)
	var sysctls map[string]string
	mounts := []mount.Mount{
		e.installer.mount(true),
		volumeMount(e.spec.Name, mirrorDir, labels(kindMirror)),
		volumeMount(workVolume(e.spec.Name), sessionDir, labels(kindWork)),
	}
	if e.isolation.Level == store.IsolationRooms {
		serve.Warden, serve.Session, serve.Resolver = true, b.session, true
		sysctls = map[string]string{
			"net.ipv4.ip_unprivileged_port_start": "0",    // as engines have it by now: the resolver's port is 53
			"net.ipv4.tcp_max_tw_buckets":         "8192", // connections that are over and keep their ports, whose owner the kernel does not know any more
		}
		mounts = append(mounts, e.warden.mount(true))
	}
	return client.ContainerCreateOptions{
		Name: e.spec.Name,
		Config: &container.Config{
			Image:       image,
			Hostname:    e.spec.Name,
			User:        "0:0", // an image may name another user, but the agent needs root to start sessions under their uids
			Entrypoint:  agent.ServeCommand(serve),
			WorkingDir:  "/",
			Labels:      l,
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
		HostConfig: &container.HostConfig{
			NetworkMode:   container.NetworkMode(network),
			IpcMode:       container.IPCModePrivate,
			CgroupnsMode:  e.machine.cgroupNamespace(),
			ShmSize:       b.shmSize(e.machine),
			Runtime:       e.opts.Runtime,
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
			Init:          new(bool), // false, because the agent is PID 1; an engine may be configured to add an init
			CapDrop:       []string{"ALL"},
			CapAdd:        capabilities,
			SecurityOpt:   []string{"no-new-privileges"},
			Sysctls:       sysctls,
			LogConfig:     container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "1m", "max-file": "1"}},
			Tmpfs: map[string]string{
				runDir: "rw,nosuid,nodev,noexec,mode=0755,size=1m",
				"/tmp": fmt.Sprintf("rw,nosuid,nodev,exec,mode=1777,size=%d", b.tmp), // 0 = no limit, for the kernel too
			},
			Mounts:    mounts,
			Resources: b.resources(e.machine),
		},
	}
}

// volumeMount mounts a volume. The engine makes it with these labels if it does not exist.
func volumeMount(name, target string, labels map[string]string) mount.Mount {
	return mount.Mount{
		Type:          mount.TypeVolume,
		Source:        name,
		Target:        target,
		VolumeOptions: &mount.VolumeOptions{NoCopy: true, Labels: labels},
	}
}
