package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// trouble is a pool in which much is wrong: an instance is lost and another one taken back, the pool is full, tasks wait, launches
// fail, and one repository does not come up. The Provider that shows it is closed to nothing, but the records are written by hand.
func trouble(t testing.TB, opts dashboard.Options) *site {
	s := open(t, berth.Config{MaxInstances: 4, MaxTasksPerInstance: 6, UsageLabels: []string{"team"}}, opts)
	for i, name := range []string{"fix-login", "bump-deps", "refactor-queue", "flaky-test-1841"} {
		s.create(name, []string{"ann", "bob"}[i%2], repoA, label("team", "web"))
	}
	for i := range 6 {
		s.create("migrate-"+strconv.Itoa(i), "cid", fmt.Sprintf("https://git.example/platform/service-%d.git", i/2), label("team", "infra"))
	}
	now := time.Now()
	in := func(id string, state store.InstanceState, age time.Duration, change func(*store.Instance)) *store.Instance {
		i := &store.Instance{
			ID: id, State: state, Since: now.Add(-age / 4), CreatedAt: now.Add(-age), CloudID: "i-0" + id[2:], Address: "tcp://10.0.0.9:2376",
			Type: "m7i.large", Zone: "eu-central-1a", Spot: true, Slots: 6,
		}
		change(i)
		return i
	}
	key, _ := naming.ParseRepository("https://git.example/legacy/monolith.git")
	broken := naming.Key{Repository: key}
	records := []store.Record{
		in("l-lost00000001", store.InstanceLost, 3*time.Hour, func(i *store.Instance) { i.Reason = "its engine failed 5 probes in a row"; i.Sessions = 2 }),
		in("l-spot00000002", store.InstanceCordoned, 90*time.Minute, func(i *store.Instance) {
			i.Reason, i.Outlook, i.Sessions, i.Drain = "the cloud is taking it back: interruption notice at 18:42", "interrupted", 3, true
		}),
		&store.Container{
			ID: "c-broken", Name: "repo-legacy-monolith-1f3a9c07qz", SharingKey: broken, Instance: "l-spot00000002", State: store.ContainerStarting,
			Since: now.Add(-9 * time.Minute), CreatedAt: now.Add(-9 * time.Minute), Owner: "r-x", Sessions: 1,
		},
	}
	for i := range 3 {
		id := "s-0failed" + strconv.Itoa(i)
		records = append(records, &store.Session{
			ID: id, TaskID: "nightly-" + strconv.Itoa(i), UserID: "ci", SharingKey: broken, Remote: "https://git.example/legacy/monolith.git",
			State: store.SessionEnded, CreatedAt: now.Add(-time.Duration(i+2) * time.Minute), EndedAt: now.Add(-time.Duration(i+1) * time.Minute),
			ContainerName: "repo-legacy-monolith-1f3a9c07qz",
			End: store.Failure{Reason: store.EndStartFailed, Phase: store.PhaseFetching, Cause: "git fetch",
				Message: `git fetch: exit status 128: the remote says: "fatal: pack exceeds maximum allowed size"`},
		})
	}
	web, _ := naming.ParseRepository(repoA)
	records = append(records, &store.Session{
		ID: "s-0nightly", TaskID: "nightly-build", UserID: "ci", SharingKey: naming.Key{Repository: web}, Remote: repoA, Branch: "main", CheckedOut: "main",
		Labels: map[string]string{"team": "web", "ticket": "BERTH-1841"}, State: store.SessionEnded, CreatedAt: now.Add(-12 * time.Minute), EndedAt: now.Add(-time.Minute),
		Waited: 95 * time.Second, Took: 73 * time.Second, Start: store.StartCold, Instance: "l-lost00000001", ContainerName: "repo-team-alpha-afr5v7jerenb",
		Phases: store.Phases{Pull: 31 * time.Second, Create: 1200 * time.Millisecond, Fetch: 38 * time.Second, Checkout: 2100 * time.Millisecond},
		End:    store.Failure{Reason: store.EndInstanceLost, Message: "its engine failed 5 probes in a row"},
	})
	for i, hour := 0, now.UTC().Truncate(time.Hour); i < 20; i, hour = i+1, hour.Add(-time.Hour) {
		for j, repo := range []string{"git.example/team/alpha", "git.example/platform/service-0", "git.example/legacy/monolith", ""} {
			minutes := int64(time.Duration(50-12*j) * time.Minute / time.Microsecond)
			u := &store.Usage{ID: store.UsageID(hour, fmt.Sprint("row", j)), Repo: repo, User: []string{"ann", "bob", "ci", ""}[j], Labels: []string{"team=web"},
				Type: "m7i.large", Spot: true, Used: minutes, Held: minutes * 6, Attached: int64(9 - 3*j), WarmStarts: 1, Cold: int64(j), Saved: minutes / 4, Cost: minutes * 20}
			if repo == "" {
				u.Idle, u.Used, u.Held, u.Attached, u.WarmStarts, u.Cold, u.Saved, u.Labels = u.Used, 0, 0, 0, 0, 0, 0, nil
			}
			records = append(records, u)
		}
	}
	s.put(records...)
	s.edit(func(p *store.Pool) {
		p.LaunchFailures, p.LaunchFailure, p.LaunchAfter = 3, "InsufficientInstanceCapacity: no m7i.large in eu-central-1a, eu-central-1b", now.Add(40*time.Second)
	})
	for i := range 4 {
		s.wait("review-"+strconv.Itoa(i), "dora", repoA)
	}
	s.shows("queue", "review-3", false)
	return s
}

// edit changes the pool's record.
func (s *site) edit(change func(*store.Pool)) {
	s.t.Helper()
	err := s.store.Update(context.Background(), nil, func(tx store.Tx) error {
		p, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		change(p)
		return tx.Put(p)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// sessionID returns the ID of the session of a task.
func (s *site) sessionID(task string) string {
	s.t.Helper()
	session, err := s.SessionByTask(context.Background(), task)
	if err != nil {
		s.t.Fatal(err)
	}
	return session.ID()
}

const script = `"><script>pwned=1</script>`

// hostile adds a task whose every text is meant to do harm, and returns the ID of its session. The library refuses some of these
// texts, so that the record is written by hand.
func (s *site) hostile() (id string) { return s.hostileOne("hostile") }

// hostileOne is hostile for one of several tasks, each on an instance and a repository of its own.
func (s *site) hostileOne(name string) (id string) {
	bidi, long := "a\u202egnp.exe\u2066\u200b", strings.Repeat("x'\"<>&", 2000)
	now := time.Now()
	repository := naming.Key{Repository: naming.Repository{Host: "git.example", Path: strings.TrimSuffix("evil/<svg-onload=pwned=1>/"+name, "/hostile")}, Scope: "user=" + script}
	id = "s-0" + name
	s.put(
		&store.Instance{
			ID: "l-" + name, State: store.InstanceReady, Slots: 3, Sessions: 1, CreatedAt: now, Since: now, Reason: script + bidi + long, CloudID: script,
			Address: script, Type: script, Zone: bidi, Outlook: script, IsolationReason: long, CheckoutReason: long, Wish: store.WishCordon,
		},
		&store.Container{
			ID: "c-" + name, Name: script + long, SharingKey: repository, Instance: "l-" + name, State: store.ContainerReady, CreatedAt: now,
			Since: now, Sessions: 1, WarmUntil: now.Add(time.Hour), Failure: store.Failure{Reason: store.EndStartFailed, Message: script + "\x1b[31m" + long},
		},
		&store.Session{
			ID: id, TaskID: script + bidi, UserID: `<img src=x onerror=pwned=1>` + long, SharingKey: repository, Remote: "javascript:pwned=1",
			Branch: script + "\r\nset-cookie: a=b" + bidi, Labels: map[string]string{script: script, bidi: long, "__proto__": "x"},
			AuthorName: script, State: store.SessionActive, CreatedAt: now, Container: "c-" + name, ContainerName: script + long, Instance: "l-" + name,
			Workdir: script, Start: store.StartCold, Took: time.Second, LeaseUntil: now.Add(time.Hour),
			Commit: script, Snapshot: script + bidi, Restore: script + bidi + long, Restored: true, NewBranch: script, Saved: "snapshot " + script + bidi,
			Unsaved: "git: " + script + bidi + "\x1b[31m\n" + long, MaxLifetime: time.Hour,
			End: store.Failure{Reason: store.EndStartFailed, Message: "git: " + script + bidi + long},
		},
	)
	return id
}

// wait makes a task that waits for a slot, until the test ends.
func (s *site) wait(task, user, repository string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, err := s.CreateSession(ctx, berth.SessionRequest{TaskID: task, UserID: user, Repository: repository})
		if err != nil && ctx.Err() == nil && !errors.Is(err, berth.ErrClosed) {
			s.t.Errorf("task %s: %v", task, err)
		}
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
}
