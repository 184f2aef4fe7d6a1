package warden

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// An entry asks Enter for a room. Its descriptors come with it: the init's control socket, then those of the cgroup's tasks, then
// the cgroup's directory if Into is set.
type entry struct {
	Spec   room.Spec `json:"spec"`
	Hidden []string  `json:"hidden"` // directories that the room sees empty
	Init   []string  `json:"init"`   // the command of the room's init
	Into   bool      `json:"into"`
}

// An entered answers an entry. A descriptor of the init comes with it.
type entered struct {
	PID        int    `json:"pid,omitempty"` // of the init, as the container sees it
	Error      string `json:"error,omitempty"`
	Note       string `json:"note,omitempty"`        // why a cache is not shared
	NoCheckout bool   `json:"no_checkout,omitempty"` // the error is room.ErrNoCheckout
}

// failure returns the error of an answer that has one.
func (e *entered) failure() error {
	err := errors.New(e.Error)
	if e.NoCheckout {
		return noCheckout{err}
	}
	return err
}

// Descriptors that Enter is started with.
const (
	wardenFD    = 3 // takes entries, and answers each
	profileFD   = 4 // a profile
	namespaceFD = 5 // the container's cgroup namespace
	programFD   = 6 // the program that it is
)

const (
	controlFD  = 3 // of an init
	maxProfile = 1 << 20
	maxRights  = 16 // descriptors of an entry
)

// Enter is the program that the warden starts in a container's namespaces, once for many rooms. For each entry it makes a room
// and starts the room's init. It ends when the warden closes the socket. The inits are left to the container's first process then.
func Enter(args []string) error {
	if len(args) == 1 && args[0] == trialCommand {
		return waitForEnd()
	}
	syscall.Close(programFD)
	for _, fd := range []int{wardenFD, profileFD, namespaceFD} {
		syscall.CloseOnExec(fd)
	}
	p, err := newPorter()
	if err != nil {
		return err
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go reap(children)
	buffer := make([]byte, maxMessage)
	for {
		n, fds, err := receiveFiles(wardenFD, buffer, maxRights)
		if err != nil || n == 0 {
			return err
		}
		answer, pidfd := p.answer(buffer[:n], fds)
		closeAll(fds)
		if err := sendFiles(wardenFD, answer, pidfd...); err != nil {
			return err
		}
		closeAll(pidfd)
	}
}

// reap collects inits that have ended.
func reap(children <-chan os.Signal) {
	for range children {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err != syscall.EINTR && (err != nil || pid <= 0) {
				break
			}
		}
	}
}

// A porter makes the rooms of one container.
type porter struct {
	profile profile
	null    int       // /dev/null
	scope   int       // of a room's sockets; -1 = the kernel knows none
	mounts  []mounted // of the container
}

func newPorter() (*porter, error) {
	text, err := io.ReadAll(io.NewSectionReader(os.NewFile(profileFD, "profile"), 0, maxProfile))
	if err != nil {
		return nil, err
	}
	p := new(porter)
	if err := json.Unmarshal(text, &p.profile); err != nil {
		return nil, err
	}
	syscall.Umask(0o022)
	if p.null, err = syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("/dev/null: %w", err)
	}
	p.scope = newScope()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	p.mounts = parseMounts(string(table))
	p.profile.setOOM()
	return p, errors.Join(p.profile.setLimits(), syscall.Setgroups(nil))
}

// answer makes a room. Mounts and rights belong to a thread, so the room gets a thread of its own, which ends with it.
func (p *porter) answer(text []byte, fds []int) (answer entered, pidfd []int) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocks it
		pid, fd, note, err := p.open(text, fds)
		if err != nil {
			answer.Error, answer.NoCheckout = err.Error(), errors.Is(err, room.ErrNoCheckout)
			return
		}
		answer.PID, pidfd = pid, []int{fd}
		if note != nil {
			answer.Note = note.Error()
		}
	}()
	<-done
	return answer, pidfd
}

// open returns in note why a cache is not shared.
func (p *porter) open(text []byte, fds []int) (pid, pidfd int, note, err error) {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return 0, 0, nil, err
	}
	tasks, into := fds, -1
	if e.Into && len(tasks) > 0 {
		tasks, into = tasks[:len(tasks)-1], tasks[len(tasks)-1]
	}
	if len(tasks) == 0 {
		return 0, 0, nil, errors.New("an entry lacks descriptors")
	}
	control, tasks := tasks[0], tasks[1:]
	for _, fd := range tasks {
		if err := enterTasks(fd); err != nil {
			return 0, 0, nil, err
		}
	}
	if err := p.profile.setLabel(); err != nil {
		return 0, 0, nil, err
	}
	f := furnisher{spec: e.Spec, hidden: e.Hidden, mounts: p.mounts}
	defer f.close()
	f.openNamespace()
	if _, err := call("unshare", syscall.SYS_UNSHARE, syscall.CLONE_NEWNS|syscall.CLONE_NEWPID|syscall.CLONE_NEWIPC); err != nil {
		return 0, 0, nil, err
	}
	if err := f.furnish(); err != nil {
		return 0, 0, nil, err
	}
	s, err := p.script(&f, e.Init, control)
	if err != nil {
		return 0, 0, nil, err
	}
	pid, pidfd, err = s.run(into)
	return pid, pidfd, f.note, err
}

// script returns what the first process of a room does before it is the init.
func (p *porter) script(f *furnisher, init []string, control int) (*script, error) {
	s := new(script)
	for fd := range controlFD {
		s.add("dup3", syscall.SYS_DUP3, at(p.null), at(fd), 0)
	}
	s.add("dup3", syscall.SYS_DUP3, at(control), controlFD, 0)
	s.add("entering the container's cgroup namespace", sysSetns, namespaceFD, cloneNewCgroup)
	if err := f.procSteps(s); err != nil {
		return nil, fmt.Errorf("/proc: %w", err)
	}
	if p.scope >= 0 {
		s.add("entering a scope of sockets", sysLandlockEnter, at(p.scope), 0) // needs a right that the next steps give up
	}
	if err := p.profile.steps(s); err != nil {
		return nil, err
	}
	return s, s.exec(init)
}

// enterTasks moves the calling thread into the cgroup of an open file. It writes 0 for that: the kernel takes a lock of all
// processes for any other number, and waits for a grace period of RCU.
func enterTasks(fd int) error {
	for {
		_, err := syscall.Write(fd, []byte("0"))
		if err != syscall.EINTR {
			return os.NewSyscallError("entering a cgroup: write", err)
		}
	}
}
