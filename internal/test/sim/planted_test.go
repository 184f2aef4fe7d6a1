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

	"github.com/berth-go/berth/internal/test/testenv"
)

// edit replaces a piece of a file that occurs in it once.
type edit struct{ file, was, is string }

// planted are bugs that the simulation must find, or it is worth little: each breaks one rule that the library keeps.
var planted = []struct {
	name  string
	edits []edit
}{
	{"a planner whose lease is another's goes on writing", []edit{{"pool/manager.go",
		"store.Fenced(m.cfg.Store, held)", "m.cfg.Store"}}},
	{"a lease is taken over when its holder is a little late", []edit{{"internal/lease/watch.go",
		"now.Sub(w.since) >= term", "now.Sub(w.since) >= term/3"}}},
	{"a dead process's session is taken over without another look", []edit{{"internal/replica/takeover.go",
		"if dead, err := from.stillDead(tx); err != nil || !dead {\n\t\t\treturn err\n\t\t}\n\t\tswitch now.State {\n\t\tcase store.SessionCreating:",
		"switch now.State {\n\t\tcase store.SessionCreating:"}}},
	{"a process that was taken for dead frees a uid", []edit{{"internal/session/end.go",
		"if s.Owner != m.cfg.Replica { // the new owner may be about to kill what runs under the session's uid\n\t\t\treturn errTakenOver\n\t\t}\n", ""}}},
	{"a slot is not given back", []edit{{"internal/admission/release.go",
		"return left, pool.Release(tx, s.Instance, s.UID, now)", "_ = pool.Release\n\treturn left, nil"}}},
	{"a session that has left the queue is still counted", []edit{{"internal/admission/cache.go", "	record.Queued--\n", ""}}},
	{"who comes goes before who waits", []edit{{"internal/admission/admit.go", "if record.Queued == 0 {", "if record.Queued >= 0 {"}}},
	{"the queue is served in the order of arrival alone", []edit{{"internal/admission/fair.go",
		"turns[i] = turn{w, user.slots + ahead[w.user], user}", "turns[i] = turn{w, 0 * user.slots, holding{known: true}}"}}},
	{"a slot is not taken off what its user holds", []edit{{"internal/admission/release.go",
		"countUser(tx, s.UserID, -1, 0, now)", "countUser(tx, s.UserID, 0, 0, now)"}}},
	{"a session that has left the queue is still counted for its user", []edit{{"internal/admission/release.go",
		"countUser(tx, s.UserID, 0, -1, time.Now())", "countUser(tx, s.UserID, 0, 0, time.Now())"}}},
	{"a session that got its slot in the queue still counts as waiting", []edit{{"internal/admission/queue.go",
		"countUser(tx, w.user, 0, -1, time.Now())", "countUser(tx, w.user, 0, 0, time.Now())"}}},
	{"sessions that wait get slots beyond the limit of their user", []edit{
		{"internal/admission/queue.go", "if most > 0 && user.Sessions >= most {", "if most < 0 && user.Sessions >= most {"},
		{"internal/admission/fair.go", "return !t.user.known || t.user.most > 0 && t.held >= t.user.most", "return false"}}},
	{"a start does not count", []edit{{"internal/admission/admit.go", "if l.StartsPerMinute > 0 {", "if l.StartsPerMinute < 0 {"}}},
	{"a session of a user with too many sessions is admitted", []edit{{"internal/admission/quota.go",
		"user.Sessions >= l.Sessions", "user.Sessions > l.Sessions"}}},
	{"a session of a user who waits with too many is queued", []edit{{"internal/admission/quota.go",
		"user.Queued >= l.Queued", "user.Queued > l.Queued"}}},
	{"Revoke leaves the sessions that are being created", []edit{{"internal/session/revoke.go",
		"store.SessionCreating, store.SessionActive, store.SessionTerminating,", "store.SessionActive, store.SessionTerminating,"}}},
	{"git asks for another user", []edit{{"internal/session/credential.go",
		"User: s.UserID, Labels: s.Labels", "User: \"user-0\", Labels: s.Labels"}}},
	{"Revoke does not wait", []edit{{"internal/session/revoke.go", "	ends.Wait()\n", ""}}},
	{"Revoke ends what the user has on other repositories", []edit{{"internal/session/revoke.go",
		"store.SessionQuery{UserID: userID, Repository: repository,", "store.SessionQuery{UserID: userID,"}}},
	{"a commit of unknown outcome is taken for done", []edit{{"store/retry.go",
		"		unknown = unknown || lost\n", "		if lost {\n			return nil\n		}\n"}}},
	{"a session is placed on an instance that takes none", []edit{
		{"orchestrator/join.go", "return c != nil && in != nil && in.State == store.InstanceReady &&", "return c != nil && in != nil &&"},
		{"pool/place.go", "return in != nil && in.State == store.InstanceReady && !in.Drain &&", "return in != nil &&"}}},
	{"a container with a session is stopped", []edit{
		{"orchestrator/join.go", "if c.Sessions == 0 && (c.State", "if c.Sessions <= 1 && (c.State"},
		{"orchestrator/join.go", "if c.State == store.ContainerStopping && c.Sessions == 0 {", "if c.State == store.ContainerStopping {"}}},
	{"a session becomes active in a container that is stopping", []edit{{"internal/session/activate.go",
		"c == nil || c.State != store.ContainerReady", "c == nil"}}},
	{"a container that another process stops is removed", []edit{
		{"orchestrator/remove.go", "now == nil || now.State != store.ContainerStopping || now.Owner != k.m.cfg.Replica", "now == nil"},
		{"orchestrator/keeper.go", "case c == nil || c.Owner != k.m.cfg.Replica || c.State == store.ContainerReady:",
			"case c == nil || c.State == store.ContainerReady:"}}},
	{"a uid is given out before its processes are dead", []edit{{"internal/session/end.go",
		"if err := m.cleaner.clean(ctx, s, wasActive); err != nil {\n\t\treturn err\n\t}", "go func(s *store.Session) { _ = m.cleaner.clean(ctx, s, wasActive) }(s)"}}},
	{"what the host does with a session that ends is not done again when a process has died", []edit{{"internal/session/end.go",
		"if s, err = (Owned{m}).runLast(ctx, s); err != nil {\n\t\treturn err\n\t}", "if wasActive {\n\t\tif s, err = (Owned{m}).runLast(ctx, s); err != nil {\n\t\t\treturn err\n\t\t}\n\t}"}}},
	{"the age of a session grows with each look", []edit{{"internal/session/lifetime.go",
		"was.from + now.Sub(was.seen)", "was.from + 2*now.Sub(was.seen)"}}},
	{"a session expires although it was renewed", []edit{{"internal/session/end.go",
		"case why.Reason == store.EndAbandoned, expires && s.Beat != beat:", "case why.Reason == store.EndAbandoned:"}}},
	{"a session expires when a wall clock says so", []edit{
		{"internal/session/lease.go", "case now.Sub(o.before) >= term:", "case true:"},
		{"internal/session/renew.go", "case err == nil && idle < LeaseTerm(r.IdleTimeout):", "case r.LeaseUntil.After(answered):"}}},
	{"a session expires only when a wall clock says so", []edit{
		{"internal/session/lease.go", "case now.Sub(o.before) >= term:", "case false:"}}},
	{"a launch is repeated with another request", []edit{
		{"pool/launch.go", "first := len(in.Frozen) == 0", "first := true"},
		{"pool/launch.go", "stored.State != store.InstanceLaunching || len(stored.Frozen) > 0", "stored.State != store.InstanceLaunching"}}},
	{"more instances are launched than there may be", []edit{
		{"pool/size.go", "room := cfg.MaxInstances - len(s.instances)", "room := 1 + cfg.MaxInstances - len(s.instances)"},
		{"pool/launch.go", "room = min(n, max(r.cfg.MaxInstances-pool.Instances-unknown, 0))", "room = n + 0*unknown"}}},
	{"a machine is forgotten before it has ended", []edit{{"pool/plan.go",
		"case there && seen.asked.After(now): // it is ending, or will be asked for again", "case there && seen.asked.After(now):\n\t\treturn action{verb: doForget}"}}},
	{"a container is joined again when its instance comes back", []edit{{"orchestrator/join.go",
		"in.State == store.InstanceReady && !c.Superseded &&", "in.State == store.InstanceReady &&"}}},
	{"a machine that another pool launched is ended", []edit{{"pool/match.go",
		"if !machine.of(s.pool.UID) {", "if false {"}}},
	{"a remote that fails for a moment is not tried again", []edit{{"agent/gitremote/retry.go", "n == MaxTries", "n == 1"}}},
	{"a pool is taken for destroyed when its records are gone", []edit{{"internal/teardown/teardown.go",
		"		d.awaitNothing,\n", ""}}},
	{"a machine that no record knows is left to itself", []edit{{"pool/plan.go",
		"acts = append(acts, planUnknown(s, cfg, now)...)", "acts = append(acts, planUnknown(s, cfg, now)[:0]...)"}}},
	{"what a process has left on an engine stays", []edit{{"orchestrator/observed.go",
		"return seen.unused.age(r, now) < o.grace", "return true"}}},
	{"a helper container is removed while a start needs it", []edit{{"orchestrator/observed.go",
		"return seen.unused.age(r, now) < o.grace", "return false"}}},
	{"output that was cut off is taken for whole", []edit{{"agent/ends.go",
		"if cut.Stdin != nil || cut.Stdout != nil || cut.Stderr != nil {", "if cut.Stdin != nil {"}}},
	{"a record holds a session's environment", []edit{{"internal/session/request.go",
		"AuthorName: r.Author.Name,", "AuthorName: r.Author.Name + r.Env[\"TOKEN\"],"}}},
	{"who waits for a start joins without a proof", []edit{{"internal/session/prove.go",
		"o.proven = byStart || !o.cfg.Proofs.Needed() ||", "o.proven = o.s.Start != store.StartAttached || byStart || !o.cfg.Proofs.Needed() ||"}}},
	{"a session is attached without a proof", []edit{{"internal/session/prove.go",
		"o.proven = byStart || !o.cfg.Proofs.Needed() ||", "o.proven = o.s.Start == store.StartAttached || byStart || !o.cfg.Proofs.Needed() ||"}}},
	{"a failure of the connection is taken for a refusal", []edit{{"internal/session/prove.go",
		"case isGit && gitremote.Refused(failed.Message):", "case isGit && (gitremote.Refused(failed.Message) || true):"}}},
	{"Config.Authorize is not asked", []edit{{"access.go", "if a.ask == nil {", "if a.ask == nil || r != nil {"}}},
	{"an authorization that is older than a revocation counts", []edit{{"internal/admission/quota.go",
		"if user.Revocations != s.Revocations {", "if false {"}}},
	{"Sharing.Key is not asked", []edit{{"access.go", "	if s.Key != nil {", "	if false && s.Key != nil {"}}},
	{"Config.EgressFor is not asked", []edit{{"orchestrator/egress.go", "if c.EgressFor != nil {", "if false && c.EgressFor != nil {"}}},
	{"the limits of a user whose function panicked are none", []edit{{"internal/admission/fair.go",
		"return limits.Sessions, err == nil", "return limits.Sessions, true"}}},
	{"the Ledger moves before the rows are written", []edit{{"internal/usage/accountant.go", "	a.ledger.Seq++\n",
		"	a.ledger.Seq++\n	if err := st.Update(ctx, keys[:1], func(tx store.Tx) error { return tx.Put(a.ledger) }); err != nil {\n" +
			"		return err\n	}\n	was++\n"}}},
	{"a machine is billed until its end is seen", []edit{{"internal/usage/ledger.go",
		"m.Ended = max(is.Ended.UnixMicro(), m.Begun)", "m.Ended = max(is.ended.UnixMicro(), m.Begun)"}}},
	{"a machine that has no record is not accounted", []edit{{"internal/usage/ledger.go",
		"if is := seen[id]; !known[id] && is.missing.IsZero() {", "if is := seen[id]; !known[id] && is.missing.IsZero() && id < \"i-8\" {"}}},
	{"an empty container costs a task its room", []edit{{"orchestrator/empty.go", "	if surplus <= 0 {", "	if surplus <= 100 {"}}},
	{"an empty container that is joined stays on the list", []edit{{"orchestrator/join.go",
		"	if c.Sessions == 0 {\n		if err := store.UnlistEmpty", "	if c.Sessions < 0 {\n		if err := store.UnlistEmpty"}}},
	{"an empty container stays for ever", []edit{{"internal/warmth/warmth.go", "timeout >= 0 && age >= timeout", "timeout > 24*age"}}},
	{"a wish is fulfilled beyond the budget", []edit{{"internal/warmth/budget.go", "g.held(bound.instance) >= bound.most {", "g.held(bound.instance) > bound.most {"}}},
	{"a planner forgets what those before it have learned", []edit{{"internal/usage/accountant.go",
		"known, err := store.Find[*store.Demand](tx, key)", "known, err := (*store.Demand)(nil), error(nil)"}}},
	{"sessions do not begin with what was prepared", []edit{{"internal/session/open.go", "Prepare: o.prep.what,", "Prepare: orchestrator.Prepare{},"}}},
	{"sessions do not begin with what was kept", []edit{{"internal/session/restore.go", "if o.base == nil {\n		return checkout, nil", "if o.base == nil || true {\n		return checkout, nil"}}},
	{"what is promoted is not looked at", []edit{{"agent/leak/leak.go", "if common[text] {", "if common[text] || true {"}}},
	{"a call to an engine has no deadline", []edit{{"orchestrator/remove.go",
		"ctx, cancelCall := context.WithTimeout(ctx, k.m.cfg.CallTimeout)", "ctx, cancelCall := context.WithCancel(ctx)"}}},
}

// enough is how many seeds may be needed to find a planted bug that the short sweep does not find.
const enough = "300"

// TestPlantedBugs checks that the bugs still fit the code. As a soak test it plants each, and says what it took to find
// it.
func TestPlantedBugs(t *testing.T) {
	root, err := filepath.Abs("../../..")
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
			build := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, "./internal/test/sim")
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

// tooLong is what the testing package prints of a test that its timeout ended. Such a test has found nothing.
const tooLong = "panic: test timed out"

// hunt runs a test until it fails, and returns what it failed with: how the failure is replayed, or how it crashed.
func hunt(t *testing.T, binary, test string) (found string, after time.Duration) {
	cmd := exec.Command(binary, "-test.run", "^"+test+"$", "-test.timeout", "20m")
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
		if strings.HasPrefix(line, tooLong) {
			t.Logf("%s: %s", test, line)
			return "", after
		}
		if strings.HasPrefix(line, "panic: ") {
			return line, after
		}
	}
	return strings.Join(lines[max(len(lines)-3, 0):], " "), after
}
