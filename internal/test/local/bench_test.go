package local_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// The benchmarks in this file compare what a user waits for with the same work done by hand through Docker's API, in
// the same run. The ratio is what counts: the machines they run on are noisy.

// yard is a pool on the real engine, and counts the tasks and the containers started by hand.
type yard struct {
	*local.Pool
	b     *testing.B
	image string
	tasks int
	hands int
}

func newYard(b *testing.B) *yard {
	b.Helper()
	return newYardWith(b, testenv.Image(b))
}

func newYardWith(b *testing.B, image string) *yard {
	b.Helper()
	return &yard{b: b, image: image, Pool: local.New(b, berth.Config{Image: image, MaxTasksPerInstance: 200})}
}

// create makes a session and returns how long that took.
func (y *yard) create(url string) (*berth.Session, time.Duration) {
	y.tasks++
	begin := time.Now()
	s, err := y.CreateSession(context.Background(), berth.SessionRequest{
		TaskID: fmt.Sprintf("task%d", y.tasks), UserID: "user", Repository: url,
	})
	if err != nil {
		y.b.Fatal(err)
	}
	return s, time.Since(begin)
}

func (y *yard) end(s *berth.Session) {
	if err := y.TerminateSession(context.Background(), s.ID()); err != nil {
		y.b.Fatal(err)
	}
}

// hand starts a container by hand.
func (y *yard) hand() (id string, took time.Duration) {
	y.hands++
	ctx := context.Background()
	begin := time.Now()
	made, err := y.Docker.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{Image: y.image, Entrypoint: []string{"sleep", "infinity"}},
	})
	if err == nil {
		_, err = y.Docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
	}
	if err != nil {
		y.b.Fatal(err)
	}
	return made.ID, time.Since(begin)
}

func (y *yard) removeHand(id string) {
	_, err := y.Docker.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil {
		y.b.Error(err)
	}
}

// exec runs a command by hand: create, attach, read to the end, inspect.
func (y *yard) exec(id string, args ...string) time.Duration {
	ctx := context.Background()
	begin := time.Now()
	e, err := y.Docker.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: args, AttachStdout: true, AttachStderr: true})
	if err != nil {
		y.b.Fatal(err)
	}
	attached, err := y.Docker.ExecAttach(ctx, e.ID, client.ExecAttachOptions{})
	if err != nil {
		y.b.Fatal(err)
	}
	out, _ := io.ReadAll(attached.Reader)
	attached.Close()
	state, err := y.Docker.ExecInspect(ctx, e.ID, client.ExecInspectOptions{})
	if err != nil || state.ExitCode != 0 {
		y.b.Fatalf("%q: exit code %d, %v\n%s", args, state.ExitCode, err, out)
	}
	return time.Since(begin)
}

// clone does by hand what a cold start does.
func (y *yard) clone(url string) (id string, took time.Duration) {
	id, took = y.hand()
	took += y.exec(id, "git", "clone", "--bare", "--quiet", url, "/repo.git")
	took += y.exec(id, "git", "-C", "/repo.git", "worktree", "add", "--quiet", "--detach", "/work", "HEAD")
	return id, took
}

// forget removes the mirrors that the pool keeps, so that the next start is a cold one.
func (y *yard) forget(container string) {
	_, err := y.Docker.VolumeRemove(context.Background(), container, client.VolumeRemoveOptions{})
	if err != nil {
		y.b.Fatal(err)
	}
}

// report reports the means of two sums over all iterations, and their ratio.
func report(b *testing.B, berth, other time.Duration, name string) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(berth.Seconds()*1e3/float64(b.N), "ms/berth")
	b.ReportMetric(other.Seconds()*1e3/float64(b.N), "ms/"+name)
	b.ReportMetric(berth.Seconds()/other.Seconds(), "ratio")
}

// BenchmarkAttach compares a task that joins a running container with "git worktree add" through docker exec.
// Wanted: a ratio of at most 0.5.
func BenchmarkAttach(b *testing.B) {
	y := newYard(b)
	url := y.Git.Create("org/small", gittest.Small()).URL()
	holder, _ := y.create(url)
	id, _ := y.clone(url)
	defer y.removeHand(id)
	var attach, byHand time.Duration
	for i := 0; b.Loop(); i++ {
		s, took := y.create(url)
		attach += took
		byHand += y.exec(id, "git", "-C", "/repo.git", "worktree", "add", "--quiet", "--detach", fmt.Sprintf("/work%d", i), "HEAD")
		y.end(s)
	}
	report(b, attach, byHand, "hand")
	y.end(holder)
}

// BenchmarkColdStart compares the first task of a repository with creating and starting a container, cloning and
// checking out by hand. Wanted: a ratio of at most 1.15.
func BenchmarkColdStart(b *testing.B) {
	y := newYard(b)
	url := y.Git.Create("org/small", gittest.Small()).URL()
	y.again(url) // what is made once per instance
	var cold, byHand time.Duration
	for b.Loop() {
		s, took := y.create(url)
		cold += took
		if s.Info().Start != berth.StartCold {
			b.Fatalf("it started %s", s.Info().Start)
		}
		y.end(s)
		y.forget(s.Info().Container.Name)
		id, took := y.clone(url)
		byHand += took
		y.removeHand(id)
	}
	report(b, cold, byHand, "hand")
}

// again runs one task on a repository and then removes its mirror.
func (y *yard) again(url string) {
	s, _ := y.create(url)
	y.end(s)
	y.forget(s.Info().Container.Name)
}

// BenchmarkWarmStart compares the start of a container whose mirror was kept with a cold start of the same repository:
// one of 400 commits, as in the other benchmarks, and one of 6,000, whose clone is dear. Wanted: a ratio of at most 0.5.
// The small one does not reach that: a mirror does not save the start of the container, which is most of its cold
// start.
func BenchmarkWarmStart(b *testing.B) {
	b.Run("small", func(b *testing.B) { benchmarkWarmStart(b, gittest.Small()) })
	b.Run("long", func(b *testing.B) { benchmarkWarmStart(b, gittest.Long()) })
}

func benchmarkWarmStart(b *testing.B, history gittest.History) {
	y := newYard(b)
	url := y.Git.Create("org/repo", history).URL()
	y.again(url)
	var cold, warm time.Duration
	for b.Loop() {
		s, took := y.create(url)
		cold += took
		y.end(s)
		s, took = y.create(url)
		warm += took
		if s.Info().Start != berth.StartWarm {
			b.Fatalf("it started %s", s.Info().Start)
		}
		y.end(s)
		y.forget(s.Info().Container.Name)
	}
	report(b, warm, cold, "cold")
}

// BenchmarkHundred compares 100 tasks that come at once to a new repository with one cold start and 100 attaches one
// after another. Wanted: a ratio of at most 1.1, one start, one fetch.
func BenchmarkHundred(b *testing.B) {
	const tasks = 100
	y := newYard(b)
	remote := y.Git.Create("org/small", gittest.Small())
	y.again(remote.URL())
	var atOnce, inTurn time.Duration
	for b.Loop() {
		before, fetches := y.Stats(), remote.Fetches()
		sessions := make([]*berth.Session, tasks)
		var wg sync.WaitGroup
		begin := time.Now()
		for i := range sessions {
			wg.Go(func() {
				s, err := y.CreateSession(context.Background(), berth.SessionRequest{
					TaskID: fmt.Sprintf("at-once%d", i), UserID: "user", Repository: remote.URL(),
				})
				if err != nil {
					b.Error(err)
				}
				sessions[i] = s
			})
		}
		wg.Wait()
		atOnce += time.Since(begin)
		if b.Failed() {
			return
		}
		if n := y.Stats().Containers.Starts - before.Containers.Starts; n != 1 || remote.Fetches() != fetches+1 {
			b.Fatalf("%d containers were started and %d fetches made", n, remote.Fetches()-fetches)
		}
		for _, s := range sessions {
			y.end(s)
		}
		y.forget(sessions[0].Info().Container.Name)

		for i := range sessions {
			s, took := y.create(remote.URL())
			inTurn += took
			sessions[i] = s
		}
		for _, s := range sessions {
			y.end(s)
		}
		y.forget(sessions[0].Info().Container.Name)
	}
	report(b, atOnce, inTurn, "in-turn")
}
