package dockerengine_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/orchestrator/enginetest"
)

func TestConformance(t *testing.T) {
	testenv.Docker(t) // skips all of it at once where there is none
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

// rigOn returns all of a rig that does not depend on the way to its engine.
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
		Remote:          remote(widgets),
		Second:          remote(server.Create("acme/gadgets", gittest.Files(map[string]string{"README": "Gadgets.\n"}))),
		KillContainer:   outside.kill,
		RemoveContainer: outside.remove,
		PlantStranger:   outside.plant,
		Stranger:        outside.running,
		BreakMirror:     outside.breakMirror,
	}
}

func remote(r *gittest.Remote) enginetest.Remote {
	n := 0
	return enginetest.Remote{
		URL:     r.URL(),
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
		Fetches: r.Fetches,
		Hang: func(hang bool) {
			if hang {
				r.Delay(time.Hour)
			} else {
				r.Delay(0)
			}
		},
	}
}

// outside interferes with an engine as an operator would, past berth.
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
