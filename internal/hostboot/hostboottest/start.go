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
	for name, text := range texts {
		mode := os.FileMode(0o600)
		if strings.HasPrefix(name, "bin/") || name == "init" {
			mode = 0o700
		}
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), mode); err != nil {
			return err
		}
	}
	return nil
}

// connect makes the machine's network and a cable to it. Our end has the first address of the machine's /24, as the
// router of a subnet has: any number of cables may have it.
func (m *Machine) connect(_ context.Context, o Options) error {
	tag := m.netns[len(m.netns)-8:]
	inner := "mi" + tag
	m.outer = "mo" + tag
	// One of many, so that machines of tests that run side by side do not meet.
	m.own = cmp.Or(o.Address, fmt.Sprintf("10.219.%d.%d", rand.IntN(256), 2+rand.IntN(253)))
	own, err := netip.ParseAddr(m.own)
	if err != nil {
		return err
	}
	m.host = netip.PrefixFrom(own, 24).Masked().Addr().Next().String()
	for _, args := range []string{
		"netns add " + m.netns,
		"link add " + m.outer + " type veth peer name " + inner + " netns " + m.netns,
		"addr add " + m.host + " peer " + m.own + "/32 dev " + m.outer,
		"link set " + m.outer + " up",
		"-n " + m.netns + " addr add " + m.own + " peer " + m.host + "/32 dev " + inner,
		"-n " + m.netns + " link set " + inner + " up",
		"-n " + m.netns + " link set lo up",
		"-n " + m.netns + " route add default via " + m.host,
	} {
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: we end it
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
	for m.read("status") == "" {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the machine has not come to the end of its user data: %w", ctx.Err())
		case <-m.ended:
			return errors.New("the machine ended while it booted")
		case <-time.After(50 * time.Millisecond):
		}
	}
	m.pid = m.init()
	return nil
}

// init returns the machine's process 1, as seen from here, or "".
func (m *Machine) init() string {
	unshare := strconv.Itoa(m.cmd.Process.Pid) // nsenter becomes it
	children, _ := os.ReadFile("/proc/" + unshare + "/task/" + unshare + "/children")
	return strings.TrimSpace(string(children))
}
