package work

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"
)

// gitTime bounds one command of git.
const gitTime = 10 * time.Minute

// A repository joins the repository of a snapshot with the one that the session was given. The work is the snapshot's: HEAD, branches, index,
// stashes, settings. What the session has of its remote is its own: the objects of the mirror, the address, the remote's branches. So are
// its author's name and address.
type repository struct {
	root   *os.Root
	dir    string
	idSize int
}

func (r *repository) join() error {
	if info, err := r.root.Lstat(".git"); err != nil || !info.IsDir() {
		return nil // the session had removed or replaced it
	}
	for _, step := range []func() error{r.objects, r.shallow, r.refs, r.settings, r.missing, r.index} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// read returns a file of the given repository; nil = there is none.
func (r *repository) read(dir, name string) ([]byte, error) {
	text, err := r.root.ReadFile(dir + "/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// write replaces a file of the snapshot's repository; nil = removes it.
func (r *repository) write(name string, text []byte) error {
	name = ".git/" + name
	if err := r.root.RemoveAll(name); err != nil || text == nil {
		return err
	}
	if err := r.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// objects makes the repository borrow what the session borrows, and have what the session has.
func (r *repository) objects() error {
	borrowed, err := r.read(freshName, "objects/info/alternates")
	if err == nil {
		err = r.write("objects/info/alternates", borrowed)
	}
	if err != nil {
		return err
	}
	return fs.WalkDir(r.root.FS(), freshName+"/objects", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(name, "/info/alternates") {
			return err
		}
		to := ".git" + strings.TrimPrefix(name, freshName)
		if _, err := r.root.Lstat(to); err == nil {
			return nil
		}
		if err := r.root.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		return r.root.Rename(name, to)
	})
}

// shallow joins the commits whose parents are missing.
func (r *repository) shallow() error {
	ours, err := r.read(freshName, "shallow")
	if err != nil || ours == nil {
		return err
	}
	theirs, err := r.read(".git", "shallow")
	if err != nil {
		return err
	}
	lines := slices.Concat(strings.Fields(string(ours)), strings.Fields(string(theirs)))
	slices.Sort(lines)
	return r.write("shallow", []byte(strings.Join(slices.Compact(lines), "\n")+"\n"))
}

const ofRemote = "refs/remotes/origin/"

// refs gives the repository the remote's branches as the session has them, and the tags that it lacks.
func (r *repository) refs() error {
	ours, err := r.read(freshName, "packed-refs")
	if err != nil {
		return err
	}
	theirs, err := r.read(".git", "packed-refs")
	if err != nil {
		return err
	}
	all := packed(theirs)
	maps.DeleteFunc(all, func(name string, _ []string) bool { return strings.HasPrefix(name, ofRemote) })
	for name, lines := range packed(ours) {
		_, known := all[name]
		if strings.HasPrefix(name, ofRemote) || strings.HasPrefix(name, "refs/tags/") && !known {
			all[name] = lines
		}
	}
	var text bytes.Buffer
	text.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, line := range all[name] {
			text.WriteString(line + "\n")
		}
	}
	if err := errors.Join(r.root.RemoveAll(".git/"+strings.TrimSuffix(ofRemote, "/")), r.write("packed-refs", text.Bytes())); err != nil {
		return err
	}
	head, err := r.read(freshName, ofRemote+"HEAD")
	if err != nil || head == nil {
		return err
	}
	return r.write(ofRemote+"HEAD", head)
}

// packed returns the lines of a file of refs, by their names.
func packed(text []byte) map[string][]string {
	all := make(map[string][]string)
	last := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		_, name, ok := strings.Cut(line, " ")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "^") && last != "":
			all[last] = append(all[last], line)
		case ok && name != "":
			last, all[name] = name, []string{line}
		}
	}
	return all
}

// settings gives the repository the address of the session's remote, and its author.
func (r *repository) settings() error {
	for _, key := range []string{"remote.origin.url", "user.name", "user.email"} {
		value, err := r.git("", "config", "--file", freshName+"/config", key)
		if err != nil {
			continue // the session has none
		}
		if _, err := r.git("", "config", "--file", ".git/config", "--replace-all", key, strings.TrimSuffix(value, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// missing removes tags and branches of remotes whose commits are not there, and refuses work whose own commits are not.
func (r *repository) missing() error {
	list, err := r.git("", "for-each-ref", "--format=%(objectname) %(refname)")
	if err != nil {
		return err
	}
	ids := make(map[string][]string)
	var ask strings.Builder
	for line := range strings.Lines(list) {
		if id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
			ids[id] = append(ids[id], name)
			ask.WriteString(id + "\n")
		}
	}
	answer, err := r.git(ask.String(), "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return err
	}
	var drop strings.Builder
	for line := range strings.Lines(answer) {
		id, gone := strings.CutSuffix(line, " missing\n")
		if !gone {
			continue
		}
		for _, name := range ids[id] {
			if !strings.HasPrefix(name, "refs/remotes/") && !strings.HasPrefix(name, "refs/tags/") {
				return fmt.Errorf("the repository does not have the commit %s of %s any more", id, name)
			}
			drop.WriteString("delete " + name + "\n")
		}
	}
	if drop.Len() > 0 {
		if _, err := r.git(drop.String(), "update-ref", "--no-deref", "--stdin"); err != nil {
			return err
		}
	}
	args := []string{"rev-list", "--objects", "--quiet", "--branches", "--glob=refs/stash"}
	if _, err := r.git("", "rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err == nil {
		args = append(args, "HEAD")
	} else if text, err := r.read(".git", "HEAD"); err != nil || !strings.HasPrefix(string(text), "ref: ") {
		return errors.New("the repository does not have the commit of HEAD any more")
	}
	if _, err := r.git("", append(args, "--not", "--remotes=origin")...); err != nil {
		return fmt.Errorf("the repository does not have all that the session's commits need any more: %w", err)
	}
	return nil
}

// index lets git see at once which files it knows.
func (r *repository) index() error {
	theirs, err := r.read(".git", "index")
	if err != nil || theirs == nil {
		return err
	}
	ours, err := r.read(freshName, "index")
	if err != nil {
		return err
	}
	if ours != nil && freshen(theirs, ours, r.idSize) == nil {
		if err := r.write("index", theirs); err != nil {
			return err
		}
	}
	r.git("", "update-index", "-q", "--refresh") // it fails if files were changed
	return nil
}

// git runs git in the checkout. No hook and no monitor of the snapshot is started.
func (r *repository) git(in string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), gitTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"}, args...)...)
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader(in)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1",
		"LC_ALL=C", "GIT_DIR=.git", "GIT_WORK_TREE=.",
	}
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %s", args[0], cmp.Or(strings.TrimSpace(words.String()), err.Error()))
	}
	return out.String(), nil
}
