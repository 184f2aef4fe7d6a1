package place

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// addHelper makes the agent's program the credential helper of the gits that have a session's home, for submodules and Git LFS, too. It
// is the only one: a helper of the image, such as store, would write to the disk what the agent's has answered. The session cannot enter
// the home yet.
func (p *Places) addHelper(home, top string, uid int) error {
	name := filepath.Join(home, ".gitconfig")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "[credential]\n\thelper =\n\thelper = %s\n\tuseHttpPath = true\n", quote(p.Program+" credential "+top))
	return errors.Join(err, f.Chown(uid, uid), f.Close())
}

// writeHook writes what git lfs install would: a push takes the files of Git LFS along.
func writeHook(name string, uid int) error {
	const hook = `#!/bin/sh
command -v git-lfs >/dev/null 2>&1 || { printf >&2 "\n%s\n\n" "This repository uses Git LFS, and 'git-lfs' was not found on your path."; exit 2; }
git lfs pre-push "$@"
`
	return own(os.WriteFile(name, []byte(hook), 0o755), name, uid)
}
