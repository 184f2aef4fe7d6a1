package local_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

func TestLocalFailuresLeaveNothingAndHurtNobody(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	good := l.Git.Create("org/good", gittest.Small())
	secret := l.Git.Create("org/secret", gittest.Small())
	secret.RequireCredentials("robot", "s3cret-token")
	withSecret := strings.Replace(secret.URL(), "://", "://robot:wrong-pa55word@", 1)

	for _, test := range []struct {
		name, url, branch string
		phase, message    string
	}{
		{"no such repository", strings.Replace(good.URL(), "good", "absent", 1), "", "fetching", "not found"},
		{"nobody answers", "http://172.17.0.1:9/org/x.git", "", "fetching", "172.17.0.1"},
		{"a credential is needed", secret.URL(), "", "fetching", "could not read Username"},
		{"the credential is wrong", withSecret, "", "fetching", "uthentication"},
		{"no such branch", good.URL(), "no-such-branch", "checkout", "no-such-branch"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := l.CreateSession(t.Context(), berth.SessionRequest{
				TaskID: "t", UserID: "user", Repository: test.url, Branch: test.branch,
			})
			failure, ok := errors.AsType[*berth.StartError](err)
			if !ok {
				t.Fatalf("got %v, want a *StartError", err)
			}
			if failure.Phase != test.phase || !strings.Contains(failure.Error(), test.message) {
				t.Errorf("got phase %q, %v; want phase %q and %q", failure.Phase, failure, test.phase, test.message)
			}
			if strings.Contains(err.Error(), "pa55word") {
				t.Errorf("the error holds the credential: %v", err)
			}
			l.WaitGone(t)
			for in := range l.Instances(t.Context()) {
				if in.Tasks != 0 {
					t.Errorf("%d slots are held", in.Tasks)
				}
			}
		})
	}
	if s := l.Create("again", strings.Replace(secret.URL(), "://", "://robot:s3cret-token@", 1), ""); local.Sh(t, s, "git log --oneline | wc -l") != "400" {
		t.Error("the right credential does not work")
	} else {
		out := local.Sh(t, s, "cat .git/config; env") // and for processes, see TestLocalCredentialIsNotSeenDuringAFetch
		if strings.Contains(out, "s3cret-token") {
			t.Errorf("the credential can be seen in the session:\n%s", out)
		}
	}
	l.Create("good", good.URL(), "main")
}

func TestLocalContainerKilledFromOutside(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/r", gittest.Small())
	s := l.Create("t", remote.URL(), "")
	running := s.Command(t.Context(), "sleep", "1000")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Docker.ContainerKill(t.Context(), s.Info().Container.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(5 * time.Minute):
		t.Fatal("Done was not closed")
	}
	if !errors.Is(s.Err(), berth.ErrContainerLost) {
		t.Errorf("it ended with %v, want ErrContainerLost", s.Err())
	}
	if err := running.Wait(); !errors.Is(err, berth.ErrContainerLost) && !errors.Is(err, agent.ErrGone) {
		t.Errorf("its command ended with %v", err)
	}
	if again := l.Create("t", remote.URL(), ""); again.ID() == s.ID() || local.Sh(t, again, "echo well") != "well" {
		t.Error("the next task does not work")
	}
}

// awaitRemoval is a script that waits until the files of a uid are removed that no session can reach any more: that goes on behind an end.
func awaitRemoval(uid string) string {
	return "for i in $(seq 300); do find /sessions/.gone -uid " + uid + " 2>/dev/null | grep -q . || break; sleep 0.1; done; "
}

func TestLocalTerminateKillsEverything(t *testing.T) {
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/r", gittest.Small())
	keep := l.Create("keep", remote.URL(), "")
	s := l.Create("t", remote.URL(), "")
	local.Sh(t, s, "touch /tmp/of-t /var/tmp/of-t /dev/shm/of-t; (sleep 1234 >/dev/null 2>&1 &); nohup sh -c 'sleep 1235 &' >/dev/null 2>&1")
	bomb := s.Command(t.Context(), "sh", "-c", "f() { f | f & }; f; sleep 1236")
	if err := bomb.Start(); err != nil {
		t.Fatal(err)
	}
	uid := l.Inside(keep.Info().Container.ID, "stat -c %u /sessions/"+s.ID())
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	if err := bomb.Wait(); err == nil { // killed with the session, or because it ran out of processes
		t.Error("the fork bomb ended without an error")
	}
	left := l.Inside(keep.Info().Container.ID, awaitRemoval(uid)+"ps -eo uid,args | awk '$1 == "+uid+"'; find /tmp /var/tmp /dev/shm /sessions -uid "+uid+" 2>/dev/null; true")
	if left != "" || uid == "" {
		t.Errorf("left of the session:\n%s", left)
	}
}

// TestLocalDestroyNeedsNoRecordOfTheEngine: the store was restored from a backup that was made when the pool was new.
func TestLocalDestroyNeedsNoRecordOfTheEngine(t *testing.T) {
	t.Parallel()
	before := memstore.New()
	l := local.New(t, berth.Config{Store: before})
	repo := l.Git.Create("org/r", gittest.Small())
	l.Create("t", repo.URL(), "")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var uid string
	err := before.View(t.Context(), func(v store.View) error {
		record, err := store.Get[*store.Pool](v, store.PoolKey())
		if err == nil {
			uid = record.UID
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	after := memstore.New()
	if err := after.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(&store.Pool{UID: uid}) }); err != nil {
		t.Fatal(err)
	}
	if len(l.Running()) != 1 {
		t.Fatalf("there run %v; want one container", l.Running())
	}
	p, err := berth.NewLocalProvider(t.Context(), berth.Config{Name: l.Name, Store: after, Egress: gittest.Egress()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Destroy(t.Context()); err != nil {
		t.Errorf("Destroy: %v", err)
	}
	if left := l.Containers(); len(left) != 0 {
		t.Errorf("after Destroy there are %v", left)
	}
}

// TestLocalGitServerOfThisMachine holds that a pool refuses a git server with a private address, and that the error says what to
// set.
func TestLocalGitServerOfThisMachine(t *testing.T) {
	l := local.New(t, berth.Config{Egress: orchestrator.Egress{Mode: orchestrator.EgressOpen}})
	remote := l.Git.Create("org/r", gittest.Small())
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: remote.URL()})
	host, _, _ := net.SplitHostPort(l.Git.Addr())
	want := fmt.Sprintf(`the address %s is refused: it is private. Config.Egress.Remotes with "%s/32" allows it to fetches`, host, host)
	if failed, ok := errors.AsType[*berth.StartError](err); !ok || failed.Phase != "fetching" || !errors.Is(err, agent.ErrAddressRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
	if berth.Retryable(err) || remote.Requests() != 0 {
		t.Errorf("%d requests have arrived", remote.Requests())
	}
	l.WaitGone(t)
}
