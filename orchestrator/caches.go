package orchestrator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// Cache is a directory of packages that the sessions of a container share: see docs/caches.md.
type Cache = agent.Cache

// GoModules is Go's cache of modules. The repository's go.mod is in its root. The results of builds are not shared: nothing proves
// what they were made of.
func GoModules() Cache {
	return Cache{Name: "go-modules", Dir: "go/pkg/mod", Files: []string{"go.sum", "go.work.sum"}, Fill: []string{"go", "mod", "download"}}
}

// NPM is the cache of npm. No script of a package runs when it is filled.
func NPM() Cache {
	return Cache{
		Name: "npm", Dir: ".npm", Files: []string{"package-lock.json"},
		Fill: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"},
	}
}

// Pip is the cache of pip. It is filled with wheels alone, because pip runs programs of other packages.
func Pip() Cache {
	return Cache{
		Name: "pip", Dir: ".cache/pip", Files: []string{"requirements.txt"},
		Fill: []string{"sh", "-c", `exec python3 -m pip download --only-binary=:all: --dest "$TMPDIR/wheels" --requirement requirements.txt`},
	}
}

// Cargo is Cargo's registry: its index, and the crates.
func Cargo() Cache {
	return Cache{Name: "cargo", Dir: ".cargo/registry", Files: []string{"Cargo.lock"}, Fill: []string{"cargo", "fetch", "--locked"}}
}

// Maven is Maven's local repository. The plugins of the default branch's pom.xml run when it is filled.
func Maven() Cache {
	return Cache{
		Name: "maven", Dir: ".m2/repository", Files: []string{"pom.xml", "*/pom.xml"},
		Fill: []string{"mvn", "--batch-mode", "--quiet", "dependency:go-offline"},
	}
}

// fills are the fills that this process has asked for.
type fills struct {
	unshared sync.Once // for the log

	mu      sync.Mutex      // protects what follows
	running map[string]bool // by container; true = ask once more
}

// begin reports whether the caller is to ask for a fill. If somebody does that already, it asks once more afterwards.
func (f *fills) begin(container string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.running[container]; ok {
		f.running[container] = true
		return false
	}
	if f.running == nil {
		f.running = make(map[string]bool)
	}
	f.running[container] = false
	return true
}

// again reports whether to ask once more.
func (f *fills) again(container string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[container] {
		f.running[container] = false
		return true
	}
	delete(f.running, container)
	return false
}

// fillTimeout bounds the time for one cache: the agent's bound, and what it needs besides.
const fillTimeout = 40 * time.Minute

// fillCaches fills the caches of a container in the background, after a fetch. No session waits for it.
func (m *Manager) fillCaches(c store.Container, inside Inside, remote string) {
	if len(m.cfg.Caches) == 0 || !m.fills.begin(c.ID) {
		return
	}
	ok := m.tasks.spawn(func() {
		ctx, cancel := context.WithTimeout(m.ctx, fillTimeout*time.Duration(len(m.cfg.Caches)))
		defer cancel()
		for first := true; first || m.fills.again(c.ID); first = false {
			m.fillOnce(ctx, c, inside, remote)
		}
	})
	if !ok {
		m.fills.again(c.ID)
	}
}

func (m *Manager) fillOnce(ctx context.Context, c store.Container, inside Inside, remote string) {
	made, err := inside.FillCaches(ctx, agent.Fill{URL: remote, Caches: m.cfg.Caches, Env: m.cfg.Env}, func(p agent.Progress) { m.cfg.OnProgress(c, p.Phase) })
	attrs := []any{"container", c.Name, "instance", c.Instance}
	switch {
	case errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrClosed):
		return
	case errors.Is(err, errors.ErrUnsupported):
		made.Unshared = err.Error()
	case err != nil:
		m.failures.Report("cannot fill the caches", err, attrs...)
		return
	}
	if made.Unshared != "" {
		m.fills.unshared.Do(func() {
			m.cfg.Logger.Warn("a container's sessions do not share the caches of Config.Caches", append(attrs, "reason", made.Unshared)...)
		})
	}
	for _, failed := range made.Failed {
		m.failures.Report("cannot fill a cache", failed, attrs...)
		m.cfg.OnProgress(c, failed.Error())
	}
	if len(made.Names) == 0 {
		return
	}
	names := strings.Join(made.Names, ", ")
	m.cfg.Logger.Info("caches are filled", append(attrs, "caches", names)...)
	m.cfg.OnProgress(c, "filled the caches: "+names)
	grown(ctx, m, c, made.Size, attrs)
}
