package agent_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

func TestKillReachesWhatHasLeftTheProcessGroup(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	out, in := io.Pipe()
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Stdout: in, Args: []string{"sh", "-c", `
		setsid sh -c '(setsid sleep 1001 & ) & sleep 1002' &
		nohup sleep 1003 >/dev/null 2>&1 &
		sleep 0.2; echo ready; sleep 1004`}})
	if err != nil {
		t.Fatal(err)
	}
	io.ReadFull(out, make([]byte, 6))
	go io.Copy(io.Discard, out)
	if text, _ := r.run(t, "s", "pgrep -c -f 'sleep 100[1234]'"); strings.TrimSpace(text) < "4" {
		t.Fatalf("only %s sleep", text)
	}
	if err := p.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if text, _ := r.run(t, "s", "pgrep -l sleep"); text != "" {
		t.Errorf("after Kill there runs: %s", text)
	}
	if exit, err := p.Wait(); err != nil || exit.Signal != 9 {
		t.Errorf("%+v, %v", exit, err)
	}
	if err := p.Kill(testContext(t)); err != nil {
		t.Errorf("killed twice: %v", err)
	}
}

func TestBackgroundProcessesLiveUntilTheSessionIsClosed(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	r.run(t, "s", "setsid sleep 1001 >/dev/null 2>&1 </dev/null & sleep 0.2")
	r.run(t, "other", "setsid sleep 1002 >/dev/null 2>&1 </dev/null & sleep 0.2")
	if text, _ := r.run(t, "s", "pgrep -u 10001 sleep | wc -l"); strings.TrimSpace(text) != "1" {
		t.Errorf("%s sleep", text)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if text, _ := r.run(t, "other", "pgrep -l -u 10001; pgrep -u 10002 sleep | wc -l"); strings.TrimSpace(text) != "1" {
		t.Errorf("after CloseSession: %s", text)
	}
}

func TestAForkBombIsKilled(t *testing.T) {
	for _, how := range []string{"Kill", "CloseSession"} {
		t.Run(how, func(t *testing.T) {
			r := start(t, "-max-processes=300")
			r.session(t, "s", 10001)
			r.session(t, "other", 10002)
			hold, release := io.Pipe()
			t.Cleanup(func() { release.Close() })
			bystander, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", "read x; exit 4"}, Stdin: hold})
			if err != nil {
				t.Fatal(err)
			}
			p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", "exec env " + helper(t, r, "bomb")}})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if out, _ := r.run(t, "other", "echo fine"); out != "fine\n" {
				t.Errorf("the neighbour: %q", out)
			}
			begun := time.Now()
			if how == "Kill" {
				err = p.Kill(testContext(t))
			} else {
				err = r.CloseSession(testContext(t), "s", 10001)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("took %v", time.Since(begun))
			if out, _ := r.run(t, "other", "pgrep -l -u 10001 | grep -v -e sh -e sleep"); out != "" {
				t.Errorf("left: %s", out)
			}
			release.Close() // Kill has left it alone
			if exit, err := bystander.Wait(); err != nil || (how == "Kill") != (exit.Code == 4) {
				t.Errorf("the session's other command: %+v, %v", exit, err)
			}
		})
	}
}

// A process that forks and ends, again and again, is never where a list of processes says it is.
func TestKillCatchesWhatKeepsMoving(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c",
		`cat >run.sh <<'X'
printf . >>steps
sh run.sh &
X
		for i in 1 2 3; do sh run.sh & done`}})
	if err != nil {
		t.Fatal(err)
	}
	<-agent.Ended(p)
	moves := func() bool { // it adds a byte at each step
		before, _ := r.run(t, "s", "wc -c <steps")
		time.Sleep(100 * time.Millisecond)
		after, _ := r.run(t, "s", "wc -c <steps")
		return before != after
	}
	if !moves() {
		t.Fatal("it does not move")
	}
	begun := time.Now()
	if err := p.Kill(testContext(t)); err != nil {
		t.Fatal(err)
	}
	t.Logf("took %v", time.Since(begun))
	if moves() {
		t.Error("it moves on")
	}
	p.Wait()
}
