package peers

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// counter counts bytes. Unlike io.Discard it has no ReadFrom.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

// silent drops what testcontainers-go logs of each container.
type silent struct{}

func (silent) Printf(string, ...any) {}

// testcontainers starts a container for each task by testcontainers-go, and clones in it. Its reaper is off, because it would
// be a container more, and so is the grace time before it kills a container that ends.
func (b *bench) testcontainers() way {
	b.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	tclog.SetDefault(silent{})
	return way{
		name: "testcontainers-go", forget: func() {}, disk: b.diskOfWork, containers: ids,
		start: func() *task {
			c, err := testcontainers.Run(b.ctx, b.image, testcontainers.WithEntrypoint("sleep", "infinity"))
			b.check(err)
			t := &task{
				container: c.GetContainerID(),
				end:       func() { b.check(c.Terminate(b.ctx, testcontainers.StopTimeout(0))) },
				run: func(args ...string) int64 {
					code, out, err := c.Exec(b.ctx, args, tcexec.Multiplexed())
					if err == nil && code != 0 {
						err = fmt.Errorf("%q: exit code %d", args, code)
					}
					b.check(err)
					printed, err := io.Copy(io.Discard, out)
					b.check(err)
					return printed
				},
			}
			t.run("git", "clone", "--quiet", b.url, "/work")
			return t
		},
	}
}

// containers starts a container for each task through Docker's API, as "docker run" does, and clones in it. With a mirror, the first task
// fetches a bare clone into a volume, from which all tasks clone without asking the remote.
func (b *bench) containers(mirror bool) way {
	w := way{name: "docker run + clone", forget: func() {}, disk: b.diskOfWork, containers: ids}
	w.start = func() *task {
		t := b.container(nil)
		t.run("git", "clone", "--quiet", b.url, "/work")
		return t
	}
	if !mirror {
		return w
	}
	volume := testenv.PoolName(b) + "-mirror"
	var mu sync.Mutex // protects fetched
	fetched := false
	w.name = "docker run + mirror"
	w.start = func() *task {
		t := b.container([]mount.Mount{{Type: mount.TypeVolume, Source: volume, Target: "/mirror"}})
		mu.Lock()
		if !fetched {
			t.run("git", "clone", "--quiet", "--bare", b.url, "/mirror")
		}
		fetched = true
		mu.Unlock()
		t.run("git", "clone", "--quiet", "--shared", "/mirror", "/work")
		return t
	}
	w.forget = func() {
		_, err := b.docker.VolumeRemove(b.ctx, volume, client.VolumeRemoveOptions{})
		b.check(err)
		fetched = false
	}
	w.disk = func(tasks []*task) int64 { return b.diskOfWork(tasks) + b.du(tasks[0].container, "/mirror") }
	return w
}

func (b *bench) container(mounts []mount.Mount) *task {
	made, err := b.docker.ContainerCreate(b.ctx, client.ContainerCreateOptions{
		Config:     &container.Config{Image: b.image, Entrypoint: []string{"sleep", "infinity"}},
		HostConfig: &container.HostConfig{Mounts: mounts},
	})
	b.check(err)
	_, err = b.docker.ContainerStart(b.ctx, made.ID, client.ContainerStartOptions{})
	b.check(err)
	return &task{
		container: made.ID,
		run: func(args ...string) int64 {
			out := new(counter)
			b.exec(made.ID, out, args...)
			return out.n
		},
		end: func() {
			_, err := b.docker.ContainerRemove(b.ctx, made.ID, client.ContainerRemoveOptions{Force: true})
			b.check(err)
		},
	}
}

// exec runs a command in a container as "docker exec" does.
func (b *bench) exec(id string, out io.Writer, args ...string) {
	e, err := b.docker.ExecCreate(b.ctx, id, client.ExecCreateOptions{Cmd: args, AttachStdout: true, AttachStderr: true})
	b.check(err)
	attached, err := b.docker.ExecAttach(b.ctx, e.ID, client.ExecAttachOptions{})
	b.check(err)
	defer attached.Close()
	var stderr strings.Builder
	_, err = stdcopy.StdCopy(out, &stderr, attached.Reader)
	b.check(err)
	state, err := b.docker.ExecInspect(b.ctx, e.ID, client.ExecInspectOptions{})
	if err == nil && state.ExitCode != 0 {
		err = fmt.Errorf("%q: exit code %d: %s", args, state.ExitCode, &stderr)
	}
	b.check(err)
}

// worktrees makes worktrees of one bare clone on the host, without a container. Git makes them one after another, because several
// at once fail in one repository.
func (b *bench) worktrees(url string) way {
	var mu sync.Mutex // held while git changes the clone. It protects n
	n := 0
	dir := b.TempDir()
	clone := filepath.Join(dir, "clone.git")
	git := func(args ...string) {
		out, err := exec.CommandContext(b.ctx, b.git, args...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%q: %w: %s", args, err, out)
		}
		b.check(err)
	}
	return way{
		name:       "git worktree, no container",
		containers: func([]*task) []string { return nil },
		disk: func([]*task) (size int64) {
			out, err := exec.CommandContext(b.ctx, "du", "-sk", dir).Output()
			b.check(err)
			_, err = fmt.Sscan(string(out), &size)
			b.check(err)
			return size << 10
		},
		forget: func() { b.check(os.RemoveAll(clone)) },
		start: func() *task {
			mu.Lock()
			defer mu.Unlock()
			if _, err := os.Stat(clone); err != nil {
				git("clone", "--quiet", "--bare", url, clone)
			}
			n++
			work := filepath.Join(dir, fmt.Sprint("work", n))
			git("-C", clone, "worktree", "add", "--quiet", "--detach", work, "HEAD")
			return &task{
				run: func(args ...string) int64 {
					out := new(counter)
					cmd := exec.CommandContext(b.ctx, args[0], args[1:]...)
					cmd.Dir, cmd.Stdout = work, out
					b.check(cmd.Run())
					return out.n
				},
				end: func() {
					mu.Lock()
					defer mu.Unlock()
					git("-C", clone, "worktree", "remove", "--force", work)
				},
			}
		},
	}
}

// berth makes sessions in a pool that has had a session of another repository.
func (b *bench) berth(other string) way {
	name := testenv.PoolName(b)
	p, err := berth.NewLocalProvider(b.ctx, berth.Config{Name: name, Image: b.image, MaxTasksPerInstance: 2 * crowd, Egress: gittest.Egress()})
	b.check(err)
	b.Cleanup(func() {
		if err := p.Destroy(b.ctx); err != nil {
			b.Error(err)
		}
	})
	var mu sync.Mutex // protects n and volume
	n, volume := 0, ""
	create := func(url string) *berth.Session {
		mu.Lock()
		n++
		id := fmt.Sprint("task", n)
		mu.Unlock()
		s, err := p.CreateSession(b.ctx, berth.SessionRequest{TaskID: id, UserID: "user", Repository: url})
		b.check(err)
		return s
	}
	end := func(s *berth.Session) { b.check(p.TerminateSession(b.ctx, s.ID())) }
	end(create(other))
	return way{
		name: "berth",
		start: func() *task {
			s := create(b.url)
			info := s.Info().Container
			mu.Lock()
			volume = info.Name
			mu.Unlock()
			return &task{
				container: info.ID,
				end:       func() { end(s) },
				run: func(args ...string) int64 {
					out := new(counter)
					cmd := s.Command(b.ctx, args[0], args[1:]...)
					cmd.Stdout = out
					b.check(cmd.Run())
					return out.n
				},
			}
		},
		forget: func() {
			_, err := b.docker.VolumeRemove(b.ctx, volume, client.VolumeRemoveOptions{})
			b.check(err)
		},
		disk: func(tasks []*task) int64 { return b.du(tasks[0].container, "/sessions", "/berth/mirror") },
		containers: func([]*task) (ids []string) { // the warden is one of them
			list, err := b.docker.ContainerList(b.ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("label", "berth.pool="+name)})
			b.check(err)
			for _, c := range list.Items {
				ids = append(ids, c.ID)
			}
			return ids
		},
	}
}
