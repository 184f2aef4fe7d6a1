package agent_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/berth-go/berth/agent/internal/agenttest"
)

// This test's own program runs in a session for things that a shell cannot do: see TestMain.
const helperEnv = "BERTH_TEST_HELPER"

func TestMain(m *testing.M) {
	if name := os.Getenv(helperEnv); name != "" {
		if err := helpers[name](os.Args[1:]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	agenttest.Main(m)
}

// helper copies the program to where a session can run it, and returns a shell command.
func helper(t *testing.T, r *ready, name string) string {
	t.Helper()
	file := r.agent.Dir + "/helper"
	if _, err := os.Stat(file); err != nil {
		self, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, self, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return "GORACE=atexit_sleep_ms=0 " + helperEnv + "=" + name + " " + file // or it would wait for a second at its end
}

var helpers = map[string]func(args []string) error{
	"bomb": func([]string) error {
		for { // parent and child alike, and whatever fork answers
			syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		}
	},
	"ipc":     makeIPC,
	"deep":    makeDeep,
	"intrude": intrude,
	"harass":  harass,
	"stop":    stop,
	"move":    move,
	"whoami": func([]string) error {
		me, err := user.Current()
		if err != nil {
			return err
		}
		byName, err := user.Lookup(me.Username)
		if err != nil {
			return err
		}
		fmt.Println(me.Username, byName.Uid, me.HomeDir)
		return nil
	},
}

// makeIPC makes one of each kernel object that outlives its maker.
func makeIPC(args []string) error {
	const create = 0o1000 | 0o600
	_, _, e1 := syscall.Syscall(syscall.SYS_SHMGET, 0, 4096, create)
	_, _, e2 := syscall.Syscall(syscall.SYS_SEMGET, 0, 1, create)
	_, _, e3 := syscall.Syscall(syscall.SYS_MSGGET, 0, create, 0)
	name := []byte(args[0] + "\x00")
	_, _, e4 := syscall.Syscall6(syscall.SYS_MQ_OPEN, uintptr(unsafe.Pointer(&name[0])), syscall.O_CREAT|syscall.O_RDWR, 0o600, 0, 0, 0)
	for _, e := range []syscall.Errno{e1, e2, e3, e4} {
		if e != 0 {
			return e
		}
	}
	return nil
}

// makeDeep nests directories in one, deeper than a path can name.
func makeDeep(args []string) error {
	if err := os.Chdir(args[0]); err != nil {
		return err
	}
	for range 5000 {
		if err := errors.Join(syscall.Mkdir("d", 0o700), syscall.Chdir("d")); err != nil {
			return err
		}
	}
	return os.WriteFile("file", nil, 0o600)
}

// intrude tries actions that only root may do, and prints those that succeeded.
func intrude(args []string) error {
	runtime.LockOSThread() // ptrace knows threads
	if err := syscall.PtraceAttach(1); err == nil {
		return errors.New("it traces PID 1")
	}
	for _, sig := range []syscall.Signal{0, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGCHLD} {
		if err := syscall.Kill(1, sig); err == nil {
			return fmt.Errorf("it sends PID 1 signal %d", sig)
		}
	}
	threads, _ := os.ReadDir("/proc/1/task")
	for _, thread := range threads {
		var tid int
		fmt.Sscan(thread.Name(), &tid)
		if _, _, e := syscall.Syscall(syscall.SYS_TGKILL, 1, uintptr(tid), 0); e == 0 {
			return errors.New("it signals a thread of PID 1")
		}
	}
	for _, file := range []string{"environ", "mem", "root/", "cwd/", "fd/", "maps"} {
		if f, err := os.Open("/proc/1/" + file); err == nil {
			f.Close()
			return fmt.Errorf("it opens %s of PID 1", file)
		}
	}
	if conn, err := net.Dial("unix", args[0]); err == nil {
		conn.Close()
		return errors.New("it connects to the agent")
	} else if !errors.Is(err, os.ErrPermission) {
		return err
	}
	fmt.Println("fine")
	return nil
}
