package place

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// knownHostsName is the name of the file in a session's directory that has its host keys for ssh.
const knownHostsName = ".known_hosts"

// configure adds to the configuration of the gits that have a session's home, also for submodules and Git LFS: which host keys ssh trusts, and
// the agent's program as the credential helper. It is the only one: a helper of the image, such as store, would write to the disk what the
// agent's has answered. The session cannot enter the home yet.
func (p *Places) configure(home, top string, s wire.Session) error {
	hosts := filepath.Join(top, knownHostsName)
	if err := own(os.WriteFile(hosts, []byte(gitremote.KnownHosts+s.KnownHosts), 0o644), hosts, s.UID); err != nil {
		return err
	}
	settings := "[core]\n\tsshCommand = " + quote("ssh "+gitremote.HostKeyOptions(hosts, s.KnownHosts)) + "\n"
	if s.Credentials {
		settings += "[credential]\n\thelper =\n\thelper = " + quote(p.Program+" credential "+top) + "\n\tuseHttpPath = true\n"
	}
	name := filepath.Join(home, ".gitconfig")
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(settings)
	return errors.Join(err, f.Chown(s.UID, s.UID), f.Close())
}

// writeHook writes what git lfs install would: a push takes the files of Git LFS along.
func writeHook(name string, uid int) error {
	const hook = `#!/bin/sh
command -v git-lfs >/dev/null 2>&1 || { printf >&2 "\n%s\n\n" "This repository uses Git LFS, and 'git-lfs' was not found on your path."; exit 2; }
git lfs pre-push "$@"
`
	return own(os.WriteFile(name, []byte(hook), 0o755), name, uid)
}
