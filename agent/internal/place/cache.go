package place

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// ReserveCache makes the directory of a shared cache in a reserved place, before Make, and returns its path. The room of the session
// covers it.
func (p *Places) ReserveCache(s wire.Session, dir string) (string, error) {
	home := filepath.Join(p.Top(s.ID), "home")
	if err := makeOwn(home, 0o700, s.UID); err != nil {
		return "", err
	}
	if above := filepath.Dir(dir); above != "." {
		if err := makeDirs(home, above, s.UID); err != nil {
			return "", err
		}
	}
	at := filepath.Join(home, dir)
	return at, errors.Join(os.Mkdir(at, 0o700), os.Mkdir(filepath.Join(at, room.Lower), 0o700),
		makeOwn(filepath.Join(at, room.Upper), 0o755, s.UID))
}

// makeOwn makes a directory of the session's, unless it is there.
func makeOwn(dir string, mode os.FileMode, uid int) error {
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chown(dir, uid, uid)
}
