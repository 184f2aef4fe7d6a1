package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/devcontainer"
	"github.com/berth-go/berth/agent/internal/cache"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/agent/internal/work"
)

// prepared has the prepared layers of a container's repository. Each was made from the files of a commit, its base. It lies below the
// files of the commit of a session, so the files that the commit has win.
//
// A layer is for sessions of its base. If a branch led to the base, the layer is also for newer commits of that branch, and if that was
// the default branch, for those of all branches, as long as the files that decide are the same. A commit that a branch once had, and
// that was undone since, is the base of no layer that others get.
type prepared struct {
	layers *cache.Store
	mirror *mirror.Mirror
	turn   gate // one place: layers are made one after another; protects failed

	failed map[string]failedPrepare // by name

	mu    sync.Mutex // protects what follows
	keys  map[string]string
	leads map[[2]string]bool
	files map[string]devcontainer.File // by commit
}

// A failedPrepare is not tried again at once.
type failedPrepare struct {
	message string
	at      time.Time
}

const (
	// maxPrepared is how many layers stay that no session uses: the newest ones.
	maxPrepared = 3
	// maxRemembered bounds what is remembered of commits.
	maxRemembered = 1000
)

func newPrepared(m *mirror.Mirror, dir string) (*prepared, error) {
	layers, err := cache.Open(dir, room.LayerUID)
	if err != nil {
		return nil, fmt.Errorf("prepared layers: %w", err)
	}
	return &prepared{
		layers: layers, mirror: m, turn: make(gate, 1), failed: make(map[string]failedPrepare),
		keys: make(map[string]string), leads: make(map[[2]string]bool), files: make(map[string]devcontainer.File),
	}, nil
}

// A base is what a layer was made of. It is the key of the layer in its store.
type base = wire.LayerHead

// A preparedUse is a layer that a session uses.
type preparedUse struct {
	base
	dir     string
	release func()
}

// The names in the directory of a layer.
const preparedCheckout = work.AddedCheckout

func preparedDir(i int) string { return work.AddedDir(i) }

// name returns the name of the layer for a key and a commit. It is a file name.
func (p *prepared) name(key, commit string) string { return key + "-" + commit }

// find returns the layer for a session of a target, or nil if there is none.
func (p *prepared) find(ctx context.Context, w *wire.Prepare, target mirror.Target) (*preparedUse, error) {
	if w == nil || target.Commit == "" || len(p.layers.Stored("")) == 0 {
		return nil, nil
	}
	key, err := p.key(ctx, w, target.Commit)
	if err != nil {
		return nil, err
	}
	if use := p.use(p.name(key, target.Commit)); use != nil {
		return use, nil
	}
	all := p.layers.Stored(key + "-")
	slices.SortFunc(all, func(a, b cache.Stored) int { return b.Made.Compare(a.Made) }) // the newest first
	for _, one := range all {
		var b base
		if json.Unmarshal([]byte(one.Key), &b) != nil || !p.fits(ctx, b, target) {
			continue
		}
		if use := p.use(one.Name); use != nil {
			return use, nil
		}
	}
	return nil, ctx.Err()
}

// fits reports whether a layer is for sessions of a target, if the files that decide are the same.
func (p *prepared) fits(ctx context.Context, b base, target mirror.Target) bool {
	if b.Commit == target.Commit {
		return true
	}
	if !b.Default && (b.Branch == "" || b.Branch != target.Branch) {
		return false
	}
	leads, err := p.leadsTo(ctx, b.Commit, target.Commit)
	return err == nil && leads // the mirror may not have the commit any more
}

func (p *prepared) use(name string) *preparedUse {
	key := p.layers.Key(name)
	dir, release, ok := p.layers.Use(name)
	if !ok {
		return nil
	}
	use := &preparedUse{dir: dir, release: release}
	if json.Unmarshal([]byte(key), &use.base) != nil {
		release()
		return nil
	}
	return use
}

// leadsTo reports whether a commit is another one or an ancestor of it.
func (p *prepared) leadsTo(ctx context.Context, commit, to string) (bool, error) {
	pair := [2]string{commit, to}
	p.mu.Lock()
	leads, known := p.leads[pair]
	p.mu.Unlock()
	if known {
		return leads, nil
	}
	leads, err := mirror.Leads(ctx, p.mirror, commit, to)
	if err == nil {
		p.mu.Lock()
		if len(p.leads) >= maxRemembered {
			clear(p.leads)
		}
		p.leads[pair] = leads
		p.mu.Unlock()
	}
	return leads, err
}

// key returns what decides whether the commands must run again: the commands, the image, and the files of a commit. If the commit has
// none of these files, the commit decides.
func (p *prepared) key(ctx context.Context, w *wire.Prepare, commit string) (string, error) {
	what := *w
	what.MaxBytes, what.Timeout = 0, 0 // the result is the same
	definition, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(definition)
	look := commit + hex.EncodeToString(sum[:])
	p.mu.Lock()
	key, known := p.keys[look]
	p.mu.Unlock()
	if known {
		return key, nil
	}
	files, err := p.mirror.Files(ctx, commit, func(name string) bool {
		return decides(w.Files, name) || w.Devcontainer && name == devcontainer.Path
	})
	if err != nil {
		return "", err
	}
	all := sha256.New()
	all.Write(definition)
	for _, f := range files {
		fmt.Fprintf(all, "%q %s\n", f.Path, f.ID)
	}
	if len(files) == 0 {
		fmt.Fprintln(all, commit)
	}
	key = hex.EncodeToString(all.Sum(nil)[:16])
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.keys) >= maxRemembered {
		clear(p.keys)
	}
	p.keys[look] = key
	return key, nil
}

// decides reports whether a file is one of those that decide. A pattern without a slash is of its last element.
func decides(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		of := name
		if !strings.Contains(pattern, "/") {
			of = path.Base(name)
		}
		ok, _ := path.Match(pattern, of)
		return ok
	})
}

// evict removes the oldest layers that no session uses, but for some.
func (p *prepared) evict(keep int) {
	all := p.layers.Stored("")
	slices.SortFunc(all, func(a, b cache.Stored) int { return b.Made.Compare(a.Made) })
	for _, one := range all {
		if one.Used {
			continue
		}
		if keep--; keep < 0 {
			p.layers.Remove(one.Name)
		}
	}
}

// overlaps reports whether two directories are one, or one is in the other.
func overlaps(a, b string) bool {
	return strings.HasPrefix(a+"/", b+"/") || strings.HasPrefix(b+"/", a+"/")
}
