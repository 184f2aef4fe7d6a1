package dockerengine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/orchestrator/enginetest"
)

func TestConformance(t *testing.T) {
	docker := testenv.Docker(t) // skips the whole suite where there is no engine
	testenv.Image(t)
	pools := reusedPools(t, docker.DaemonHost())
	enginetest.Run(t, enginetest.Harness{
		New: func(t *testing.T) enginetest.Rig {
			return newRig(t, [2]string{testenv.PoolName(t), testenv.PoolName(t)})
		},
		Reuse: func(t *testing.T) enginetest.Rig {
			names := <-pools
			t.Cleanup(func() { pools <- names })
			rig := newRig(t, names)
			rig.Tidy = tidy
			return rig
		},
		Parallel: true,
	})
}

// reusedPools returns the names of pools that cases use one after another, in pairs. They are purged when the test ends.
func reusedPools(t *testing.T, address string) chan [2]string {
	pools := make(chan [2]string, parallel)
	for range parallel {
		names := [2]string{testenv.PoolName(t), testenv.PoolName(t)}
		pools <- names
		for _, pool := range names {
			t.Cleanup(func() {
				at := orchestrator.Endpoint{Pool: pool, PoolUID: "last", Launch: "launch-1", Address: address}
				h, err := dockerengine.New(dockerengine.Options{Logger: testLogger(t)}).Connect(context.Background(), at)
				if err == nil {
					err = errors.Join(h.Purge(context.Background()), h.Close())
				}
				if err != nil {
					t.Errorf("cleaning up pool %s: %v", pool, err)
				}
			})
		}
	}
	return pools
}

// tidy removes what a case made in a pool, but not what the next case needs too: the warden, the network and the agent's volume.
func tidy(ctx context.Context, h orchestrator.Host) error {
	held, err := h.List(ctx)
	failed := []error{err}
	for _, c := range held.Containers {
		failed = append(failed, h.Remove(ctx, c.Name, ""))
	}
	if held, err = h.List(ctx); err != nil {
		failed = append(failed, err)
	}
	for _, m := range held.Mirrors {
		failed = append(failed, h.RemoveMirror(ctx, m.Name))
	}
	for _, r := range held.Resources {
		if !r.InUse && r.Kind != "warden" && r.Kind != "agent" && r.Kind != "network" {
			failed = append(failed, h.RemoveResource(ctx, r))
		}
	}
	return errors.Join(failed...)
}

// newRig returns a rig of this machine's engine with the pools of these names.
func newRig(t *testing.T, pools [2]string) enginetest.Rig {
	docker := testenv.Docker(t)
	proxy := startProxy(t, docker.DaemonHost())
	rig := rigOn(t, docker, pools)
	rig.Engine = dockerengine.New(dockerengine.Options{Logger: testLogger(t)})
	rig.Pool.Address, rig.Other.Address = proxy.address, proxy.address
	rig.Unreachable = "unix://" + filepath.Join(t.TempDir(), "nothing.sock")
	rig.WrongHost = startImpostor(t)
	rig.CutConnections = func(*testing.T) { proxy.cut() }
	return rig
}

// rigOn returns a rig without the fields that depend on the way to its engine.
func rigOn(t *testing.T, docker *client.Client, pools [2]string) enginetest.Rig {
	outside := &outside{docker: docker, image: testenv.Image(t)}
	server := gittest.NewSmartServer(t)
	widgets := server.Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))
	widgets.Commit("dev", "README", "Better widgets.\n")
	return enginetest.Rig{
		Pool:            orchestrator.Endpoint{Pool: pools[0], PoolUID: "one", Launch: "launch-1"},
		Other:           orchestrator.Endpoint{Pool: pools[1], PoolUID: "two", Launch: "launch-1"},
		Image:           outside.image,
		Processes:       true,
		Remote:          remote(widgets),
		Second:          remote(server.Create("acme/gadgets", gittest.Files(map[string]string{"README": "Gadgets.\n"}))),
		Egress:          egress(),
		KillContainer:   outside.kill,
		KillOutOfMemory: outside.killOutOfMemory,
		FillDisk:        outside.fill,
		RemoveContainer: outside.remove,
		PlantStranger:   outside.plant,
		Stranger:        outside.running,
		BreakMirror:     outside.breakMirror,
		PlantResources:  outside.plantResources,
	}
}

// egress allows the addresses of git servers, and that of the hidden one.
func egress() orchestrator.Egress {
	e := gittest.Egress()
	e.Allow = append(e.Allow, "127.0.0.1")
	return e
}

func remote(r *gittest.Remote) enginetest.Remote {
	n := 0
	beside := r.Commit("gone", "pushed", "and deleted")
	r.DeleteBranch("gone")
	server, path, _ := strings.Cut(strings.TrimPrefix(r.URL(), "http://"), "/")
	return enginetest.Remote{
		URL: r.URL(),
		// Nothing listens at this address in a container. The git server also answers the requests of a proxy's clients.
		Hidden:  "http://127.0.0.1:9/" + path,
		Proxy:   "http://" + server,
		Tag:     "v1",
		Tagged:  r.Tag("v1", "main"),
		Beside:  beside,
		Flake:   func() { r.Flake(http.StatusServiceUnavailable) },
		Default: "main",
		Branch:  "dev",
		Head:    r.Head,
		Commit: func(t *testing.T, branch string) {
			n++
			r.Commit(branch, "pushed", time.Now().String())
		},
		Refuse: func(refuse bool) {
			if refuse {
				r.Refuse(http.StatusForbidden)
			} else {
				r.Refuse(0)
			}
		},
		Fetches:  r.Fetches,
		Requests: r.Requests,
		Lock: func(lock bool) (user, password string) {
			if lock {
				user, password = "ann", "opensesame"
			}
			r.RequireCredentials(user, password)
			return user, password
		},
		Hang: func(hang bool) {
			if hang {
				r.Delay(time.Hour)
			} else {
				r.Delay(0)
			}
		},
	}
}

// outside interferes with an engine without berth, as an operator does.
type outside struct {
	docker *client.Client
	image  string
}

func (o *outside) kill(t *testing.T, name string) {
	t.Helper()
	if _, err := o.docker.ContainerKill(t.Context(), name, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	wait := o.docker.ContainerWait(t.Context(), name, client.ContainerWaitOptions{})
	select {
	case <-wait.Result:
	case err := <-wait.Error:
		t.Fatal(err)
	}
}

// killOutOfMemory makes the kernel kill a process of the container, and then kills the container.
func (o *outside) killOutOfMemory(t *testing.T, name string) {
	t.Helper()
	made, err := o.docker.ExecCreate(t.Context(), name, client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", "echo 1000 > /proc/self/oom_score_adj; head -c 1000000000 /dev/zero | tail -c 1000000000 > /dev/null"}, AttachStdout: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	hog, err := o.docker.ExecAttach(t.Context(), made.ID, client.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer hog.Close()
	io.Copy(io.Discard, hog.Reader)
	o.kill(t, name)
}

// fill writes a file that is too large into the home of a session.
func (o *outside) fill(t *testing.T, name string, s agent.Session) {
	t.Helper()
	made, err := o.docker.ExecCreate(t.Context(), name, client.ExecCreateOptions{
		User: fmt.Sprintf("%d:%d", s.UID, s.UID), AttachStdout: true,
		Cmd: []string{"sh", "-c", fmt.Sprintf("head -c %d /dev/zero >%s/%s/home/large", 2*enginetest.DiskLimit, agent.SessionsDir, s.ID)},
	})
	if err != nil {
		t.Fatal(err)
	}
	exec, err := o.docker.ExecAttach(t.Context(), made.ID, client.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Close()
	io.Copy(io.Discard, exec.Reader)
}

func (o *outside) remove(t *testing.T, name string) {
	t.Helper()
	if _, err := o.docker.ContainerRemove(t.Context(), name, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
}

func (o *outside) plant(t *testing.T, name string) string {
	t.Helper()
	return o.run(t, client.ContainerCreateOptions{Name: name}, "sleep", "1000")
}
