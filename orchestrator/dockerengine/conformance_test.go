package dockerengine_test

import (
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
	testenv.Docker(t) // skips the whole suite where there is no engine
	enginetest.Run(t, enginetest.Harness{New: newRig, Parallel: true})
}

func newRig(t *testing.T) enginetest.Rig {
	docker := testenv.Docker(t)
	proxy := startProxy(t, docker.DaemonHost())
	rig := rigOn(t, docker)
	rig.Engine = dockerengine.New(dockerengine.Options{Logger: testLogger(t)})
	rig.Pool.Address, rig.Other.Address = proxy.address, proxy.address
	rig.Unreachable = "unix://" + filepath.Join(t.TempDir(), "nothing.sock")
	rig.WrongHost = startImpostor(t)
	rig.CutConnections = func(*testing.T) { proxy.cut() }
	return rig
}

// rigOn returns a rig without the fields that depend on the way to its engine.
func rigOn(t *testing.T, docker *client.Client) enginetest.Rig {
	outside := &outside{docker: docker, image: testenv.Image(t)}
	endpoint := func(uid string) orchestrator.Endpoint {
		return orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: uid, Launch: "launch-1"}
	}
	server := gittest.NewSmartServer(t)
	widgets := server.Create("acme/widgets", gittest.Files(map[string]string{"README": "Widgets.\n"}))
	widgets.Commit("dev", "README", "Better widgets.\n")
	return enginetest.Rig{
		Pool:            endpoint("one"),
		Other:           endpoint("two"),
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
