package mirror

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/wire"
)

// update fetches, or clones if there is no whole mirror to fetch into. Only one update runs at a time.
func (m *Mirror) update(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) (cold bool, err error) {
	if err := m.checkGit(ctx); err != nil {
		return false, err
	}
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
		// If the remote answered and the fetch failed, the mirror may be broken.
		if ctx.Err() != nil || !reached || passing(err) || isRefusal(err) || !m.broken(ctx) {
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

// headDelay is how long the answer about the remote's HEAD is waited for after a fetch has ended. The question is asked together
// with the fetch, and is answered before the objects come. Without an answer HEAD stays as it is.
const headDelay = 10 * time.Second

// fetch fetches into the mirror and follows the remote's HEAD. reached tells whether the remote answered.
func (m *Mirror) fetch(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) (reached bool, err error) {
	type answer struct {
		head head
		err  error
	}
	asked := make(chan answer, 1)
	asking, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		var remote head
		job := m.job("ls-remote", r, nil, "ls-remote", "--symref", "--", r.URL, "HEAD")
		job.Output = func(out io.Reader) (err error) {
			remote, err = parseHead(out)
			return err
		}
		_, err := m.remote(asking, r, job)
		asked <- answer{remote, err}
	}()
	run := func(option string) error {
		job := m.job("fetch", r, progress,
			"--git-dir="+m.repo, "fetch", "--progress", "--prune", "--no-tags", "--no-recurse-submodules", "--force", option,
			"--", r.URL, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
		job.Watch = m.watch(m.repo)
		_, err := m.remote(ctx, r, job)
		return err
	}
	defer os.Remove(filepath.Join(m.repo, "FETCH_HEAD")) // not to write it is an option of git 2.29 and later
	// A shallow remote's history may begin later than before, or earlier: git does not follow both in one fetch.
	if err = run("--update-shallow"); err == nil && isShallow(m.repo) {
		err = run("--unshallow") // as far as the remote has it
	}
	// It reports no progress, so that nothing but this ends it where the remote takes connections and is silent.
	defer time.AfterFunc(headDelay, stop).Stop()
	remote := <-asked
	if err == nil {
		err = m.follow(ctx, r, remote.head, progress)
	}
	return remote.err == nil, err
}

func isShallow(repo string) bool {
	info, err := os.Stat(filepath.Join(repo, "shallow"))
	return err == nil && info.Size() > 0
}

// clone makes the mirror in another directory, and moves it to its place when it is whole.
func (m *Mirror) clone(ctx context.Context, r wire.Fetch, progress func(wire.Progress)) error {
	if _, err := os.Lstat(m.repo); errors.Is(err, fs.ErrNotExist) { // otherwise what is there may be borrowed
		if err := m.access.mark.Reset(); err != nil {
			return err
		}
	}
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
	job := m.job("clone", r, progress, "clone", "--bare", "--progress", "--template=", "--", r.URL, dir)
	job.Watch = m.watch(dir)
	if _, err := m.remote(ctx, r, job); err != nil {
		return err
	}
	if err := errors.Join(m.Limits.checkFetch(sizeOf(filepath.Join(dir, "objects", "pack"))), m.checkHead(dir)); err != nil {
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
		if err := borrowFrom(dir, dir); err != nil {
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

// borrowFrom makes a repository borrow the objects of the one that is, or will be, in the directory other.
func borrowFrom(repo, other string) error {
	info := filepath.Join(repo, "objects", "info")
	if err := os.MkdirAll(info, 0o755); err != nil {
		return err
	}
	file := filepath.Join(info, "alternates")
	if err := os.WriteFile(file, []byte(filepath.Join(other, "objects")+"\n"), 0o644); err != nil {
		return err
	}
	return errors.Join(os.Chmod(info, 0o755), os.Chmod(file, 0o644), os.Chown(file, UID, UID))
}

// load packs the refs of a repository and reads them. They are the mirror's when it is in its place.
func (m *Mirror) load(repo string) error {
	if _, err := git.Run(m.ctx, m.Table, m.job("pack-refs", wire.Fetch{}, nil,
		"--git-dir="+repo, "pack-refs", "--all")); err != nil {
		return err
	}
	refs, err := readRefs(repo, m.Limits)
	if err != nil {
		return err
	}
	if repo != m.repo {
		refs.close()
		return nil
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
	refs, err := readRefs(m.repo, noLimits)
	if err != nil || !intact(m.repo, hashSize(refs)) {
		return true
	}
	refs.close()
	_, err = git.Run(ctx, m.Table, m.job("fsck", wire.Fetch{}, nil,
		"--git-dir="+m.repo, "fsck", "--connectivity-only", "--no-dangling", "--no-progress"))
	var failed *git.Error
	return errors.As(err, &failed)
}

// job describes a git command on the mirror.
func (m *Mirror) job(op string, r wire.Fetch, progress func(wire.Progress), args ...string) git.Job {
	settings := []string{
		"-c", "gc.auto=0", "-c", "maintenance.auto=false",
		"-c", "credential.helper=", "-c", "http.followRedirects=initial",
		// A server that packs a large repository sends a few bytes now and then: that must not count as stalled.
		"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
		"-c", "fetch.unpackLimit=1",
	}
	if m.FewThreads { // they count as processes of its uid, those in the mirrors of all containers together
		settings = append(settings, "-c", "pack.threads=1", "-c", "index.threads=1")
	}
	if hasCredential(r) {
		settings = append(settings, "-c", "credential.helper="+m.Askpass)
	}
	return git.Job{
		Op: op, UID: UID, Dir: m.Dir, Args: append(settings, args...), URL: r.URL, User: r.Username,
		Env: m.environ(r), Path: m.Image.SafePath(), Progress: progress, Secrets: secrets(r, m.Image.Fetch(r.Variables())),
	}
}

// environ returns git's environment: parts of the image's and of the request's, and the credential.
func (m *Mirror) environ(r wire.Fetch) []string {
	env := append(m.Image.Fetch(r.Variables()),
		"PATH="+m.Image.SafePath(), "HOME="+m.home(), "USER=berth-mirror", "LOGNAME=berth-mirror", "LC_ALL=C", "LANGUAGE=",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", // empty: git asks no program, even if the image configures one
		"GIT_DEFAULT_REF_FORMAT=files", "GIT_OPTIONAL_LOCKS=0",
		"GIT_SSH_COMMAND=ssh -oBatchMode=yes "+gitremote.HostKeyOptions(knownHosts(m.home()), r.KnownHosts)+" -oConnectTimeout=30 "+
			"-oServerAliveInterval=15 -oServerAliveCountMax=4 -oControlPath=none "+
			`-oProxyCommand="`+m.Askpass+` %h %p"`)
	if !hasCredential(r) {
		return env
	}
	return append(env,
		git.EnvMirror+"="+m.Dir, git.EnvLock+"="+m.home(), git.EnvAskpass+"="+r.URL, git.EnvUsername+"="+r.Username, git.EnvPassword+"="+r.Password)
}

func hasCredential(r wire.Fetch) bool { return r.Username != "" || r.Password != "" }

// secrets returns the texts that must not be in an error. A user name without a password is one, as it is a token. A short one may be
// a word: it is removed from URLs, as git.Job.User, and from headers, which spell it in base64 with the password. So
// is the password of a proxy in the image's or the request's environment. With its user each is one more.
func secrets(r wire.Fetch, env []string) (all []string) {
	if r.Password != "" && r.Password != "x-oauth-basic" {
		all = append(all, r.Password, r.Username+":"+r.Password)
	} else if r.Username != "" {
		const word = 10 // bytes, at most
		if len(r.Username) > word {
			all = append(all, r.Username, r.Username+":")
		}
		all = append(all, base64.StdEncoding.EncodeToString([]byte(r.Username+":"+r.Password)))
	}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, _ := u.User.Password(); password != "" {
				all = append(all, password, u.User.Username()+":"+password)
			}
		} else if strings.HasSuffix(strings.ToLower(name), "_proxy") {
			all = append(all, proxyPassword(value)...)
		}
	}
	return all
}

// proxyPassword returns the password in a proxy's address that is no URL, as it is written and as curl reads it. Curl needs
// no scheme (user:password@proxy:3128), and ends a password at the last "@".
func proxyPassword(address string) (spellings []string) {
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	end := strings.LastIndex(address, "@")
	if end < 0 {
		return nil
	}
	user, password, _ := strings.Cut(address[:end], ":")
	if password == "" {
		return nil
	}
	spellings = append(spellings, password, user+":"+password)
	if read, err := url.PathUnescape(password); err == nil && read != password {
		spellings = append(spellings, read, user+":"+read)
	}
	return spellings
}
