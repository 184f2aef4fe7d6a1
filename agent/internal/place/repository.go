package place

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// writeRepository writes what git init, remote add and a fetch without objects would: a repository whose objects are
// the mirror's, with every branch as a remote-tracking branch and one as its own.
func writeRepository(pl *Place, s wire.Session, refs *mirror.Refs) error {
	dir := filepath.Join(pl.Workdir, ".git")
	for _, d := range []string{
		"", "objects", "objects/info", "objects/pack", "refs", "refs/heads", "refs/tags",
		"refs/remotes", "refs/remotes/origin", "info", "hooks",
	} {
		if err := own(os.Mkdir(filepath.Join(dir, d), 0o700), filepath.Join(dir, d), s.UID); err != nil {
			return err
		}
	}
	packed := bytes.NewBufferString(mirror.PackedHeader)
	if pl.Commit != "" {
		fmt.Fprintf(packed, "%s refs/heads/%s\n", pl.Commit, pl.Branch)
	}
	packed.Write(refs.Packed)
	files := []struct {
		name string
		text []byte
	}{
		{"HEAD", []byte("ref: refs/heads/" + pl.Branch + "\n")},
		{"config", config(pl, s, refs)},
		{"packed-refs", packed.Bytes()},
		{"objects/info/alternates", []byte(refs.Objects + "\n")},
		{"description", []byte("A checkout of berth's.\n")},
		{"info/exclude", nil},
	}
	if _, ok := refs.Branch(refs.Head); ok {
		files = append(files, struct {
			name string
			text []byte
		}{"refs/remotes/origin/HEAD", []byte("ref: refs/remotes/origin/" + refs.Head + "\n")})
	}
	for _, f := range files {
		name := filepath.Join(dir, f.name)
		if err := own(os.WriteFile(name, f.text, 0o600), name, s.UID); err != nil {
			return err
		}
	}
	return nil
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
	b.WriteString("[remote \"origin\"]\n")
	set("url", s.URL)
	set("fetch", "+refs/heads/*:refs/remotes/origin/*")
	fmt.Fprintf(&b, "[branch %s]\n", quote(pl.Branch))
	set("remote", "origin")
	set("merge", "refs/heads/"+pl.Branch)
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
