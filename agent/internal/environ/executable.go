package environ

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Obstacle says why a session, which has that uid and a group of its own, cannot run a file, where permissions or the
// file's interpreter are the reason; "" if it does not know one.
func Obstacle(file string, uid int) string {
	if why := obstacle(file, uid); why != "" {
		return why
	}
	interpreter := interpreterOf(file)
	if interpreter == "" {
		return ""
	}
	if why := obstacle(interpreter, uid); why != "" {
		return fmt.Sprintf("it is run by %s: %s", interpreter, why)
	}
	if _, err := os.Stat(interpreter); errors.Is(err, os.ErrNotExist) {
		return fmt.Sprintf("it is run by %s, which is not there", interpreter)
	}
	return ""
}

func obstacle(file string, uid int) string {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return ""
	}
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(real, "/"), "/") {
		at = filepath.Join(at, name)
		info, err := os.Stat(at)
		if err != nil {
			return ""
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || mayExecute(info.Mode(), int(st.Uid), uid) {
			continue
		}
		switch owner := int(st.Uid); {
		case !info.IsDir() && (owner == uid || info.Mode().Perm()&0o111 == 0):
			return fmt.Sprintf("%s is not marked as executable", real)
		case !info.IsDir():
			return fmt.Sprintf("only %s may execute %s", whose(owner), real)
		case owner == uid:
			return fmt.Sprintf("%s lies below %s, which may not be entered", real, at)
		default:
			return fmt.Sprintf("%s lies below %s, which only %s may enter", real, at, whose(owner))
		}
	}
	return ""
}

// mayExecute reports whether a uid that is in no group of the image may execute a file, or enter a directory.
func mayExecute(mode os.FileMode, owner, uid int) bool {
	if owner == uid {
		return mode.Perm()&0o100 != 0
	}
	return mode.Perm()&0o001 != 0
}

func whose(owner int) string {
	if owner == 0 {
		return "root"
	}
	return fmt.Sprintf("uid %d", owner)
}

// interpreterOf returns the program that the first line of a script names; "" if the file is no script.
func interpreterOf(file string) string {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may be a pipe
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	head := make([]byte, 256) // as much as the kernel reads
	n, _ := f.Read(head)
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("#!"))
	if fields := bytes.Fields(rest); ok && len(fields) > 0 && filepath.IsAbs(string(fields[0])) {
		return string(fields[0])
	}
	return ""
}
