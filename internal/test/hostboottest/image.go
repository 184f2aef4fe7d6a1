package hostboottest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	release        = "bookworm"
	mirrorVariable = "BERTH_DEBIAN_MIRROR" // as package workspace has it
)

// A Recipe says what is in the root file system of a machine.
type Recipe struct {
	Packages []string          // of Debian, beside apt
	Files    map[string]string // their content, by path
	Lacks    []string          // files of the packages that are removed
}

// machine is the image of a machine with systemd. Like Amazon's image for ECS, it has Docker.
//
// Its files configure cloud-init as an image for EC2 does. They name no name server, because one that does not answer would
// delay cloud-init. Tests do not cover how a machine gets its network, accounts and keys for SSH.
var machine = Recipe{
	Packages: []string{
		"systemd", "systemd-sysv", "dbus", "udev", "cloud-init", "docker.io", "iptables", "iproute2", "ca-certificates", "curl", "procps",
		"e2fsprogs", "xfsprogs",
	},
	Files: map[string]string{
		"etc/cloud/cloud.cfg.d/95-machine.cfg": `datasource_list: [Ec2]
datasource: {Ec2: {metadata_urls: ["http://169.254.169.254"], timeout: 5, max_wait: 60}}
network: {config: disabled}
cloud_init_modules: [write-files, set_hostname, update_hostname]
cloud_config_modules: []
cloud_final_modules: [scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message]
`,
		"etc/resolv.conf": "",
		"etc/hostname":    "",
	},
	Lacks: []string{"usr/sbin/dhclient"}, // no machine has a DHCP server to wait for
}

// Image returns the directory of the root file system that all machines with systemd share. None of them writes to it.
func Image(ctx context.Context, progress func(string)) (dir string, err error) {
	return machine.Make(ctx, progress)
}

// Make returns the directory of a root file system. It makes it from Debian's packages, which takes most of a minute, and keeps it
// in the user's cache. Remove berth/machine-* there to get one of newer packages. progress may be nil.
func (r Recipe) Make(ctx context.Context, progress func(string)) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: no directory for the image: %w", ErrMissing, err)
	}
	cache = filepath.Join(cache, "berth")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	recipe := sha256.Sum256(fmt.Append(nil, release, r.Packages, r.Files, r.Lacks))
	dir = filepath.Join(cache, "machine-"+hex.EncodeToString(recipe[:6]))
	unlock, err := lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if progress != nil {
		progress("making the image of machines from Debian packages, once")
	}
	if err := r.make(ctx, dir); err != nil {
		return "", fmt.Errorf("making the image of machines: %w", err)
	}
	return dir, nil
}

func (r Recipe) make(ctx context.Context, dir string) error {
	unfinished := dir + ".new"
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte(unfinished)) {
		return errors.Join(err, fmt.Errorf("something may be mounted below %s", unfinished))
	}
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	args := []string{
		"--variant=apt", "--dpkgopt=force-unsafe-io", "--include=" + strings.Join(r.Packages, ","),
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		release, unfinished,
	}
	if mirror := os.Getenv(mirrorVariable); mirror != "" {
		args = append(args, mirror)
	}
	// It has namespaces of its own, because it mounts this machine's /dev below the image, and the mount must end with
	// it in any case.
	cmd := exec.CommandContext(ctx, "unshare", append([]string{
		"--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "mmdebstrap"}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	for path, text := range r.Files {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(unfinished, path)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(unfinished, path), []byte(text), 0o644)
		}
	}
	for _, path := range r.Lacks {
		if err == nil {
			err = os.Remove(filepath.Join(unfinished, path))
		}
	}
	if err == nil {
		return os.Rename(unfinished, dir)
	}
	os.RemoveAll(unfinished)
	return fmt.Errorf("%w: %s", err, said.Bytes()[max(0, said.Len()-2000):])
}

// lock locks a file against other processes until unlock is called.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, func() (bool, error) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == syscall.EWOULDBLOCK || err == syscall.EINTR {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
