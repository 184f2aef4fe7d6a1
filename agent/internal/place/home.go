package place

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/internal/environ"
)

// furnish makes what a session's home begins with. The session cannot enter it yet.
func furnish(home string, with environ.Home, uid int) error {
	for _, dir := range with.Dirs {
		if err := makeDirs(home, dir, uid); err != nil {
			return err
		}
	}
	for name, content := range with.Files {
		if err := makeDirs(home, filepath.Dir(name), uid); err != nil {
			return err
		}
		file := filepath.Join(home, name)
		if err := own(os.WriteFile(file, content, 0o644), file, uid); err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes a directory below the home, with those above it, for the session.
func makeDirs(home, dir string, uid int) error {
	at := home
	for name := range strings.SplitSeq(dir, "/") {
		at = filepath.Join(at, name)
		err := os.Mkdir(at, 0o755)
		if os.IsExist(err) {
			continue
		}
		if err := own(err, at, uid); err != nil {
			return err
		}
	}
	return nil
}
