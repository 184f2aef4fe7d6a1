package agent_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// TestOutOfMemoryIsTheSessionsOwn: the memory of a room ends the guilty, and no neighbour is told that it was out of memory.
func TestOutOfMemoryIsTheSessionsOwn(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		agenttest.NeedMemoryLimits(t)
		r := start(t, "-session-memory=67108864")
		r.session(t, "s", 10001)
		r.session(t, "other", 10002)
		hold, release, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		bystander, err := r.Start(testContext(t), agent.Command{Session: "other", Args: []string{"sh", "-c", "read x; exit 3"}, Stdin: hold})
		if err != nil {
			t.Fatal(err)
		}
		before := inits(r)
		const hog = "head -c 200000000 /dev/zero | tail -c 199999999 | wc -c; exit 5"
		for range 3 {
			if out, exit := r.run(t, "s", hog); exit.Code != 5 || !exit.OutOfMemory {
				t.Errorf("the guilty: %+v, %s", exit, out)
			}
		}
		if now := inits(r); now["s"] != before["s"] || now["other"] != before["other"] {
			t.Errorf("the inits were %v and are %v", before, now)
		}
		release.Close()
		if exit, err := bystander.Wait(); err != nil || exit != (agent.Exit{Code: 3}) {
			t.Errorf("the neighbour: %+v, %v", exit, err)
		}

		// If the kernel chooses the init, all of the room ends, and the session gets another one.
		hold, release, err = os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		running := make(map[string]*agent.Process)
		for what, script := range map[string]string{"the guilty": "read x; " + hog, "another": "sleep 1000"} {
			running[what], err = r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", script}, Stdin: hold})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, process := range processesOf(r, 10001) {
			os.WriteFile(process+"/oom_score_adj", []byte("0"), 0)
		}
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", before["s"]), []byte("1000"), 0); err != nil {
			t.Fatal(err)
		}
		release.Close()
		for what, p := range running {
			if exit, err := p.Wait(); err != nil || exit != (agent.Exit{Code: -1, Signal: 9, OutOfMemory: true}) {
				t.Errorf("%s, when the init is killed: %+v, %v", what, exit, err)
			}
		}
		if out, exit := r.run(t, "s", "echo fine; exit 3"); out != "fine\n" || exit != (agent.Exit{Code: 3}) {
			t.Errorf("afterwards: %q, %+v", out, exit)
		}
		for id, uid := range map[string]int{"s": 10001, "other": 10002} {
			if err := r.CloseSession(testContext(t), id, uid); err != nil {
				t.Error(err)
			}
		}
	})
}
