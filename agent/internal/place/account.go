package place

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// addAccount writes the entries without which ssh, node and many others fail, in place of earlier ones.
func (p *Places) addAccount(name string, uid int, home string) error {
	return p.setAccount(uid,
		fmt.Sprintf("%s:x:%d:%d:%s:%s:/bin/sh", name, uid, uid, name, home),
		fmt.Sprintf("%s:x:%d:", name, uid))
}

// AddMirror does the same for the mirror's owner: ssh wants it.
func (p *Places) AddMirror(uid int, home string) error {
	return p.addAccount(mirrorName, uid, home)
}

func (p *Places) removeAccount(uid int) error { return p.setAccount(uid, "", "") }

func (p *Places) setAccount(uid int, passwd, group string) error {
	p.accounts.Lock()
	defer p.accounts.Unlock()
	err := errors.Join(
		replaceEntry(filepath.Join(p.Etc, "passwd"), uid, passwd),
		replaceEntry(filepath.Join(p.Etc, "group"), uid, group))
	if errors.Is(err, syscall.EROFS) {
		return nil // the image is read-only by its owner's wish
	}
	return err
}

// replaceEntry replaces the lines of an id in a colon-separated file by one line, or by none. Readers see the old
// file or the new one.
func replaceEntry(file string, id int, entry string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	var lines []string
	for line := range strings.Lines(string(old)) {
		line = strings.TrimSuffix(line, "\n")
		if fields := strings.Split(line, ":"); len(fields) > 2 && fields[2] == strconv.Itoa(id) {
			continue
		}
		lines = append(lines, line)
	}
	if entry != "" {
		lines = append(lines, entry)
	}
	fresh := file + ".berth"
	if err := os.WriteFile(fresh, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		os.Remove(fresh)
		return err
	}
	return errors.Join(os.Chmod(fresh, 0o644), os.Rename(fresh, file))
}
