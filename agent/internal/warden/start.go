package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

const (
	// startTimeout bounds the time that Enter takes for a room.
	startTimeout = 20 // seconds

	// idleTime is how long Enter waits for another room. A new one costs a few milliseconds, one that waits a few MiB.
	idleTime = 30 * time.Second
)

// A helper is a process that runs Enter in a container. The container's opening lock protects its use.
type helper struct {
	pid    int
	pidfd  int
	socket int           // to the process
	ended  chan struct{} // closed when it has ended
}

// start starts the init of a room whose cgroup exists. init is a pidfd of it. An error leaves no process behind.
func (c *container) start(s room.Spec) (control *os.File, pid, init int, err error) {
	c.opening.Lock() // Enter makes one room at a time
	defer c.opening.Unlock()
	c.idle.Stop()
	if c.helper != nil && c.helper.hasEnded() {
		c.endHelper()
	}
	if c.helper == nil {
		if c.helper, err = c.startHelper(); err != nil {
			return nil, 0, 0, err
		}
	}
	defer func() {
		if c.helper != nil {
			c.idle.Reset(idleTime)
		}
	}()
	controls, err := socketpair()
	if err != nil {
		return nil, 0, 0, err
	}
	defer syscall.Close(controls[1])
	control = os.NewFile(uintptr(controls[0]), "room")
	if pid, init, err = c.ask(s, controls[1]); err != nil {
		control.Close()
		return nil, 0, 0, err
	}
	return control, pid, init, nil
}

func socketpair() ([2]int, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	return pair, os.NewSyscallError("socketpair", err)
}

// ask lets the helper make a room. A helper that does not answer is ended.
func (c *container) ask(s room.Spec, control int) (pid, init int, err error) {
	tasks, into := c.groups.place(s.ID)
	files := []int{control}
	defer func() { closeAll(files[1:]) }()
	open := func(path string, flags int) error {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		files = append(files, fd)
		return nil
	}
	for _, path := range tasks {
		if err := open(path, syscall.O_WRONLY); err != nil {
			return 0, 0, err
		}
	}
	if into != "" {
		if err := open(into, oPath|syscall.O_DIRECTORY); err != nil {
			return 0, 0, err
		}
	}
	e := entry{Spec: s, Hidden: append([]string{s.RunDir}, c.hidden...), Init: c.init, Into: into != ""}
	answer, fds, err := c.helper.exchange(e, files)
	defer func() {
		if err != nil {
			closeAll(fds)
		}
	}()
	if err != nil {
		c.endHelper()
		return 0, 0, fmt.Errorf("the process that makes rooms: %w", err)
	}
	if answer.Error != "" {
		return 0, 0, answer.failure()
	}
	if answer.Note != "" {
		c.say(errors.New(answer.Note))
	}
	if len(fds) != 1 {
		return 0, 0, errors.New("the room's init came without a descriptor")
	}
	if err := c.checkInit(fds[0]); err != nil {
		return 0, 0, errors.Join(err, pidfdKill(fds[0]))
	}
	return answer.PID, fds[0], nil
}

func (h *helper) hasEnded() bool {
	select {
	case <-h.ended:
		return true
	default:
		return false
	}
}

func (h *helper) exchange(e entry, files []int) (answer entered, fds []int, err error) {
	if err := sendFiles(h.socket, e, files...); err != nil {
		return answer, nil, err
	}
	buffer := make([]byte, maxAnswer)
	n, fds, err := receiveFiles(h.socket, buffer, 1)
	if err == nil && n == 0 {
		err = errors.New("it has ended: the warden's log may say why")
	}
	if err == nil {
		err = json.Unmarshal(buffer[:n], &answer)
	}
	return answer, fds, err
}

// checkInit compares the init with the container's first process: it may do as much, and no more.
func (c *container) checkInit(pidfd int) error {
	pid, err := pidOf(pidfd)
	if err != nil {
		return err
	}
	its, err := readStatus(pid)
	if err != nil {
		return fmt.Errorf("the room's init has ended: %w", err)
	}
	if pids := its.pids(); len(pids) < 2 || pids[len(pids)-1] != 1 {
		return errors.New("the room's init is not its first process")
	}
	if c.self {
		return nil
	}
	if was, is := label(c.pid), label(pid); was != is {
		return fmt.Errorf("the security module's label of the room is %q, of its container %q", is, was)
	}
	return sameRights(c.status, its, c.filters)
}

// pidOf returns the pid of a pidfd's process, as this program sees it.
func pidOf(pidfd int) (int, error) {
	text, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(pidfd))
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(parseStatus(string(text))["Pid"])
	if err != nil || pid <= 0 {
		return 0, errors.New("the room's init has ended")
	}
	return pid, nil
}

// endHelper ends the helper. The opening lock is held.
func (c *container) endHelper() {
	if h := c.helper; h != nil {
		c.helper = nil
		syscall.Close(h.socket)
		pidfdKill(h.pidfd)
		<-h.ended
		syscall.Close(h.pidfd)
	}
}

// retire ends the helper of a container that opens no rooms.
func (c *container) retire() {
	c.opening.Lock()
	defer c.opening.Unlock()
	c.endHelper()
}

func wait(pid int) {
	for {
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != syscall.EINTR {
			return
		}
	}
}

// startHelper starts Enter in the container's namespaces. It uses up a thread for that.
func (c *container) startHelper() (h *helper, err error) {
	sockets, err := socketpair()
	if err != nil {
		return nil, err
	}
	defer syscall.Close(sockets[1])
	timeout := syscall.Timeval{Sec: startTimeout}
	h = &helper{socket: sockets[0], ended: make(chan struct{})}
	if err = syscall.SetsockoptTimeval(h.socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err == nil {
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
			h.pid, err = c.fork(sockets[1], &h.pidfd)
		}()
		<-done
	}
	if err != nil {
		syscall.Close(h.socket)
		return nil, err
	}
	c.helperPID.Store(int64(h.pid))
	go func() { // at once: the end of the container waits for that
		wait(h.pid)
		close(h.ended)
	}()
	return h, nil
}

// fork starts Enter from a thread that is lost afterwards.
func (c *container) fork(socket int, pidfd *int) (pid int, err error) {
	var files []int
	defer func() { closeAll(files) }()
	open := func(path string, flags int) (int, error) {
		fd, err := syscall.Open(path, flags|syscall.O_CLOEXEC, 0)
		if err != nil {
			return -1, &os.PathError{Op: "open", Path: path, Err: err}
		}
		files = append(files, fd)
		return fd, nil
	}
	exe, err := open("/proc/self/exe", syscall.O_RDONLY)
	if err != nil {
		return 0, err
	}
	null, err := open("/dev/null", syscall.O_RDWR)
	if err != nil {
		return 0, err
	}
	namespace, err := open(procPath(c.pid, "ns/cgroup"), syscall.O_RDONLY)
	if err != nil {
		return 0, err
	}
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: []uintptr{uintptr(null), uintptr(null), 2, uintptr(socket), c.profile.Fd(), uintptr(namespace), uintptr(exe)},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: pidfd},
	}
	tasks, into := c.groups.porch()
	for _, path := range tasks {
		fd, err := open(path, syscall.O_WRONLY)
		if err == nil {
			err = enterTasks(fd)
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
	}
	if into != "" {
		attr.Sys.UseCgroupFD = true
		if attr.Sys.CgroupFD, err = open(into, oPath|syscall.O_DIRECTORY); err != nil {
			return 0, err
		}
	}
	if err := c.enterNamespaces(); err != nil {
		return 0, err
	}
	// The program is one of the child's Files: package syscall may put any other descriptor of this process out of its way, or another
	// file in its place.
	pid, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(programFD), []string{"berth-agent", "room"}, attr)
	if err != nil {
		return 0, fmt.Errorf("starting the process that makes rooms: %w", err)
	}
	return pid, nil
}

// enterNamespaces puts the calling thread into the container, apart from the cgroup namespace: with that of the container, Linux
// would not let it put a process into another cgroup.
func (c *container) enterNamespaces() error {
	return c.enterMounts(syscall.CLONE_NEWUTS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS)
}

// enterMounts puts the calling thread into namespaces of the container, the mount namespace among them.
func (c *container) enterMounts(namespaces int) error {
	var root, entered syscall.Stat_t
	if err := syscall.Stat(procPath(c.pid, "root"), &root); err != nil {
		return err
	}
	if _, err := call("unshare", syscall.SYS_UNSHARE, syscall.CLONE_FS); err != nil {
		return err
	}
	if err := setns(c.pidfd, namespaces); err != nil {
		return err
	}
	if err := syscall.Stat("/", &entered); err != nil {
		return err
	}
	if root.Dev != entered.Dev || root.Ino != entered.Ino {
		return errors.New("the container's first process has another root directory")
	}
	return nil
}
