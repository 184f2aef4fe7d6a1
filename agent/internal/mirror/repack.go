package mirror

import (
	"context"
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Each fetch that brings something adds a pack, and git looks through all of them for each object, in every checkout.
const (
	// maxPacks is how many packs are left alone.
	maxPacks = 20
	// tooManyPacks is the number of packs from which on a waiting fetch does not end the consolidation.
	tooManyPacks = 4 * maxPacks
)

// consolidate makes one pack of many, if there are too many and there is room. It belongs to the fetch that was just answered,
// and the next fetch waits for it. A fetch that comes meanwhile ends it, unless there are very many packs.
func (m *Mirror) consolidate() {
	refs := m.refs.Load()
	packs, _ := filepath.Glob(filepath.Join(m.repo, "objects", "pack", "*.pack"))
	m.mu.Lock()
	due := refs != nil && !m.suspect && len(packs) > max(maxPacks, m.leaveAt)
	size, ctx := m.size, m.ctx
	if len(packs) <= tooManyPacks {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		m.hurry = cancel
		due = due && m.next == nil
	}
	m.mu.Unlock()
	if due && free(m.repo) > size { // the new pack is written before the old ones go
		m.repack(ctx, len(packs))
	}
	m.mu.Lock()
	m.hurry = nil
	m.mu.Unlock()
}

// repack keeps objects that no ref reaches any more: a checkout may borrow them.
func (m *Mirror) repack(ctx context.Context, packs int) {
	_, err := git.Run(ctx, m.Table, m.job("repack", wire.Fetch{}, nil,
		"--git-dir="+m.repo, "-c", "repack.writeBitmaps=false", "repack", "-a", "-d", "-k", "-q"))
	if err != nil {
		tidy(m.repo)
	}
	size := size(m.repo)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size = size
	switch {
	case ctx.Err() != nil: // the next one tries again
	case err != nil:
		m.leaveAt = packs + maxPacks // it may fail again, and is not cheap
		m.Log.Warn("the mirror's packs cannot be consolidated", "packs", packs, "error", err)
	default:
		m.leaveAt = 0
		m.Log.Info("consolidated the mirror's packs", "packs", packs, "size", size)
	}
}
