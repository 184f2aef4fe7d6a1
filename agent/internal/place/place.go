// Package place makes a session's place in the container: directories, a checkout, an entry in passwd and group. At the
// session's end it removes the place and all other files that the session's uid left.
package place

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/environ"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// The uids that a session may have.
const (
	MinUID = 10000
	MaxUID = 60000
)

// Config configures Places.
type Config struct {
	Root   string   // holds one directory per session: /sessions
	Etc    string   // holds passwd and group: /etc
	Shared []string // directories that any uid may write in
	Image  *environ.Image
	Shrink func(ctx context.Context) error // takes away what no session needs; nil = there is nothing
	// Program is the agent's, as sessions see it: it helps their gits.
	Program string
	Log     *slog.Logger
}

// Places makes and clears sessions' places.
type Places struct {
	Config
	Trash    *Trash
	Removed  *Removed   // what was removed since Open
	accounts sync.Mutex // held while passwd and group are written: short file work only
}

// Open removes the files of the container's earlier runs. It returns an error if the image's accounts conflict with berth's.
func Open(c Config) (*Places, error) {
	if err := checkAccounts(c.Etc); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Root, 0o711); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Chown(c.Root, 0, 0), os.Chmod(c.Root, 0o711)); err != nil {
		return nil, err
	}
	old, err := os.ReadDir(c.Root)
	if err != nil {
		return nil, err
	}
	for _, e := range old {
		if err := removeAll(c.Root, e.Name(), nil); err != nil {
			return nil, err
		}
	}
	removed := &Removed{}
	return &Places{Config: c, Removed: removed, Trash: newTrash(filepath.Join(c.Root, trashName), c.Log, removed)}, nil
}

// A Place is the place of one session.
type Place struct {
	wire.Checkout
	User string
	Env  []string // of its commands, before the session's own
}

// Check returns an error if a session's parameters are not valid.
func Check(s wire.Session) error {
	if s.ID == "" || len(s.ID) > 128 || strings.Trim(s.ID, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return fmt.Errorf("bad session ID %q", s.ID)
	}
	if s.UID < MinUID || s.UID > MaxUID {
		return fmt.Errorf("bad uid %d", s.UID)
	}
	if s.Dir == "" || s.Dir == "." || s.Dir == ".." || len(s.Dir) > 200 || strings.ContainsFunc(s.Dir, func(r rune) bool {
		return r == '/' || r < ' ' || r == 0x7f
	}) {
		return fmt.Errorf("bad directory name %q", s.Dir)
	}
	if strings.ContainsAny(s.URL, "\x00\r\n") || strings.Contains(s.AuthorName+s.AuthorEmail, "\x00") {
		return errors.New("bad character in the URL or the author")
	}
	if at, reason := wire.CheckCaches(s.Caches); reason != "" {
		return fmt.Errorf("cache %d: %s", at, reason)
	}
	return nil
}

// Top returns the directory of a session's place.
func (p *Places) Top(id string) string { return filepath.Join(p.Root, id) }

// Reserve makes the directory of a session's place, which must not be there. The session cannot enter it yet.
func (p *Places) Reserve(id string) error { return os.Mkdir(p.Top(id), 0o700) }

// Make makes a session's place with the target checked out, in a reserved directory. Git is started by in. After an error, Clear
// removes what was made.
func (p *Places) Make(ctx context.Context, in git.Starter, s wire.Session, refs *mirror.Refs, target mirror.Target) (*Place, error) {
	pl := p.plan(s, target)
	if err := makeOwn(pl.Workdir, 0o755, s.UID); err != nil {
		return nil, err
	}
	if err := p.settle(pl, pl.Workdir, s, refs); err != nil {
		return nil, err
	}
	// From here on its uid can get in.
	if err := os.Chown(p.Top(s.ID), s.UID, s.UID); err != nil {
		return nil, err
	}
	if target.Commit == "" {
		return pl, nil
	}
	if err := p.fit(ctx, pl.Workdir, target.Tree, s.UID); err != nil {
		return nil, err
	}
	if err := p.checkOut(ctx, in, pl, s.UID); err != nil {
		return nil, err
	}
	return pl, nil
}

// plan says what a session's place will be.
func (p *Places) plan(s wire.Session, target mirror.Target) *Place {
	dir := s.Dir
	if dir == "home" || dir == "tmp" {
		dir += "_"
	}
	return &Place{
		Checkout: wire.Checkout{Workdir: filepath.Join(p.Top(s.ID), dir), Branch: target.Branch, Commit: target.Commit, SelfContained: s.SelfContained, Credentials: s.Credentials, SSH: s.SSH, Populated: true},
		User:     userName(s.UID),
	}
}

// settle makes all of a place but the files of its commit. The repository is written into a directory that is there.
func (p *Places) settle(pl *Place, into string, s wire.Session, refs *mirror.Refs) error {
	top := p.Top(s.ID)
	home := filepath.Join(top, "home")
	// No other session can enter top, so that what lies in it may have the modes that tools expect.
	for _, dir := range []string{home, filepath.Join(top, "tmp")} {
		if err := makeOwn(dir, 0o700, s.UID); err != nil {
			return err
		}
	}
	if err := p.addAccount(pl.User, s.UID, home); err != nil {
		return err
	}
	with := p.Image.Session(home)
	if err := furnish(home, with, s.UID); err != nil {
		return err
	}
	if err := p.configure(home, top, s); err != nil {
		return err
	}
	pl.Env = environOf(pl, top, with.Env)
	if s.SSH {
		pl.Env = append(pl.Env, "SSH_AUTH_SOCK="+filepath.Join(top, credential.SSHSocket))
	}
	return writeRepository(pl, into, s, refs)
}

// environOf returns the environment of every command of a session.
func environOf(pl *Place, top string, image []string) []string {
	env := append([]string{"LANG=C.UTF-8"}, image...)
	shell := "/bin/sh"
	if _, err := os.Stat("/bin/bash"); err == nil {
		shell = "/bin/bash"
	}
	env = append(env,
		"HOME="+filepath.Join(top, "home"), "TMPDIR="+filepath.Join(top, "tmp"),
		"USER="+pl.User, "LOGNAME="+pl.User, "SHELL="+shell)
	return env
}
