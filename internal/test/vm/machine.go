package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/berth-go/berth/internal/test/hostboottest"
)

//go:embed guest
var guest string

//go:embed go
var noGo string

// unit is the service that mounts the disk of the tests and runs them.
const unit = `[Unit]
After=network.target systemd-tmpfiles-setup.service
[Service]
Type=oneshot
StandardOutput=journal+console
ExecStart=mkdir -p /vm
ExecStart=mount -o ro /dev/vdb /vm
ExecStart=sh /vm/guest
`

// recipe is the image of the machine: what EC2's images have in common with Debian's, and AppArmor, which Docker uses if it is there.
var recipe = hostboottest.Recipe{
	Packages: []string{
		"systemd", "systemd-sysv", "dbus", "udev", "kmod", "docker.io", "iptables", "iproute2", "ca-certificates", "procps", "git",
		"apparmor", "curl", "e2fsprogs", "xfsprogs", "initramfs-tools", "linux-image-cloud-amd64",
	},
	Files: map[string]string{
		"etc/systemd/system/berth-tests.service": unit,
		"etc/resolv.conf":                        "",
		"etc/hostname":                           "berth-vm\n",
	},
}

// bootFile returns the only file of a directory that matches a pattern.
func bootFile(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "boot", pattern))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("the image has %d files boot/%s", len(found), pattern)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// makeDisk makes a file system of a directory, in a file.
func makeDisk(ctx context.Context, dir, file, size string) error {
	unfinished := file + ".new"
	defer os.Remove(unfinished)
	cmd := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-d", dir, unfinished, size)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mkfs.ext4: %w: %s", err, out)
	}
	return os.Rename(unfinished, file)
}

// machineDisk returns the disk that machines boot from, and its directory. No machine writes to it.
func machineDisk(ctx context.Context) (disk, dir string, err error) {
	dir, err = recipe.Make(ctx, func(line string) { fmt.Println(line) })
	if err != nil {
		return "", "", err
	}
	disk = dir + ".ext4"
	if _, err := os.Stat(disk); err == nil {
		return disk, dir, nil
	}
	return disk, dir, makeDisk(ctx, dir, disk, "8G")
}

// boot starts the machine, and returns when it is off. It writes what the tests say to said.
func boot(ctx context.Context, o options, tests string, said io.Writer) error {
	disk, dir, err := machineDisk(ctx)
	if err != nil {
		return err
	}
	kernel, err := bootFile(dir, "vmlinuz-*")
	if err != nil {
		return err
	}
	initrd, err := bootFile(dir, "initrd.img-*")
	if err != nil {
		return err
	}
	// A KVM within a virtual machine may refuse to pass on what the processor says of its flaws.
	const cpu = "max,arch-capabilities=off"
	cmd := exec.CommandContext(ctx, "nice", "qemu-system-x86_64", "-accel", o.accel, "-cpu", cpu, "-smp", "2", "-m", "4096",
		"-nodefaults", "-no-reboot", "-display", "none", "-nic", "none", "-device", "virtio-rng-pci",
		"-kernel", kernel, "-initrd", initrd,
		"-append", "root=/dev/vda rw console=ttyS0 panic=1 mitigations=off quiet systemd.wants=berth-tests.service",
		"-drive", "file="+disk+",if=virtio,format=raw,snapshot=on", "-drive", "file="+tests+",if=virtio,format=raw,readonly=on",
		"-serial", "file:"+filepath.Join(filepath.Dir(tests), "console"), "-serial", "stdio")
	cmd.Stdout, cmd.Stderr = said, os.Stderr
	return cmd.Run()
}
