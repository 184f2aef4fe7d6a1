package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// TestWith runs tests of this package once more, with an agent that gives each session a room: agenttest knows the part of the
// test's name.
func TestWith(t *testing.T) {
	t.Run("rooms", func(t *testing.T) {
		for _, test := range []func(*testing.T){
			TestSessionFromEndToEnd,
			TestArgumentsAndEnvironmentMayBeAnyBytes, TestWaitReportsHowAProgramEnded, TestStartSaysWhatCannotBeStarted, TestManyShortCommandsAtOnce,
			TestBinaryStdinComesBackUnchanged, TestStdoutAndStderrApartAndTogether, TestAProgramThatClosesStdinEndsTheCopySilently,
			TestAWriterThatFailsStopsTheProgram, TestASlowReaderHoldsTheProgramBack, TestWaitDelayBoundsPipesThatAreHeldOpen,
			TestKillReachesWhatHasLeftTheProcessGroup, TestAForkBombIsKilled, TestKillCatchesWhatKeepsMoving,
			TestCommandsMayOpenManyFiles, TestASessionHasNoPowerOverTheAgent, TestASessionHasANameAndAHome,
			TestASessionThatStopsItsOwnStartsHoldsUpNobody, TestASelfContainedCheckout, TestTerminal,
			TestGitAsksForACredential, TestOnlyTheSessionAsks, TestSubmodules,
		} {
			name := runtime.FuncForPC(reflect.ValueOf(test).Pointer()).Name()
			t.Run(name[strings.LastIndex(name, ".Test")+len(".Test"):], test)
		}
	})
}

// inRooms runs a test with an agent that gives each session a room.
func inRooms(t *testing.T, test func(t *testing.T)) { t.Run("rooms", test) }

// inits returns the processes of an agent's rooms that are PID 1 there, by session.
func inits(r *ready) map[string]int {
	found := make(map[string]int)
	for _, file := range globbed("/proc/[0-9]*/cmdline") {
		args, _ := os.ReadFile(file)
		if string(args) != "berth-agent\x00init\x00" {
			continue
		}
		var pid int
		fmt.Sscan(filepath.Base(filepath.Dir(file)), &pid)
		own, _ := os.ReadDir(fmt.Sprintf("/proc/%d/root%s/sessions", pid, r.agent.Dir))
		if len(own) == 1 {
			found[own[0].Name()] = pid
		}
	}
	return found
}

// places returns the directories of sessions. The agent's own begin with a dot.
func places(a *agenttest.Agent) []string { return globbed(a.Dir + "/sessions/[^.]*") }

func globbed(pattern string) []string {
	files, _ := filepath.Glob(pattern)
	return files
}

// processesOf returns the directories in /proc of a uid's processes below an agent, zombies included.
func processesOf(r *ready, uid int) (dirs []string) {
	for _, file := range globbed(fmt.Sprintf("/proc/%d/root/proc/[0-9]*/status", r.agent.Pid())) {
		status, _ := os.ReadFile(file)
		if strings.Contains(string(status), fmt.Sprintf("\nUid:\t%d\t", uid)) {
			dirs = append(dirs, filepath.Dir(file))
		}
	}
	return dirs
}

func TestARoomHasOnlyItsOwn(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		mine, theirs := r.session(t, "s", 10001), r.session(t, "other", 10002)
		if out, exit := r.run(t, "other", "sleep 1001 >/dev/null 2>&1 & "+helper(t, r, "ipc")+" other"); exit.Code != 0 {
			t.Fatal(out)
		}
		out, _ := r.run(t, "s", `tr '\0' ' ' </proc/1/cmdline; echo; stat -c %u /proc/[0-9]* | sort -u; wc -l </proc/sysvipc/shm
			test -e `+mine.Workdir+` && echo mine; test -e `+theirs.Workdir+` || echo no other; test -r `+r.agent.Dir+"/run || echo no run")
		if want := "berth-agent init \n0\n10001\n1\nmine\nno other\nno run\n"; out != want {
			t.Errorf("it sees\n%s\nwant\n%s", out, want)
		}
	})
}

func TestARoomThatHasEndedIsReplaced(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		r.session(t, "s", 10001)
		r.session(t, "other", 10002)
		r.run(t, "s", "echo kept >file")
		const all = 5
		var running []*agent.Process
		for range all {
			p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", "setsid sleep 1000 & sleep 1000"}})
			if err != nil {
				t.Fatal(err)
			}
			running = append(running, p)
		}
		bystander, err := r.Start(testContext(t), agent.Command{Session: "other", Args: []string{"sh", "-c", "read x; exit 4"}, Stdin: blocked(t)})
		if err != nil {
			t.Fatal(err)
		}
		first := inits(r)
		if err := syscall.Kill(first["s"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for _, p := range running {
			if exit, err := p.Wait(); err != nil || exit != (agent.Exit{Code: -1, Signal: 9}) {
				t.Errorf("a command of the room: %+v, %v", exit, err)
			}
		}
		if out, exit := r.run(t, "s", "cat file; pgrep -c sleep"); out != "kept\n0\n" {
			t.Errorf("afterwards: %+v, %q", exit, out)
		}
		second := inits(r)
		if second["s"] == first["s"] || second["s"] == 0 || second["other"] != first["other"] {
			t.Errorf("the inits were %v and are %v", first, second)
		}
		select {
		case <-ended(bystander):
			t.Error("the neighbour's command has ended")
		default:
		}
		if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
			t.Error(err)
		}
		if err := r.CloseSession(testContext(t), "other", 10002); err != nil {
			t.Error(err)
		}
	})
}

// blocked returns a reader that has nothing until the test ends.
func blocked(t *testing.T) *os.File {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { write.Close() })
	return read
}

// TestARoomEndsWhateverItsProcessesDo: they fork, are stopped, stop each other, and move directories.
func TestARoomEndsWhateverItsProcessesDo(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t, "-max-processes=300")
		r.session(t, "other", 10002)
		var moves agent.Command
		moves.Session, moves.Args = "other", []string{"sh", "-c", helper(t, r, "move") + " . " + r.agent.Dir + "/tmp"}
		if _, err := r.Start(testContext(t), moves); err != nil {
			t.Fatal(err)
		}
		for name, scripts := range map[string][]string{
			"forks":            {helper(t, r, "bomb")},
			"is stopped":       {"for i in 1 2 3 4 5; do sleep 1000 & done; kill -STOP -1"},
			"stops others":     {helper(t, r, "stop"), helper(t, r, "stop")},
			"moves":            {helper(t, r, "move") + " . $HOME " + r.agent.Dir + "/tmp"},
			"all at once":      {helper(t, r, "move") + " .", helper(t, r, "bomb"), "sleep 1; " + helper(t, r, "stop")},
			"ignores all":      {"trap '' TERM INT HUP; while :; do sleep 1000; done"},
			"hides from group": {"setsid setsid sleep 1000 & setsid sh -c '(sleep 1000 &)' &"},
		} {
			t.Run(name, func(t *testing.T) {
				r.session(t, "s", 10001)
				for _, script := range scripts {
					if _, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", script}}); err != nil {
						t.Fatal(err)
					}
				}
				deadline := time.Now().Add(5 * time.Second)
				for len(processesOf(r, 10001)) < 2 && time.Now().Before(deadline) {
					time.Sleep(10 * time.Millisecond)
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				begun := time.Now()
				if err := r.CloseSession(ctx, "s", 10001); err != nil {
					t.Fatal(err)
				}
				t.Logf("took %v", time.Since(begun))
				if left := processesOf(r, 10001); len(left) != 0 {
					t.Errorf("%d processes are left", len(left))
				}
				if left := places(r.agent); len(left) != 1 {
					t.Errorf("left: %v", left)
				}
			})
		}
		if out, _ := r.run(t, "other", "echo fine"); out != "fine\n" {
			t.Errorf("the neighbour: %q", out)
		}
	})
}

// move makes directories and renames them without pause.
func move(dirs []string) error {
	for _, dir := range dirs {
		for i := range 40 {
			if err := os.MkdirAll(fmt.Sprintf("%s/m%d-%d/a/b", dir, os.Getpid(), i), 0o777); err != nil {
				return err
			}
		}
	}
	for n := 0; ; n++ {
		dir := dirs[n%len(dirs)]
		a, b := fmt.Sprintf("%s/m%d-%d", dir, os.Getpid(), n%40), fmt.Sprintf("%s/m%d-%d", dir, os.Getpid(), (n+1)%40)
		os.Rename(a+"/a", b+"/x")
		os.Rename(b+"/x", a+"/a")
	}
}

func TestAWardenThatDoesNotAnswer(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		a := agenttest.Start(t)
		silent := a.Dir + "/silent"
		a.Restart("-silent", silent)
		r := startOn(t, a)
		r.session(t, "s", 10001)
		r.session(t, "ends", 10003)
		if err := os.WriteFile(silent, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := r.Open(testContext(t), agent.Session{ID: "new", UID: 10002, Dir: "x", URL: r.url})
		if err == nil || !strings.Contains(err.Error(), "the warden does not answer") {
			t.Errorf("a new session: %v", err)
		}
		if out, _ := r.run(t, "s", "echo fine"); out != "fine\n" {
			t.Errorf("a session that was open: %q", out)
		}
		if err := r.CloseSession(testContext(t), "ends", 10003); err != nil {
			t.Error(err)
		}
		if left := places(a); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
		if err := syscall.Kill(inits(r)["s"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"true"}}); err == nil || !strings.Contains(err.Error(), "the warden does not answer") {
			t.Errorf("a session whose room has ended: %v", err)
		}
		os.Remove(silent)
		r.session(t, "new", 10002)
		if out, _ := r.run(t, "s", "echo fine"); out != "fine\n" {
			t.Errorf("when it answers again: %q", out)
		}
	})
}

// TestStartErrorsAreTheSame compares what an agent with rooms says with what one without says.
func TestStartErrorsAreTheSame(t *testing.T) {
	says := make(map[string][]string)
	for _, kind := range []string{"shared", "rooms"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t)
			r.session(t, "s", 10001)
			r.run(t, "s", "echo x >plain; printf '#!/no/such\n' >bad; chmod +x bad; mkdir sub; printf x >sub/nonsense; chmod +x sub/nonsense; ln -s loop loop")
			large := strings.Repeat("x", 200<<10)
			for _, c := range []agent.Command{
				{Args: []string{"no-such-program"}}, {Args: []string{"./plain"}}, {Args: []string{"./bad"}}, {Args: []string{"./none"}},
				{Args: []string{"sub/nonsense"}}, {Args: []string{"./sub"}}, {Args: []string{"./loop"}}, {Args: []string{"a\x00b"}},
				{Args: []string{"true"}, Dir: "none"}, {Args: []string{"true"}, Dir: "plain"}, {Args: []string{"true"}, Dir: "/root/.x"},
				{Args: []string{"true", large}}, {Args: []string{"true"}, Env: []string{"A=" + large}}, {Args: []string{"./" + large[:5000]}},
				{Args: []string{"true"}, Env: []string{"PATH=/none"}}, {}, {Args: []string{""}},
			} {
				c.Session = "s"
				_, err := r.Start(testContext(t), c)
				said := strings.ReplaceAll(fmt.Sprint(errors.Is(err, agent.ErrNotExecutable), err), r.agent.Dir, "/dir")
				says[kind] = append(says[kind], said[:min(len(said), 300)])
			}
		})
	}
	if len(says["rooms"]) == 0 || !reflect.DeepEqual(says["shared"], says["rooms"]) {
		t.Errorf("without rooms:\n%s\nwith rooms:\n%s", strings.Join(says["shared"], "\n"), strings.Join(says["rooms"], "\n"))
	}
}

// TestArgumentsLargerThanAPacket arrive whole.
func TestArgumentsLargerThanAPacket(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		r.session(t, "s", 10001)
		for _, n := range []int{1, 10 << 10, 100 << 10} {
			args := []string{"sh", "-c", `printf %s "$@" | sha256sum | cut -c 1-64; echo $#`, "sh"}
			for i := range 10 {
				args = append(args, strings.Repeat(strconv.Itoa(i), n))
			}
			var out, want bytes.Buffer
			p, err := r.Start(testContext(t), agent.Command{Session: "s", Args: args, Stdout: &out})
			if err != nil {
				t.Fatal(err)
			}
			p.Wait()
			fmt.Fprintf(&want, "%x\n10\n", sha256.Sum256([]byte(strings.Join(args[4:], ""))))
			if out.String() != want.String() {
				t.Errorf("ten arguments of %d bytes: %s", n, &out)
			}
		}
	})
}

func TestIsolation(t *testing.T) {
	for _, kind := range []string{"shared", "rooms"} {
		t.Run(kind, func(t *testing.T) {
			r := start(t)
			if i, err := r.Isolation(testContext(t)); err != nil || i.Rooms != agenttest.Rooms(t) || i.Rooms == (i.Reason != "") {
				t.Errorf("%+v, %v", i, err)
			}
		})
	}
}
