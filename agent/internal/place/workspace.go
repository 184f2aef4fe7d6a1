package place

import (
	"os"
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/tree"
	"github.com/berth-go/berth/agent/internal/wire"
)

// IndexName is the name of a link to the index that a checkout began with, in the directory of a session's place. Git replaces an index and
// does not write to it.
const IndexName = ".index"

// keepIndex makes that link. Without it, all files of the session are taken for changed when its work is kept. into is where the repository
// lies.
func keepIndex(workdir, into string) {
	_ = os.Link(filepath.Join(into, ".git", "index"), filepath.Join(filepath.Dir(workdir), IndexName))
}

// MakeOver makes a session's place over the tree of its commit, in a reserved directory. Its files appear when the room of the session
// mounts the overlay, which MakeOver returns. The repository, with git's index for the mount, is in the upper directory. After an
// error, Clear removes what was made.
func (p *Places) MakeOver(s wire.Session, refs *mirror.Refs, target mirror.Target, over *tree.Use) (*Place, *room.Overlay, error) {
	pl := p.plan(s, target)
	upper := filepath.Join(pl.Workdir, room.Upper)
	for _, dir := range []string{pl.Workdir, filepath.Join(pl.Workdir, room.Lower)} { // root's alone
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, nil, err
		}
	}
	if err := makeOwn(upper, 0o755, s.UID); err != nil {
		return nil, nil, err
	}
	if err := p.settle(pl, upper, s, refs); err != nil {
		return nil, nil, err
	}
	index, err := os.ReadFile(over.Index)
	if err == nil {
		err = tree.Own(index, refs.Format, s.UID)
	}
	if err != nil {
		return nil, nil, err
	}
	name := filepath.Join(upper, ".git", "index")
	if err := own(os.WriteFile(name, index, 0o644), name, s.UID); err != nil {
		return nil, nil, err
	}
	keepIndex(pl.Workdir, upper)
	if err := os.Chown(p.Top(s.ID), s.UID, s.UID); err != nil { // from here on its uid can get in
		return nil, nil, err
	}
	return pl, &room.Overlay{Dir: pl.Workdir, Layer: over.Files}, nil
}
