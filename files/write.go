package files

import (
	"io/fs"
	"os"
	"time"

	"github.com/berth-go/berth/agent/filewire"
)

// Create makes a file, or empties the one that is there, for reading and writing. Its mode is 0666 before the umask.
func (f *FS) Create(name string) (*File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// OpenFile opens a file with flags of package os: O_RDONLY, O_WRONLY, O_RDWR, O_APPEND, O_CREATE, O_EXCL and O_TRUNC. Others have no effect.
// perm is the mode of a file that it makes, before the umask. A file that is neither a regular file nor a directory cannot be opened: a
// named pipe or a device could hold up the caller for ever. The error matches fs.ErrInvalid then.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (*File, error) {
	how := filewire.Read
	switch {
	case flag&os.O_WRONLY != 0:
		how = filewire.Write
	case flag&os.O_RDWR != 0:
		how = filewire.Read | filewire.Write
	}
	for _, one := range []struct {
		bit int
		is  filewire.Flag
	}{{os.O_APPEND, filewire.Append}, {os.O_CREATE, filewire.Create}, {os.O_EXCL, filewire.Exclusive}, {os.O_TRUNC, filewire.Truncate}} {
		if flag&one.bit != 0 {
			how |= one.is
		}
	}
	return f.openFile(name, how, perm)
}

// WriteFile replaces the content of a file, which it makes with the mode perm, before the umask, if there is none. Content of up to 248 KiB
// costs one round trip. As with [os.WriteFile], after an error the file may have a part of it.
func (f *FS) WriteFile(name string, content []byte, perm fs.FileMode) error {
	if len(content) <= filewire.MaxData {
		_, err := f.call("open", name, filewire.Request{Op: filewire.OpWriteFile, Mode: perm, Data: content})
		return err
	}
	file, err := f.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// Mkdir makes a directory with the mode perm, before the umask.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	_, err := f.call("mkdir", name, filewire.Request{Op: filewire.OpMkdir, Mode: perm})
	return err
}

// MkdirAll makes a directory and those above it. It succeeds if the directory is there.
func (f *FS) MkdirAll(name string, perm fs.FileMode) error {
	_, err := f.call("mkdir", name, filewire.Request{Op: filewire.OpMkdirAll, Mode: perm})
	return err
}

// Remove removes a file, or a directory that is empty. The directory of f itself cannot be removed or renamed.
func (f *FS) Remove(name string) error { return f.change("remove", name, filewire.OpRemove) }

// change removes or moves a file.
func (f *FS) change(op, name string, code filewire.Op, paths ...string) error {
	if name == "." {
		return pathError(op, name, fs.ErrInvalid)
	}
	_, err := f.call(op, name, filewire.Request{Op: code, Paths: paths})
	return err
}

// RemoveAll removes a file or a directory with all below it. It succeeds if there is none. It may take five minutes at most: then the
// error matches berth.ErrUnavailable, and the rest can be removed by another call.
func (f *FS) RemoveAll(name string) error { return f.change("removeall", name, filewire.OpRemoveAll) }

// Rename moves a file or a directory to another name, as [os.Rename] does. An error names the old one.
func (f *FS) Rename(oldname, newname string) error {
	to, err := f.join(newname)
	if err != nil {
		return pathError("rename", newname, err)
	}
	return f.change("rename", oldname, filewire.OpRename, to)
}

// Chmod changes the mode of a file. It follows a symbolic link.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	_, err := f.call("chmod", name, filewire.Request{Op: filewire.OpChmod, Mode: mode})
	return err
}

// Chtimes changes the times of the last access and of the last change of a file. A zero time stays as it is.
func (f *FS) Chtimes(name string, atime, mtime time.Time) error {
	_, err := f.call("chtimes", name, filewire.Request{Op: filewire.OpChtimes, Times: [2]time.Time{atime, mtime}})
	return err
}
