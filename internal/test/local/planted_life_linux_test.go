package local_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/store"
)

// live leads the pool through its life. stored searches the store.
func (l *planting) live(stored func()) {
	t := l.T
	l.watch = l.search.WatchProcesses(l.engine.Containers, l.allowed)
	defer l.watch.Stop()

	remote := l.Git.Create("org/planted", gittest.Small())
	remote.RequireCredentials("robot", l.values["the password"])
	s := l.create("task", with(remote.URL(), l.values["the password"]), "the session's environment")
	neighbour := l.create("neighbour", with(remote.URL(), l.values["the password"]), "the neighbour's environment")
	l.fetchBeside(neighbour, remote)
	l.failures(s, remote)
	l.asked()
	l.commands(s)
	l.prepared()
	l.keep(neighbour)
	l.tells()
	unleak := l.leak(neighbour)
	l.engine.Everything(l.begun)
	l.memory()
	stored()
	for _, task := range []*berth.Session{s, neighbour} {
		if err := l.TerminateSession(t.Context(), task.ID()); err != nil {
			t.Error(err)
		}
	}
	l.kept()
	l.tells()
	l.watch.Stop()
	unleak()
	if err := l.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	stored()
	for _, fault := range l.search.Check(control, places...) {
		t.Error(fault)
	}
}

// asked lets git ask for a credential, in a session, until its programs were seen at work.
func (l *planting) asked() {
	remote := l.Git.Create("org/asked", gittest.Small())
	remote.RequireCredentials("robot", l.values["the password that is asked for"])
	s := l.Create("asked", remote.URL(), "")
	record, err := store.Read[*store.Session](l.T.Context(), l.store, store.SessionKey(s.ID()))
	if err != nil {
		l.T.Fatal(err)
	}
	remote.Delay(150 * time.Millisecond)
	defer remote.Delay(0)
	for n := 0; n < 30 && (l.watch.Seen("git-remote-http", record.UID) == 0 || l.watch.Seen("berth-agent", record.UID) == 0); n++ {
		local.Sh(l.T, s, "git commit -q --allow-empty -m more && git push -q origin HEAD 2>&1 && git fetch -q 2>&1")
	}
	if l.watch.Seen("git-remote-http", record.UID) == 0 || l.watch.Seen("berth-agent", record.UID) == 0 {
		l.T.Errorf("the programs of a push were not seen: %s", l.watch.All())
	}
	l.engine.Everything(l.begun)
	if err := l.TerminateSession(l.T.Context(), s.ID()); err != nil {
		l.T.Error(err)
	}
}

// with returns a remote with a password.
func with(url, password string) string {
	return strings.Replace(url, "://", "://robot:"+password+"@", 1)
}

// create creates a session with a secret in its environment, and checks that it has it.
func (l *planting) create(task, url, secret string) *berth.Session {
	l.T.Helper()
	s, err := l.CreateSession(l.T.Context(), berth.SessionRequest{
		TaskID: task, UserID: "user", Repository: url, Env: map[string]string{"TOKEN": l.values[secret]},
		Labels: map[string]string{"control": l.values[control]},
	})
	if err != nil {
		l.T.Fatal(err)
	}
	l.own(s, secret)
	if got, want := local.Sh(l.T, s, "echo $TOKEN $TOKEN_OF_ALL"), l.values[secret]+" "+l.values["the environment of all"]; got != want {
		l.T.Fatalf("the session has %q; want %q", got, want)
	}
	return s
}

// fetchBeside lets a neighbour look around while fetches run, until each program of a fetch was seen.
func (l *planting) fetchBeside(neighbour *berth.Session, remote *gittest.Remote) {
	t := l.T
	remote.Delay(150 * time.Millisecond)
	defer remote.Delay(0)
	seen := func() bool {
		for _, program := range []string{"git", "git-remote-http", "berth-agent"} { // the last one is the credential helper
			if l.watch.Seen(program, 9999) == 0 {
				return false
			}
		}
		return true
	}
	looks := strings.Builder{}
	for n := 0; n < 30 && (n < 2 || !seen()); n++ {
		created := make(chan error, 1)
		go func() {
			s, err := l.CreateSession(t.Context(), berth.SessionRequest{
				TaskID: fmt.Sprint("beside-", n), UserID: "user", Repository: with(remote.URL(), l.values["the password"]),
			})
			if err == nil {
				err = l.TerminateSession(t.Context(), s.ID())
			}
			created <- err
		}()
		for over := false; !over; {
			looks.WriteString(local.Sh(t, neighbour, "cat .git/config /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; true"))
			select {
			case err := <-created:
				if over = true; err != nil {
					t.Error(err)
				}
			default:
			}
		}
	}
	if !seen() {
		t.Errorf("the programs of a fetch were not seen: %s", l.watch.All())
	}
	l.sees(looks.String())
}

// sees searches what the neighbour sees, which has its own secrets.
func (l *planting) sees(text string) {
	l.search.LookBut("what a neighbour sees", "/proc", []byte(text), func(secret string) bool {
		return secret == "the neighbour's environment" || secret == "the environment of all"
	})
}

// failures makes what fails say why.
func (l *planting) failures(s *berth.Session, remote *gittest.Remote) {
	t := l.T
	echo := l.Git.Create("org/echo", gittest.Small())
	echo.Echo(true)
	for name, url := range map[string]string{
		"a wrong password":     with(remote.URL(), l.values["the wrong password"]),
		"an escaped password":  with(remote.URL(), "%40%3A%2F%20"+l.values["the wrong password"]),
		"a server that echoes": with(echo.URL(), "%40%3A%2F%20"+l.values["the password of the echo"]),
		"a token as the user":  strings.Replace(echo.URL(), "://", "://"+l.values["the password of the echo"]+"@", 1),
		"a longer token":       strings.Replace(echo.URL(), "://", "://x"+l.values["the password of the echo"]+"@", 1),
		"a longest token":      strings.Replace(echo.URL(), "://", "://xx"+l.values["the password of the echo"]+"@", 1),
		"no such repository":   with(strings.Replace(remote.URL(), "planted", "absent", 1), l.values["the password"]),
		"a private image":      with(l.Git.Create("org/private-image", gittest.Small()).URL(), l.values["the password"]),
		"no remote":            "https://robot:" + l.values["the password"] + "@host.invalid/x y\x01/" + l.values["the password"],
		"no path":              "https://robot:" + l.values["the password"] + "@host.invalid",
		"a password with #":    "https://robot:#" + l.values["the password"] + "@host.invalid/x",
	} {
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{
			TaskID: "fails", UserID: "user", Repository: url, Env: map[string]string{"TOKEN": l.values["the session's environment"]},
		})
		if err == nil {
			t.Errorf("%s: the session was created", name)
		}
		l.search.Error(err)
	}
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "bad", UserID: "user", Repository: remote.URL(), Env: map[string]string{"A=B": l.values["the session's environment"], "C": l.values["the session's environment"] + "\x00"},
	})
	l.search.Error(err)
	last := l.create("last", with(remote.URL(), l.values["the password"]), "the session's environment")
	defer l.own(s, "the session's environment")
	_, err = l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "queued", UserID: "user", Repository: with(remote.URL(), l.values["the password"]), Env: map[string]string{"TOKEN": l.values["the session's environment"]},
	})
	if !errors.Is(err, berth.ErrNoCapacity) {
		t.Errorf("with all slots taken: %v", err)
	}
	l.search.Error(err)
	if err := l.TerminateSession(t.Context(), last.ID()); err != nil {
		t.Error(err)
	}
	l.search.Error(last.Err())
}

// commands runs commands that end in each way.
func (l *planting) commands(s *berth.Session) {
	t := l.T
	l.own(s, "the command's environment")
	command := func(ctx context.Context, args ...string) *berth.Cmd {
		cmd := s.Command(ctx, args[0], args[1:]...)
		cmd.Env = []string{"TOKEN=" + l.values["the command's environment"]}
		return cmd
	}
	out, err := command(t.Context(), "sh", "-c", "sleep 0.2; echo $TOKEN").Output()
	if err != nil || strings.TrimSpace(string(out)) != l.values["the command's environment"] {
		t.Errorf("the command has %q, %v", out, err)
	}
	for _, args := range [][]string{{"sh", "-c", "exit 3"}, {"sh", "-c", "kill -9 $$"}, {"absent"}, {"/"}} {
		err := command(t.Context(), args...).Run()
		if err == nil {
			t.Errorf("%q succeeded", args)
		}
		l.search.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	killed := command(ctx, "sleep", "1000")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err = killed.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("a killed command: %v", err)
	}
	l.search.Error(err)
	l.search.Value("what the Provider tells", killed)
}

// tells searches what the Provider tells about itself: all that a dashboard or a collector of metrics can show.
func (l *planting) tells() {
	t := l.T
	told := func(value any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		l.search.Value("what the Provider tells", value)
	}
	told(l.Provider, nil)
	told(l.Stats(), nil)
	for in, err := range l.Instances(t.Context()) {
		told(in, err)
	}
	for r, err := range l.Repositories(t.Context()) {
		told(r, err)
	}
	for s, err := range l.ListSessions(t.Context(), berth.SessionFilter{}) {
		if told(s, err); err == nil {
			told(s.Info(), nil)
		}
	}
	for u, err := range l.Usage(t.Context(), berth.UsageQuery{By: berth.UsageByRepository}) {
		told(u, err)
	}
	l.shows()
	l.collect()
}

// memory searches the directories in memory, which the engine does not copy.
func (l *planting) memory() {
	for _, id := range l.engine.Containers() {
		l.search.Look("files in memory", id, []byte(asRoot(l.Pool, id, "for d in /tmp /var/tmp /dev/shm /run /berth/run; do tar -C $d -cf - . 2>/dev/null | cat; done")))
	}
}
