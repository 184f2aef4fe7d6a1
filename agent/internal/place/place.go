// Package place makes the place of a session in the container, and clears it away: directories, a checkout, an entry
// in passwd and group; afterwards also whatever else its uid left behind.
package place

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

// The uids that a session may have.
const (
	MinUID = 10000
	MaxUID = 60000
)

// Config is the surroundings of Places.
type Config struct {
	Root   string   // holds one directory per session: /sessions
	Etc    string   // holds passwd and group: /etc
	Shared []string // directories that any uid may write in
	Env    []string // of the container
	Path   string   // PATH in Env, or the usual
	Table  *proc.Table
}

// Places makes and clears sessions' places.
type Places struct {
	Config
	accounts sync.Mutex // held while passwd and group are written: short file work only
}

// Open wipes what an earlier life of the container left. An image whose accounts are in the way is an error.
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
		if err := removeAll(c.Root, e.Name()); err != nil {
			return nil, err
		}
	}
	return &Places{Config: c}, nil
}

// A Place is one session's.
type Place struct {
	wire.Checkout
	User string
	Env  []string // of its commands, before the session's own
}

// Check finds what is wrong with a session's parameters.
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
	return nil
}

// Make makes a session's place with the branch checked out. On an error nothing of it is left.
func (p *Places) Make(ctx context.Context, s wire.Session, refs *mirror.Refs) (_ *Place, err error) {
	if refs == nil {
		return nil, errors.New("nothing was fetched yet")
	}
	branch := s.Branch
	if branch == "" {
		branch = refs.Head
	}
	commit, found := refs.Branch(branch)
	if !found && (s.Branch != "" || !refs.Empty()) {
		return nil, fmt.Errorf("%w: %q", mirror.ErrBranchNotFound, branch)
	}
	if branch == "" {
		branch = "main" // an empty repository that does not say
	}
	top := filepath.Join(p.Root, s.ID)
	if err := os.Mkdir(top, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			err = errors.Join(err, p.Clear(ctx, s.ID, s.UID))
		}
	}()
	dir := s.Dir
	if dir == "home" || dir == "tmp" {
		dir += "_"
	}
	pl := &Place{
		Checkout: wire.Checkout{Workdir: filepath.Join(top, dir), Branch: branch, Commit: commit},
		User:     userName(s.UID),
	}
	for _, d := range []string{filepath.Join(top, "home"), filepath.Join(top, "tmp"), pl.Workdir} {
		if err := errors.Join(os.Mkdir(d, 0o700), os.Chown(d, s.UID, s.UID)); err != nil {
			return nil, err
		}
	}
	if err := p.addAccount(pl.User, s.UID, filepath.Join(top, "home")); err != nil {
		return nil, err
	}
	pl.Env = p.environ(pl, top)
	if err := writeRepository(pl, s, refs); err != nil {
		return nil, err
	}
	// From here on its uid can get in.
	if err := os.Chown(top, s.UID, s.UID); err != nil {
		return nil, err
	}
	if commit == "" {
		return pl, nil
	}
	if err := p.checkOut(ctx, pl, s.UID); err != nil {
		return nil, err
	}
	return pl, nil
}

// environ is what every command of a session starts with.
func (p *Places) environ(pl *Place, top string) []string {
	env := append([]string{"LANG=C.UTF-8"}, p.Env...)
	shell := "/bin/sh"
	if _, err := os.Stat("/bin/bash"); err == nil {
		shell = "/bin/bash"
	}
	env = append(env,
		"PATH="+p.Path, "HOME="+filepath.Join(top, "home"), "TMPDIR="+filepath.Join(top, "tmp"),
		"USER="+pl.User, "LOGNAME="+pl.User, "SHELL="+shell)
	return env
}
