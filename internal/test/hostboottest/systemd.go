package hostboottest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// rebooted is the exit code of systemd-nspawn when the machine reboots. The caller must start it again.
const rebooted = 133

// startSystemd starts a machine with systemd, and starts it again whenever it reboots.
func (m *Machine) startSystemd(ctx context.Context, o Options) error {
	image, err := Image(ctx, nil)
	if err != nil {
		return err
	}
	texts := make(map[string]string)
	for _, name := range []string{"systemd-init", "systemd-start"} {
		text, err := fs.ReadFile(programs, name)
		if err != nil {
			return err
		}
		texts[name] = string(text)
	}
	if err := m.write(texts); err != nil {
		return err
	}
	console, err := os.Create(filepath.Join(m.dir, "console"))
	if err != nil {
		return err
	}
	cmd, err := m.powerOn(o, image, console)
	if err != nil {
		console.Close()
		return err
	}
	go func() {
		defer close(m.ended)
		defer console.Close()
		for err == nil {
			cmd.Wait()
			fmt.Fprintln(m.alive, "ended") // only powerOn sets it, in this goroutine
			m.alive.Close()
			if cmd.ProcessState.ExitCode() != rebooted {
				m.mu.Lock()
				m.off = cmd.ProcessState.Success()
				m.mu.Unlock()
				return
			}
			cmd, err = m.powerOn(o, image, console)
		}
	}()
	return nil
}

// powerOn starts the machine's processes, unless it was stopped.
func (m *Machine) powerOn(o Options, image string, console *os.File) (*exec.Cmd, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped {
		return nil, errors.New("the machine was stopped")
	}
	cmd := exec.Command("nsenter", "--net=/run/netns/"+m.netns, "unshare", "--mount", "bash", filepath.Join(m.dir, "systemd-start"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us: we end it
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "MACHINE=" + m.dir,
		"MACHINE_IMAGE=" + image, "MACHINE_SHARED=" + o.Shared,
	}
	cmd.Stdout, cmd.Stderr = console, console
	// The machine ends with this process in any case, because the pipe is closed then. See systemd-start.
	watched, alive, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer watched.Close()
	cmd.ExtraFiles = []*os.File{watched}
	if err := cmd.Start(); err != nil {
		alive.Close()
		return nil, err
	}
	m.cmd, m.alive = cmd, alive
	m.boots++
	return cmd, nil
}

// Ended returns a channel that is closed when the machine is off.
func (m *Machine) Ended() <-chan struct{} { return m.ended }

// PoweredOff reports whether a machine with systemd has powered itself off.
func (m *Machine) PoweredOff() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.off
}

// Boots returns how many times a machine with systemd has been started.
func (m *Machine) Boots() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.boots
}
