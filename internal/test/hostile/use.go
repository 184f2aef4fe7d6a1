//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// makers make one thing each of a kind that there are not endlessly many of.
var makers = map[string]func(i int) error{
	"processes":       func(int) error { return fork() },
	"terminals":       func(int) error { _, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0); return err },
	"memory segments": func(int) error { return object(unix.SYS_SHMGET, 0, 1<<20, 0o1600) },
	"semaphores":      func(int) error { return object(unix.SYS_SEMGET, 0, 1, 0o1600) },
	"message queues":  func(int) error { return object(unix.SYS_MSGGET, 0, 0o1600, 0) },
	"queues": func(i int) error {
		name, _ := unix.BytePtrFromString(fmt.Sprint("q", i))
		fd, err := object6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, 0)
		if err == nil {
			unix.Close(fd)
		}
		return err
	},
	"inotify instances": func(int) error { _, err := unix.InotifyInit(); return err },
	"pipes": func(int) error {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		_, err := unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, 1<<20)
		return err
	},
	"timers": func(int) error {
		var id int32
		return object(unix.SYS_TIMER_CREATE, 0, 0, uintptr(unsafe.Pointer(&id)))
	},
	"files": func(int) error { _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); return err },
	"locked memory": func(int) error {
		b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		if err != nil {
			return err
		}
		return unix.Mlock(b)
	},
	"datagrams": func(int) error { return datagrams() },
}

// A session that the limits of one process hold back goes on in another.
var perProcess = map[string]bool{"files": true, "pipes": true, "datagrams": true}

func object(n, a, b, c uintptr) error { _, err := object6(n, a, b, c, 0); return err }

func object6(n, a, b, c, d uintptr) (int, error) {
	r, _, e := unix.RawSyscall6(n, a, b, c, d, 0, 0)
	if e != 0 {
		return -1, e
	}
	return int(r), nil
}

// fork makes a process that sleeps and holds nothing open.
//
//go:nosplit
func fork() error {
	pid, _, e := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		unix.RawSyscall(unix.SYS_CLOSE_RANGE, 0, 1<<31-1, 0)
	}
	for e == 0 && pid == 0 {
		unix.RawSyscall(unix.SYS_PPOLL, 0, 0, 0)
	}
	if e != 0 {
		return e
	}
	return nil
}

// datagrams fills a socket that is not read.
func datagrams() error {
	in, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(in, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	at, err := unix.Getsockname(in)
	if err != nil {
		return err
	}
	out, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(out)
	data := make([]byte, 60000)
	for range 4 {
		unix.Sendto(out, data, unix.MSG_DONTWAIT, at)
	}
	var queued int32
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(in), unix.TIOCINQ, uintptr(unsafe.Pointer(&queued))); e != 0 {
		return e
	}
	if queued == 0 {
		return unix.ENOBUFS
	}
	return nil
}

// mostDatagrams is more sockets, of at least 120 kB each, than the memory of a session of the test has room for.
const mostDatagrams = 2500

// use makes things of a kind until it gets no more, and holds them, or makes two.
func use(args []string, all bool) error {
	kind := strings.ReplaceAll(args[0], "-", " ")
	make, most := makers[kind], 2
	if all {
		most = 1 << 20
	}
	spare, err := unix.Dup(0)
	for range 7 { // for the next process
		unix.Dup(spare)
	}
	n := 0
	for ; n < most && err == nil; n++ {
		if err = make(n); err != nil {
			n--
		}
	}
	if !all {
		return err
	}
	fmt.Printf("used %d %s: %v\n", n, kind, err)
	if kind == "datagrams" && n > mostDatagrams {
		harm("sockets take memory without bound")
	}
	if perProcess[kind] && len(args) > 1 && args[1] != "0" {
		var left int
		fmt.Sscan(args[1], &left)
		for i := range 8 {
			unix.Close(spare + i)
		}
		next := exec.Command(os.Args[0], "use", args[0], fmt.Sprint(left-1))
		next.Stdin, next.Stdout = os.Stdin, os.Stdout
		if err := next.Run(); err != nil {
			fmt.Println("the next:", err)
		}
		return nil
	}
	fmt.Println("all")
	hold()
	return nil
}

// eat starts small processes that use up the memory together.
func eat(args []string) error {
	for {
		if err := exec.Command(os.Args[0], append([]string{"child"}, args...)...).Start(); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func child([]string) error {
	b, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := range b {
		b[i] = 1
	}
	time.Sleep(time.Hour)
	return nil
}

// spin turns in loops in so many processes from one time to another, in milliseconds since 1970, and prints how many loops there were.
func spin(args []string) error {
	var processes int
	var begin, end int64
	fmt.Sscan(strings.Join(args, " "), &processes, &begin, &end)
	var others []*exec.Cmd
	for range processes - 1 {
		cmd := exec.Command(os.Args[0], "spin", "1", args[1], args[2])
		cmd.Stdout = new(strings.Builder)
		if err := cmd.Start(); err != nil {
			return err
		}
		others = append(others, cmd)
	}
	late := max(time.Since(time.UnixMilli(begin)), 0)
	time.Sleep(time.Until(time.UnixMilli(begin)))
	sum := 0
	for time.Now().UnixMilli() < end {
		sum++
	}
	for _, cmd := range others {
		if err := cmd.Wait(); err != nil {
			return err
		}
		n := 0
		fmt.Sscan(cmd.Stdout.(*strings.Builder).String(), &n)
		sum += n
	}
	fmt.Println(sum, "loops, begun late by", late)
	return nil
}
