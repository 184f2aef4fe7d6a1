package warden

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"unsafe"
)

// A quota bounds what lies below a directory of the caller's container, by a project of the file system. A file system with
// project quotas counts each file to the project of the directory that it was made in, and not to its owner. It also counts files that
// were removed and are still open. A write over the limit fails with EDQUOT, or with ENOSPC on XFS.
type quota struct {
	Dir   string `json:"dir"` // is empty and has no project, or has one of ours
	Bytes int64  `json:"bytes,omitempty"`
	Files int64  `json:"files,omitempty"` // 0 of both ends the quota
}

// The IDs of projects are ours from here on: administrators count from 1. Nothing is kept of them, so each is drawn, and then
// compared with what the file system knows.
const (
	firstProject = 1 << 30
	projectTries = 20
)

// project of a file, as FS_IOC_FSGETXATTR has it.
type project struct {
	flags, extent, extents, id, cow uint32
	_                               [8]byte
}

// quotaRecord is what quotactl knows of a project. Bytes are counted in KiB, except for used.
type quotaRecord struct {
	hardBytes, softBytes, usedBytes uint64
	hardFiles, softFiles, usedFiles uint64
	byteTime, fileTime              uint64
	valid, _                        uint32
}

const (
	sysQuotactlFD  = 443
	getXattr       = 0x801c581f // FS_IOC_FSGETXATTR
	setXattr       = 0x401c5820 // FS_IOC_FSSETXATTR
	inheritProject = 0x200      // FS_XFLAG_PROJINHERIT

	projectQuota    = 2 // PRJQUOTA
	getQuota        = 0x800007<<8 | projectQuota
	setQuota        = 0x800008<<8 | projectQuota
	getQuotaState   = 0x5808<<8 | projectQuota // Q_XGETQSTATV
	projectEnforced = 1 << 5                   // in that state: FS_QUOTA_PDQ_ENFD
	quotaLimits     = 5                        // in quotaRecord.valid: QIF_LIMITS
)

// enforcesProjects reports whether the file system of a directory has quotas of projects, and enforces them. It needs Linux 5.14.
func enforcesProjects(dir int) bool {
	var state [256]byte // a struct fs_quota_statv and more
	state[0] = 1        // its version
	_, err := call("quotactl_fd", sysQuotactlFD, at(dir), getQuotaState, 0, uintptr(unsafe.Pointer(&state[0])))
	return err == nil && binary.NativeEndian.Uint16(state[2:])&projectEnforced != 0
}

// findQuotas reports whether the sessions' directories of the container are on a file system that bounds them. The socket's directory is a
// volume of the same engine as theirs.
func (c *container) findQuotas() bool {
	return len(c.hidden) > 0 && quotasAt(filepath.Join(procPath(c.pid, "root"), c.hidden[0]))
}

// quotasAt reports whether the file system of a path enforces quotas of projects.
func quotasAt(path string) bool {
	dir, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(dir)
	return enforcesProjects(dir)
}

// openIn opens a directory of the container.
func (c *container) openIn(dir string) (int, error) {
	root, err := syscall.Open(procPath(c.pid, "root"), oPath|syscall.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer syscall.Close(root)
	path, err := openDir(root, below(dir), inRoot|noSymlinks|noMagicLinks)
	if err != nil {
		return -1, err
	}
	defer syscall.Close(path)
	if ended(c.pidfd) { // it may have been another process's root
		return -1, errors.New("the container has ended")
	}
	return syscall.Open("/proc/self/fd/"+strconv.Itoa(path), syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
}

// setQuota bounds a directory of the container. bounded is false where the file system cannot.
func (c *container) setQuota(q quota) (bounded bool, err error) {
	if !filepath.IsAbs(q.Dir) || filepath.Clean(q.Dir) != q.Dir || min(q.Bytes, q.Files) < 0 {
		return false, errors.New("bad quota")
	}
	if err := c.ready(); err != nil || !c.quotas() {
		return false, err
	}
	dir, err := c.openIn(q.Dir)
	if err != nil {
		return false, err
	}
	defer syscall.Close(dir)
	if !enforcesProjects(dir) {
		return false, nil
	}
	return true, boundDir(dir, q)
}

// boundDir gives a directory a project with limits.
func boundDir(dir int, q quota) error {
	var p project
	if err := fileProject(dir, getXattr, &p); err != nil {
		return err
	}
	switch {
	case p.id >= firstProject:
	case p.id != 0:
		return fmt.Errorf("the directory is of the project %d, which is not ours", p.id)
	case q.Bytes == 0 && q.Files == 0:
		return nil
	default:
		id, err := freeProject(dir)
		if err != nil {
			return err
		}
		p.id = id
	}
	record := quotaRecord{hardBytes: uint64((q.Bytes + 1023) / 1024), hardFiles: uint64(q.Files), valid: quotaLimits}
	if err := projectRecord(dir, setQuota, p.id, &record); err != nil {
		return err
	}
	p.flags |= inheritProject
	return fileProject(dir, setXattr, &p)
}

// freeProject returns an ID that no project has.
func freeProject(dir int) (uint32, error) {
	for range projectTries {
		var drawn [4]byte
		rand.Read(drawn[:])
		id := firstProject | binary.NativeEndian.Uint32(drawn[:])&(firstProject-1)
		var r quotaRecord
		err := projectRecord(dir, getQuota, id, &r)
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ESRCH) || err == nil && r.hardBytes|r.hardFiles|r.usedBytes|r.usedFiles == 0 {
			return id, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no project is free")
}

func projectRecord(dir int, command uintptr, id uint32, r *quotaRecord) error {
	_, err := call("quotactl_fd", sysQuotactlFD, at(dir), command, uintptr(id), uintptr(unsafe.Pointer(r)))
	return err
}

func fileProject(fd int, request uintptr, p *project) error {
	_, err := call("ioctl", syscall.SYS_IOCTL, at(fd), request, uintptr(unsafe.Pointer(p)))
	return err
}

// keepProjects is a seccomp filter: a session could otherwise give its files to another project, as their owner, and they would
// count for no limit, or for a neighbour's. The filter forbids that, and to change the flags of files, one of which is that new files inherit the
// project.
func keepProjects() filter {
	const (
		load, equal, and, give       = 0x20, 0x15, 0x54, 0x06
		number, arch, request        = 0, 4, 24 // where they are in struct seccomp_data; of the request the lower half
		allow, deny                  = 0x7fff0000, 0x00050000 | uint32(syscall.EPERM)
		setFlags, setFlags32, setNew = 0x40086602, 0x40046602, 469 // FS_IOC_SETFLAGS, and the system call file_setattr
		archX86, archARM             = 0x40000003, 0x40000028
		ioctlX32, ioctl32            = 514, 54
	)
	le := binary.NativeEndian.Uint16([]byte{1, 0}) == 1
	at := uint32(request)
	if !le {
		at += 4
	}
	var code []byte
	add := func(op uint16, yes, no uint8, k uint32) {
		code = binary.NativeEndian.AppendUint16(code, op)
		code = append(code, yes, no)
		code = binary.NativeEndian.AppendUint32(code, k)
	}
	add(load, 0, 0, arch)
	add(equal, 3, 0, archX86) // to the number of 32 bit programs
	add(equal, 2, 0, archARM)
	add(load, 0, 0, number)
	add(0x05, 0, 0, 4) // jump over the next four
	add(load, 0, 0, number)
	add(equal, 6, 0, ioctl32)  // to the request
	add(equal, 9, 0, setNew)   // to deny
	add(0x05, 0, 0, 9)         // to allow
	add(and, 0, 0, 0x3fffffff) // x32 has a bit of its own
	add(equal, 2, 0, uint32(syscall.SYS_IOCTL))
	add(equal, 1, 0, ioctlX32)
	add(equal, 4, 5, setNew) // to deny, or to allow
	add(load, 0, 0, at)
	add(equal, 2, 0, setXattr)
	add(equal, 1, 0, setFlags)
	add(equal, 0, 1, setFlags32)
	add(give, 0, 0, deny)
	add(give, 0, 0, allow)
	return filter{Program: code}
}
