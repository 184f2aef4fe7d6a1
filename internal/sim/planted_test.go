package sim

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/testenv"
)

// edit replaces a piece of a file that occurs in it once.
type edit struct{ file, was, is string }

// planted are bugs that the simulation must find, or it is worth little: each breaks one rule that the library keeps.
var planted = []struct {
	name  string
	edits []edit
}{
	{"a planner whose lease is another's goes on writing", []edit{{"pool/manager.go",
		"if err := store.CheckFence(tx, r.held); err != nil {\n\t\t\treturn err\n\t\t}\n\t\treturn fn(tx)", "return fn(tx)"}}},
	{"a lease is taken over when its holder is a little late", []edit{{"internal/lease/watch.go",
		"now.Sub(w.since) >= term", "now.Sub(w.since) >= term/3"}}},
	{"a dead process's session is taken over without another look", []edit{{"takeover.go",
		"if dead, err := from.stillDead(tx); err != nil || !dead {\n\t\t\treturn err\n\t\t}\n\t\tswitch now.State {\n\t\tcase store.SessionCreating:",
		"switch now.State {\n\t\tcase store.SessionCreating:"}}},
	{"a process that was taken for dead frees a uid", []edit{{"end.go",
		"if s.Owner != p.replica { // who may be about to kill what runs under its uid\n\t\t\treturn errTakenOver\n\t\t}\n", ""}}},
	{"a slot is not given back", []edit{{"place.go",
		"return stopping, pool.Release(tx, s.Instance, s.UID, now)", "return stopping, nil"}}},
	{"a session that has left the queue is still counted", []edit{{"line.go", "	record.Queued--\n", ""}}},
	{"who comes goes before who waits", []edit{{"create.go", "if record.Queued == 0 {", "if record.Queued >= 0 {"}}},
	{"the queue is served in the order of arrival alone", []edit{{"queue.go",
		"turns[i] = turn{held[w.user] + ahead[w.user], w}", "turns[i] = turn{0, w}"}}},
	{"a slot is not taken off what its user holds", []edit{{"place.go",
		"count(tx, s.UserID, -1)", "count(tx, s.UserID, 0)"}}},
	{"a commit of unknown outcome is taken for done", []edit{{"persist.go",
		"		unknown = true\n", "		return nil\n"}}},
	{"a session is placed on an instance that takes none", []edit{
		{"orchestrator/join.go", "return c != nil && in != nil && in.State == store.InstanceReady &&", "return c != nil && in != nil &&"},
		{"pool/place.go", "return in != nil && in.State == store.InstanceReady && !in.Drain &&", "return in != nil &&"}}},
	{"a container with a session is stopped", []edit{
		{"orchestrator/join.go", "if c.Sessions == 0 && (c.State", "if c.Sessions <= 1 && (c.State"},
		{"orchestrator/join.go", "if c.State == store.ContainerStopping && c.Sessions == 0 {", "if c.State == store.ContainerStopping {"}}},
	{"a session becomes active in a container that is stopping", []edit{{"create.go",
		"now == nil || now.State != store.ContainerReady", "now == nil"}}},
	{"a container that another process stops is removed", []edit{
		{"orchestrator/remove.go", "now == nil || now.State != store.ContainerStopping || now.Owner != k.m.cfg.Replica", "now == nil"},
		{"orchestrator/keeper.go", "case c == nil || c.Owner != k.m.cfg.Replica || c.State == store.ContainerReady:",
			"case c == nil || c.State == store.ContainerReady:"}}},
	{"a uid is given out before its processes are dead", []edit{{"end.go",
		"if err := p.clean(ctx, s, wasActive); err != nil {\n\t\treturn err\n\t}", "go func(s *store.Session) { _ = p.clean(ctx, s, wasActive) }(s)"}}},
	{"a session expires although it was renewed", []edit{{"end.go",
		"why.Reason == endExpired && !expired(s, time.Now()) || why.Reason == endAbandoned", "why.Reason == endAbandoned"}}},
	{"a launch is repeated with another request", []edit{
		{"pool/launch.go", "first := len(in.Frozen) == 0", "first := true"},
		{"pool/launch.go", "now.State != store.InstanceLaunching || len(now.Frozen) > 0", "now.State != store.InstanceLaunching"}}},
	{"more instances are launched than there may be", []edit{
		{"pool/size.go", "room := cfg.MaxInstances - len(s.instances)", "room := 1 + cfg.MaxInstances - len(s.instances)"},
		{"pool/launch.go", "room = min(n, max(r.cfg.MaxInstances-pool.Instances-strangers, 0))", "room = n + 0*strangers"}}},
	{"a machine is forgotten before it has ended", []edit{{"pool/plan.go",
		"case there && seen.asked.After(now): // it is ending, or will be asked for again", "case there && seen.asked.After(now):\n\t\treturn action{verb: doForget}"}}},
	{"a container is joined again when its instance comes back", []edit{{"orchestrator/join.go",
		"in.State == store.InstanceReady && !c.Superseded &&", "in.State == store.InstanceReady &&"}}},
	{"a machine that another pool launched is ended", []edit{{"pool/sight.go",
		"if !machine.of(s.pool.UID) {", "if false {"}}},
	{"a call to an engine has no deadline", []edit{{"orchestrator/remove.go",
		"ctx, cancelCall := context.WithTimeout(ctx, k.m.cfg.CallTimeout)", "ctx, cancelCall := context.WithCancel(ctx)"}}},
}

// enough is how many seeds may be needed to find a planted bug that the short sweep does not find.
const enough = "300"

// TestPlantedBugs checks that the bugs still fit the code. As a soak test it plants each, and says what it took to find
// it.
func TestPlantedBugs(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, bug := range planted {
		t.Run(bug.name, func(t *testing.T) {
			overlay := plant(t, root, bug.edits)
			if !testenv.Soak() {
				return
			}
			binary := filepath.Join(t.TempDir(), "sim.test")
			build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, "./internal/sim")
			build.Dir = root
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, search := range []string{"TestSweep", "TestSeeds"} {
				found, after := hunt(t, binary, search)
				if found != "" {
					t.Logf("found by %s after %v: %s", search, after, found)
					return
				}
			}
			t.Error("it was not found")
		})
	}
}

// plant writes a file that makes the go command read changed files in place of some.
func plant(t *testing.T, root string, edits []edit) (overlay string) {
	changed := make(map[string][]byte)
	for _, e := range edits {
		path := filepath.Join(root, e.file)
		text := changed[path]
		if text == nil {
			var err error
			if text, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
		if n := bytes.Count(text, []byte(e.was)); n != 1 {
			t.Fatalf("%s has %d times: %s", e.file, n, e.was)
		}
		changed[path] = bytes.Replace(text, []byte(e.was), []byte(e.is), 1)
	}
	dir := t.TempDir()
	replace := make(map[string]string)
	for path, text := range changed {
		replace[path] = filepath.Join(dir, strings.ReplaceAll(path, string(filepath.Separator), "_"))
		if err := os.WriteFile(replace[path], text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}

var replayLine = regexp.MustCompile(`SIM_SEED=(\d+)( SIM_STRIKE='[^']*')?`)

// hunt runs a test until it fails, and returns what it failed with: how the failure is replayed, or how it crashed.
func hunt(t *testing.T, binary, test string) (found string, after time.Duration) {
	cmd := exec.Command(binary, "-test.run", "^"+test+"$", "-test.timeout", "5m")
	cmd.Dir = "."
	cmd.Env = append(os.Environ(), "BERTH_SOAK=", "SIM_SEEDS="+enough, "SIM_STOP=1")
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	after = time.Since(begun).Round(100 * time.Millisecond)
	if err == nil {
		return "", after
	}
	lines := strings.Split(string(out), "\n")
	for i, line := range lines {
		if replayLine.MatchString(line) {
			return replayLine.FindString(line) + ": " + strings.TrimSpace(lines[i-1]), after
		}
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "panic: ") {
			return line, after
		}
	}
	return strings.Join(lines[max(len(lines)-3, 0):], " "), after
}
