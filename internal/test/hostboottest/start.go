package hostboottest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func (m *Machine) prepare(_ context.Context, o Options) error {
	var hidden strings.Builder
	for _, name := range o.Hidden {
		path, err := exec.LookPath(name)
		if err == nil {
			path, err = filepath.EvalSymlinks(path)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMissing, err)
		}
		fmt.Fprintln(&hidden, path)
	}
	for _, dir := range []string{"bin", "upper"} {
		if err := os.Mkdir(filepath.Join(m.dir, dir), 0o700); err != nil {
			return err
		}
	}
	texts := map[string]string{
		"user-data": string(o.UserData), "os-release": o.OSRelease, "hidden": hidden.String(),
		"mirror-fails": fmt.Sprintln(o.MirrorFails), "calls": "",
	}
	for name, program := range map[string]string{
		"init": "init", "bin/systemctl": "systemctl", "bin/apt-get": "packages", "bin/dnf": "packages", "bin/dpkg": "packages",
	} {
		text, err := fs.ReadFile(programs, program)
		if err != nil {
			return err
		}
		texts[name] = string(text)
	}
	return m.write(texts)
}

// write makes files in the machine's directory.
func (m *Machine) write(texts map[string]string) error {
	for name, text := range texts {
		mode := os.FileMode(0o600)
		if strings.HasPrefix(name, "bin/") || strings.HasSuffix(name, "init") {
			mode = 0o700
		}
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

// connect makes the machine's network and a cable to it. Our end has the first address of the machine's /24, like the
// router of a subnet. Several cables may have the same address.
func (m *Machine) connect(_ context.Context, o Options) error {
	tag := m.netns[len(m.netns)-8:]
	inner := "mi" + tag
	m.outer = "mo" + tag
	// The address is random, so that the machines of concurrent tests have different ones.
	m.own = cmp.Or(o.Address, fmt.Sprintf("10.219.%d.%d", rand.IntN(256), 2+rand.IntN(253)))
	own, err := netip.ParseAddr(m.own)
	if err != nil {
		return err
	}
	m.host = netip.PrefixFrom(own, 24).Masked().Addr().Next().String()
	return ip(
		"netns add "+m.netns,
		"link add "+m.outer+" type veth peer name "+inner+" netns "+m.netns,
		"addr add "+m.host+" peer "+m.own+"/32 dev "+m.outer,
		"link set "+m.outer+" up",
		"-n "+m.netns+" addr add "+m.own+" peer "+m.host+"/32 dev "+inner,
		"-n "+m.netns+" link set "+inner+" up",
		"-n "+m.netns+" link set lo up",
		"-n "+m.netns+" route add default via "+m.host,
	)
}

// ip runs the program of that name once for each line of arguments.
func ip(lines ...string) error {
	for _, args := range lines {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: no network namespaces: ip %s: %w: %s", ErrMissing, args, err, out)
		}
	}
	return nil
}

func (m *Machine) start(_ context.Context, o Options) error {
	engine := "no"
	if o.Engine {
		engine = "yes"
	}
	cmd := exec.Command("nsenter", "--net=/run/netns/"+m.netns,
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", m.dir+"/init")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C goes to us only, and we end it
	cmd.Env = append([]string{
		"PATH=" + m.dir + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root",
		"MACHINE=" + m.dir, "MACHINE_ENGINE=" + engine,
	}, o.Env...)
	output, err := os.Create(filepath.Join(m.dir, "output"))
	if err != nil {
		return err
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return err
	}
	m.cmd = cmd
	go func() { cmd.Wait(); close(m.ended) }()
	return nil
}

// boot waits until the user data has run.
func (m *Machine) boot(ctx context.Context, _ Options) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		select {
		case <-m.ended:
			return false, errors.New("the machine ended while it booted")
		default:
			return m.read("status") != "", nil
		}
	})
}

// poll calls is until it returns true or an error.
func poll(ctx context.Context, is func() (bool, error)) error {
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// init returns the ID here of the machine's process 1, or "" while there is none.
func (m *Machine) init() string {
	m.mu.Lock()
	parent := strconv.Itoa(m.cmd.Process.Pid) // the started process becomes the one that makes the process namespace
	m.mu.Unlock()
	children, _ := os.ReadFile("/proc/" + parent + "/task/" + parent + "/children")
	for _, child := range strings.Fields(string(children)) {
		status, _ := os.ReadFile("/proc/" + child + "/status")
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "NSpid:"); ok && strings.HasSuffix(rest, "\t1\n") {
				return child
			}
		}
	}
	return ""
}
