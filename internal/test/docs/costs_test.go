package docs

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// costTasks is the number of tasks on one repository in the table of the README.
const costTasks = 10

// A cost is what the tasks on one repository take, one way or the other.
type cost struct {
	first, next time.Duration // until a command can run in the checkout: the first task, and the mean of the others
	again       time.Duration // the same for the first task after all others have ended; 0 = as the first
	disk        int64         // bytes beyond the image
	memory      int64         // bytes of all processes that serve the tasks while no command runs; 0 where /proc does not say
}

// BenchmarkCosts measures the table "What it saves and costs" of the README: tasks on one repository, first in a container
// for each task and then by berth, in a pool that has had a task of another repository. The git server is on this machine,
// so a clone takes no time on a network.
func BenchmarkCosts(b *testing.B) {
	for _, repository := range []struct {
		name    string
		history gittest.History
	}{{"commits=400", gittest.Small()}, {"files=13000", gittest.Large()}, {"commits=6000", gittest.Long()}} {
		b.Run(repository.name, func(b *testing.B) {
			docker, image := testenv.Docker(b), testenv.Image(b)
			server := gittest.NewSmartServer(b)
			other, url := server.Create("org/other", gittest.Small()).URL(), server.Create("org/repo", repository.history).URL()
			var each, shared cost // sums over all iterations
			for b.Loop() {
				each.add(containerPerTask(b, docker, image, url))
				shared.add(byBerth(b, docker, image, other, url))
			}
			b.ReportMetric(0, "ns/op")
			each.report(b, "each")
			shared.report(b, "berth")
		})
	}
}

func (c *cost) add(other cost) {
	c.first += other.first
	c.next += other.next
	c.again += other.again
	c.disk += other.disk
	c.memory += other.memory
}

// report reports the means over all iterations.
func (c *cost) report(b *testing.B, name string) {
	n := float64(b.N)
	b.ReportMetric(c.first.Seconds()*1e3/n, "ms-first/"+name)
	b.ReportMetric(c.next.Seconds()*1e3/n, "ms-next/"+name)
	if c.again > 0 {
		b.ReportMetric(c.again.Seconds()*1e3/n, "ms-again/"+name)
	}
	b.ReportMetric(float64(c.disk)/1e6/n, "MB-disk/"+name)
	b.ReportMetric(float64(c.memory)/1e6/n, "MB-memory/"+name)
}

// containerPerTask starts a container for each task and clones the repository in it.
func containerPerTask(b *testing.B, docker *client.Client, image, url string) (c cost) {
	ctx := b.Context()
	var ids []string
	defer func() {
		for _, id := range ids {
			docker.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	}()
	for i := range costTasks {
		begin := time.Now()
		made, err := docker.ContainerCreate(ctx, client.ContainerCreateOptions{
			Config: &container.Config{Image: image, Entrypoint: []string{"sleep", "infinity"}},
		})
		if err == nil {
			ids = append(ids, made.ID)
			_, err = docker.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
		}
		if err != nil {
			b.Fatal(err)
		}
		inContainer(b, docker, made.ID, "git clone --quiet "+url+" /work")
		c.took(i, time.Since(begin))
	}
	for _, id := range ids {
		c.disk += diskOf(b, docker, id, "/work")
		c.memory += memoryOf(b, docker, id)
	}
	return c
}

// byBerth creates a session for each task, after one on another repository.
func byBerth(b *testing.B, docker *client.Client, image, other, url string) (c cost) {
	ctx := b.Context()
	p, err := berth.NewLocalProvider(ctx, berth.Config{Name: testenv.PoolName(b), Image: image, MaxTasksPerInstance: costTasks + 1, Egress: gittest.Egress()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := p.Destroy(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	create := func(task, url string) *berth.Session {
		s, err := p.CreateSession(ctx, berth.SessionRequest{TaskID: task, UserID: "user", Repository: url})
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	create("other", other) // makes the pool's network, and the volume with the agent
	var sessions []*berth.Session
	for i := range costTasks {
		begin := time.Now()
		s := create(fmt.Sprint("task", i), url)
		c.took(i, time.Since(begin))
		sessions = append(sessions, s)
	}
	id := sessions[0].Info().Container.ID
	c.disk, c.memory = diskOf(b, docker, id, "/sessions /berth/mirror"), memoryOf(b, docker, id)
	for _, s := range sessions {
		if err := p.TerminateSession(ctx, s.ID()); err != nil {
			b.Fatal(err)
		}
	}
	begin := time.Now()
	if s := create("again", url); s.Info().Start != berth.StartWarm {
		b.Fatalf("the task after all others started %s", s.Info().Start)
	}
	c.again = time.Since(begin)
	return c
}

// took adds what one task took.
func (c *cost) took(task int, d time.Duration) {
	if task == 0 {
		c.first = d
	} else {
		c.next += d / (costTasks - 1)
	}
}

func diskOf(b *testing.B, docker *client.Client, id, paths string) int64 {
	total := int64(0)
	for line := range strings.Lines(inContainer(b, docker, id, "du -sk "+paths)) {
		kilobytes, err := strconv.ParseInt(regexp.MustCompile(`\d+`).FindString(line), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += kilobytes << 10
	}
	return total
}

// memoryOf returns the memory of a container's first process and of the shim that holds it.
func memoryOf(b *testing.B, docker *client.Client, id string) int64 {
	found, err := docker.ContainerInspect(b.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		b.Fatal(err)
	}
	pid := found.Container.State.Pid
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	shim, _ := strconv.Atoi(number(status, `PPid:\s+(\d+)`))
	total := int64(0)
	for _, pid := range []int{pid, shim} {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0
		}
		kilobytes, _ := strconv.ParseInt(number(rollup, `(?m)^Pss:\s+(\d+) kB`), 10, 64)
		total += kilobytes << 10
	}
	return total
}

func number(text []byte, pattern string) string {
	m := regexp.MustCompile(pattern).FindSubmatch(text)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// inContainer runs a shell command as root in a container.
func inContainer(b *testing.B, docker *client.Client, id, script string) string {
	ctx := b.Context()
	e, err := docker.ExecCreate(ctx, id, client.ExecCreateOptions{Cmd: []string{"sh", "-c", script}, TTY: true, AttachStdout: true})
	if err != nil {
		b.Fatal(err)
	}
	attached, err := docker.ExecAttach(ctx, e.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		b.Fatal(err)
	}
	defer attached.Close()
	out, _ := io.ReadAll(attached.Reader)
	if state, err := docker.ExecInspect(ctx, e.ID, client.ExecInspectOptions{}); err != nil || state.ExitCode != 0 {
		b.Fatalf("%s: exit code %d, %v\n%s", script, state.ExitCode, err, out)
	}
	return string(out)
}
