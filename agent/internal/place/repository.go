package place

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// writeRepository writes what git init, remote add and a fetch without objects would: a repository whose objects are
// the mirror's, with every branch as a remote-tracking branch and one as its own, or HEAD detached at a commit. It lies in the directory
// into.
func writeRepository(pl *Place, into string, s wire.Session, refs *mirror.Refs) error {
	dir := filepath.Join(into, ".git")
	for _, d := range []string{
		"", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags",
		"refs/remotes", "refs/remotes/origin", "info", "hooks",
	} {
		if err := own(os.Mkdir(filepath.Join(dir, d), 0o755), filepath.Join(dir, d), s.UID); err != nil {
			return err
		}
	}
	packed := bytes.NewBufferString(mirror.PackedHeader)
	head := "ref: refs/heads/" + pl.Branch
	switch {
	case pl.Branch == "":
		head = pl.Commit
	case pl.Commit != "":
		fmt.Fprintf(packed, "%s refs/heads/%s\n", pl.Commit, pl.Branch)
	}
	type file struct {
		name string
		text []byte
	}
	files := []file{
		{"HEAD", []byte(head + "\n")},
		{"config", config(pl, s, refs)},
		{"description", []byte("A checkout of berth's.\n")},
		{"info/exclude", nil},
	}
	if s.SelfContained {
		if err := copyObjects(filepath.Join(dir, "objects"), refs.Objects, s.UID); err != nil {
			return err
		}
	} else {
		files = append(files, file{"objects/info/alternates", []byte(refs.Objects + "\n")})
	}
	if len(refs.Shallow) > 0 {
		files = append(files, file{"shallow", refs.Shallow})
	}
	if commit, err := refs.Branch(refs.Head); err != nil {
		return err
	} else if commit != "" {
		files = append(files, file{"refs/remotes/origin/HEAD", []byte("ref: refs/remotes/origin/" + refs.Head + "\n")})
	}
	if err := writeTo(filepath.Join(dir, "packed-refs"), io.MultiReader(packed, refs.Packed()), s.UID); err != nil {
		return err
	}
	if s.LFS {
		if err := writeHook(filepath.Join(dir, "hooks/pre-push"), s.UID); err != nil {
			return err
		}
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := own(os.WriteFile(name, f.text, 0o644), name, s.UID); err != nil {
			return err
		}
	}
	return nil
}

// writeTo writes a new file of the session's. The session cannot enter its directory yet.
func writeTo(name string, content io.Reader, uid int) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chown(uid, uid), f.Close())
}

// own gives a new file to the session.
func own(err error, name string, uid int) error {
	if err != nil {
		return err
	}
	return os.Lchown(name, uid, uid)
}

func config(pl *Place, s wire.Session, refs *mirror.Refs) []byte {
	var b bytes.Buffer
	set := func(key, value string) { fmt.Fprintf(&b, "\t%s = %s\n", key, quote(value)) }
	version := "0"
	if refs.Format != "sha1" {
		version = "1"
	}
	b.WriteString("[core]\n")
	set("repositoryformatversion", version)
	set("filemode", "true")
	set("bare", "false")
	set("logallrefupdates", "true")
	if refs.Format != "sha1" {
		b.WriteString("[extensions]\n")
		set("objectformat", refs.Format)
	}
	// The default of git 2.38 and later: a submodule is no path of this machine, unless its user says so.
	b.WriteString("[protocol \"file\"]\n")
	set("allow", "user")
	b.WriteString("[remote \"origin\"]\n")
	set("url", s.URL)
	set("fetch", "+refs/heads/*:refs/remotes/origin/*")
	if pl.Branch != "" {
		fmt.Fprintf(&b, "[branch %s]\n", quote(pl.Branch))
		set("remote", "origin")
		set("merge", "refs/heads/"+pl.Branch)
	}
	if s.AuthorName != "" || s.AuthorEmail != "" {
		b.WriteString("[user]\n")
		set("name", s.AuthorName)
		set("email", s.AuthorEmail)
	}
	return b.Bytes()
}

// quote writes a value as git's configuration language wants it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
