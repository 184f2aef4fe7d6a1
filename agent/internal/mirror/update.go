package mirror

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// update fetches, or clones where there is nothing whole to fetch into. Only one runs at a time.
func (m *Mirror) update(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) (cold bool, err error) {
	refs := m.refs.Load()
	m.mu.Lock()
	suspect := m.suspect
	m.mu.Unlock()
	if refs != nil && intact(m.repo, hashSize(refs)) && !(suspect && m.broken(ctx)) {
		reached, err := m.fetch(ctx, r, progress)
		if err == nil {
			err = m.load(m.repo)
		}
		if err == nil {
			return false, nil
		}
		tidy(m.repo)
		// When the remote answers and the fetch fails all the same, it may be the mirror's fault.
		if ctx.Err() != nil || !reached || !m.broken(ctx) {
			return false, err
		}
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if refs != nil {
		m.Log.Warn("the mirror is broken and is cloned anew")
	}
	return true, m.clone(ctx, r, progress)
}

// headDelay is how long the remote's HEAD is waited for after a fetch has ended, well or not: it is asked at the same
// time, and answers before the objects come. Without an answer HEAD stays as it is.
const headDelay = 10 * time.Second

// fetch fetches into the mirror and follows the remote's HEAD. reached tells whether the remote answered.
func (m *Mirror) fetch(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) (reached bool, err error) {
	type answer struct {
		head string
		err  error
	}
	asked := make(chan answer, 1)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		job := m.job("ls-remote", r, nil, "ls-remote", "--symref", "--", r.URL, "HEAD")
		out, err := git.Run(asking, m.Table, job)
		asked <- answer{parseHead(string(out)), err}
	}()
	_, err = git.Run(ctx, m.Table, m.job("fetch", r, progress,
		"--git-dir="+m.repo, "fetch", "--progress", "--prune", "--no-tags", "--no-recurse-submodules",
		"--no-write-fetch-head", "--force", "--", r.URL, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"))
	// It reports no progress, so that nothing but this ends it where the remote takes connections and is silent.
	defer time.AfterFunc(headDelay, stop).Stop()
	remote := <-asked
	if err == nil && remote.head != "" {
		err = m.writeHead(remote.head)
	}
	return remote.err == nil, err
}

// parseHead finds the branch in what ls-remote --symref prints: "ref: refs/heads/main\tHEAD".
func parseHead(out string) string {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "ref: refs/heads/"); ok {
			name, _, _ := strings.Cut(rest, "\t")
			return name
		}
	}
	return ""
}

// writeHead makes HEAD name another branch, in one step.
func (m *Mirror) writeHead(branch string) error {
	if refs := m.refs.Load(); refs != nil && refs.Head == branch {
		return nil
	}
	head := filepath.Join(m.repo, "HEAD")
	err := os.WriteFile(head+".new", []byte("ref: refs/heads/"+branch+"\n"), 0o644)
	if err == nil {
		err = errors.Join(os.Chmod(head+".new", 0o644), os.Chown(head+".new", UID, UID), os.Rename(head+".new", head))
	}
	if err != nil {
		return &git.Error{Op: "fetch", Message: err.Error()} // git would have failed alike
	}
	return nil
}

// clone makes the mirror beside its place and moves it there when it is whole.
func (m *Mirror) clone(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) error {
	dir, err := os.MkdirTemp(m.Dir, "incoming-")
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			os.RemoveAll(dir)
		}
	}()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, UID, UID)); err != nil {
		return err
	}
	if _, err := git.Run(ctx, m.Table, m.job("clone", r, progress,
		"clone", "--bare", "--progress", "--template=", "--", r.URL, dir)); err != nil {
		return err
	}
	if err := m.load(dir); err != nil {
		return err
	}
	if _, err := os.Stat(m.repo); err != nil {
		keep = true
		if err := os.Rename(dir, m.repo); err != nil {
			return err
		}
		return m.load(m.repo)
	}
	// Checkouts may borrow from the old mirror, by its path. The new one takes that path and borrows in turn from
	// the old one, which keeps this directory's name after the exchange, until the agent starts again.
	if m.Borrowed() {
		keep = true
		info := filepath.Join(dir, "objects", "info")
		if err := os.MkdirAll(info, 0o755); err != nil {
			return err
		}
		file := filepath.Join(info, "alternates")
		if err := os.WriteFile(file, []byte(filepath.Join(dir, "objects")+"\n"), 0o644); err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(info, 0o755), os.Chmod(file, 0o644), os.Chown(file, UID, UID)); err != nil {
			return err
		}
	}
	if err := exchange(dir, m.repo); err != nil {
		return err
	}
	if err := m.load(m.repo); err != nil {
		return err
	}
	dropBroken(dir, hashSize(m.refs.Load()))
	return nil
}

// load packs the refs of a repository and reads them. They are the mirror's when it is in its place.
func (m *Mirror) load(repo string) error {
	if _, err := git.Run(m.ctx, m.Table, m.job("pack-refs", wire.Fetch{}, nil,
		"--git-dir="+repo, "pack-refs", "--all")); err != nil {
		return err
	}
	refs, err := readRefs(repo)
	if err != nil || repo != m.repo {
		return err
	}
	m.refs.Store(refs)
	if err := os.WriteFile(m.stamp(), nil, 0o644); err != nil {
		return err
	}
	now := time.Now()
	return os.Chtimes(m.stamp(), now, now)
}

// broken reports whether objects are missing.
func (m *Mirror) broken(ctx context.Context) bool {
	refs, err := readRefs(m.repo)
	if err != nil || !intact(m.repo, hashSize(refs)) {
		return true
	}
	_, err = git.Run(ctx, m.Table, m.job("fsck", wire.Fetch{}, nil,
		"--git-dir="+m.repo, "fsck", "--connectivity-only", "--no-dangling", "--no-progress"))
	var failed *git.Error
	return errors.As(err, &failed)
}

// job describes a git command on the mirror.
func (m *Mirror) job(op string, r wire.Fetch, progress func(wire.Progress), args ...string) git.Job {
	settings := []string{
		"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.hooksPath=/dev/null",
		"-c", "credential.helper=", "-c", "http.followRedirects=initial",
		// A server that packs a large repository sends a few bytes now and then: that must not count as stalled.
		"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
		"-c", "fetch.unpackLimit=1",
	}
	if m.FewThreads { // they count as processes of its uid, those in the mirrors of all containers together
		settings = append(settings, "-c", "pack.threads=1", "-c", "index.threads=1")
	}
	return git.Job{
		Op: op, UID: UID, Umask: "022", Dir: m.Dir, Args: append(settings, args...),
		Env: m.environ(r), Path: m.Path, Progress: progress, Secrets: secrets(r),
	}
}

// environ is the container's environment without what would change git's mind, and with the credential.
func (m *Mirror) environ(r wire.Fetch) []string {
	var env []string
	for _, kv := range m.Env {
		if !strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "SSH_") {
			env = append(env, kv)
		}
	}
	env = append(env,
		"PATH="+m.Path, "HOME="+m.home(), "USER=berth-mirror", "LOGNAME=berth-mirror", "LC_ALL=C", "LANGUAGE=",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=http:https:ssh:git",
		"GIT_DEFAULT_REF_FORMAT=files", "GIT_OPTIONAL_LOCKS=0",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new -oConnectTimeout=30 "+
			"-oServerAliveInterval=15 -oServerAliveCountMax=4")
	if r.Username == "" && r.Password == "" {
		return append(env, "GIT_ASKPASS=") // empty: nobody is asked, whatever the image's configuration names
	}
	return append(env, "GIT_ASKPASS="+m.Askpass,
		git.EnvAskpass+"="+r.URL, git.EnvUsername+"="+r.Username, git.EnvPassword+"="+r.Password)
}

// secrets are what must not be in an error. A user name is one if it is all there is: a token.
func secrets(r wire.Fetch) []string {
	if r.Password != "" && r.Password != "x-oauth-basic" {
		return []string{r.Password, r.Username + ":" + r.Password}
	}
	if len(r.Username) > 10 {
		return []string{r.Username}
	}
	return nil
}
