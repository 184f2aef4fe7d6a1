// Package peers measures berth beside what a user would take instead: a container for each task, by testcontainers-go or through
// Docker's API, with and without a mirror that is mounted, and a bare "git worktree add" on the host.
package peers

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

const (
	crowd    = 20        // tasks that come at once
	execs    = 20        // commands that are run one after another
	streamed = 128 << 20 // bytes of a command's output
)

// A way makes tasks on one repository. Its functions fail the benchmark when something goes wrong.
type way struct {
	name       string
	start      func() *task                 // returns when a command can run in a checkout of the task. Safe for concurrent use
	forget     func()                       // called when all tasks have ended: the next one is the first of its repository
	disk       func(tasks []*task) int64    // bytes beyond the image
	containers func(tasks []*task) []string // the IDs of all containers that serve the tasks
}

// A task is one task, with a checkout of its own.
type task struct {
	run       func(args ...string) (printed int64) // runs a command that must succeed
	end       func()                               // returns when all that is the task's is gone
	container string                               // its ID; "" = none
}

// A bench is what all ways have in common.
type bench struct {
	*testing.B
	ctx    context.Context
	docker *client.Client
	image  string
	git    string // the program
	url    string // of the repository
}

// BenchmarkPeers prints the table of docs/performance.md. Each iteration is a round in which every way has its turn, and the table has
// the medians of the rounds. Every round begins with another way, so that what the machine does beside meets all alike.
func BenchmarkPeers(b *testing.B) {
	for _, c := range []struct {
		name    string
		history gittest.History
	}{{"files=150", gittest.Small()}, {"files=13000", gittest.Large()}} {
		b.Run(c.name, func(b *testing.B) {
			on := &bench{B: b, ctx: context.Background(), docker: testenv.Docker(b), image: testenv.Image(b), git: testenv.Git(b)}
			server := gittest.NewSmartServer(b)
			remote := server.Create("org/repo", c.history)
			on.url = remote.URL()
			ways := []way{
				on.testcontainers(), on.containers(false), on.containers(true), on.worktrees(remote.LocalURL()),
				on.berth(server.Create("org/other", gittest.Small()).URL()),
			}
			found := newResults(ways)
			for _, w := range ways {
				w.start().end() // what the machine and each way do once is in no number
				w.forget()
			}
			for i := 0; b.Loop(); i++ {
				for j := range ways {
					on.round(ways[(i+j)%len(ways)], found)
				}
			}
			found.report(b)
		})
	}
}

// round measures a way once.
func (b *bench) round(w way, found *results) {
	first := timed(found, w, "first task, ms", w.start)
	memoryOfOne, diskOfOne := memory(b, w.containers([]*task{first})), w.disk([]*task{first})
	second := timed(found, w, "second task, ms", w.start)
	for range execs {
		timed(found, w, "a command, ms", func() int64 { return second.run("true") })
	}
	begin := time.Now()
	if n := second.run("head", "-c", fmt.Sprint(streamed), "/dev/zero"); n != streamed {
		b.Fatalf("%s: %d bytes of %d arrived", w.name, n, streamed)
	}
	found.add(w, "stdout, MB/s", streamed/1e6/time.Since(begin).Seconds())
	timed(found, w, "end of a task, ms", func() any { second.end(); return nil })
	first.end()
	w.forget()

	tasks := make([]*task, crowd)
	timed(found, w, fmt.Sprintf("%d at once, ms", crowd), func() any { each(tasks, func(i int) { tasks[i] = w.start() }); return nil })
	if b.Failed() {
		b.FailNow()
	}
	of := func(what string, one, all int64) {
		found.add(w, fmt.Sprintf("%s of %d, MB", what, crowd), float64(all)/1e6)
		found.add(w, what+" of each further task, MB", float64(all-one)/(crowd-1)/1e6)
	}
	of("memory", memoryOfOne, memory(b, w.containers(tasks)))
	of("disk", diskOfOne, w.disk(tasks))
	each(tasks, func(i int) { tasks[i].end() })
	w.forget()
}

// timed adds how long do takes.
func timed[T any](found *results, w way, what string, do func() T) T {
	begin := time.Now()
	result := do()
	found.add(w, what, time.Since(begin).Seconds()*1e3)
	return result
}

// each calls do for each task at once.
func each(tasks []*task, do func(i int)) {
	var wg sync.WaitGroup
	for i := range tasks {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// check fails the benchmark, from any goroutine.
func (b *bench) check(err error) {
	if err != nil {
		b.Error(err)
		panic(err) // FailNow must not be called from the goroutines of tasks that come at once
	}
}
