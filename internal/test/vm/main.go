// Command vm runs tests as root on a virtual machine whose kernel is Debian's, with cgroups of version 2, AppArmor and Docker, as
// EC2's images have them. What the tests build with Go is built before. It needs root, qemu, mmdebstrap and mkfs.ext4, and an
// engine with the workspace image. It is slow without /dev/kvm.
//
//	go run ./internal/test/vm                                           the tests of rooms
//	go run ./internal/test/vm -driver cgroupfs ./agent/internal/warden:TestGreed
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth/internal/test/workspace"
)

// usual are the tests of rooms: packages, each with a pattern of its tests.
var usual = []string{
	"./agent/internal/warden:.",
	"./orchestrator/dockerengine:^Test(Warden|WallsOfAContainer|Container)$",
	"./internal/hostboot:^TestVolumes",
	"./internal/test/local:^Test(LocalSessionsThatFillTheDisk|LocalHostileSessions|LocalNeighbours.*|LocalTerminateKillsEverything|SessionsTakeTheRoom.*)$",
}

// built are the programs that these tests build.
var built = []string{"./internal/test/hostile"}

type options struct {
	accel, driver string
	timeout       time.Duration // of each test, and of the machine four times that
}

func main() {
	var o options
	flag.StringVar(&o.accel, "accel", "", "qemu's accelerator; default kvm if there is /dev/kvm, else tcg")
	flag.StringVar(&o.driver, "driver", "systemd", "the engine's cgroup driver, systemd or cgroupfs")
	flag.DurationVar(&o.timeout, "timeout", time.Hour, "the timeout of each package")
	flag.Parse()
	if _, err := os.Stat("/dev/kvm"); o.accel == "" && err == nil {
		o.accel = "kvm"
	} else if o.accel == "" {
		o.accel = "tcg,thread=multi"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tests := flag.Args()
	if len(tests) == 0 {
		tests = usual
	}
	if err := run(ctx, o, tests); err != nil {
		fmt.Fprintln(os.Stderr, "vm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, tests []string) error {
	for _, program := range []string{"qemu-system-x86_64", "mmdebstrap", "mkfs.ext4", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("needs %s: Debian: apt-get install qemu-system-x86 mmdebstrap e2fsprogs docker.io", program)
		}
	}
	dir, err := os.MkdirTemp("", "berth-vm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	top := filepath.Join(dir, "tests")
	if err := prepare(ctx, o, tests, top); err != nil {
		return err
	}
	disk := filepath.Join(dir, "tests.ext4")
	if err := makeDisk(ctx, top, disk, "1G"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*o.timeout)
	defer cancel()
	said := new(bytes.Buffer)
	err = boot(ctx, o, disk, io.MultiWriter(os.Stdout, said))
	if err == nil && !strings.Contains(said.String(), "\nexit code 0\n") {
		err = fmt.Errorf("the tests failed")
	}
	if err != nil {
		console, _ := os.ReadFile(filepath.Join(dir, "console"))
		err = fmt.Errorf("%w; the end of the console:\n%s", err, console[max(0, len(console)-2000):])
	}
	return err
}

// prepare fills the directory that the machine has as /vm.
func prepare(ctx context.Context, o options, tests []string, top string) error {
	for _, sub := range []string{"bin", "built", "tests"} {
		if err := os.MkdirAll(filepath.Join(top, sub), 0o755); err != nil {
			return err
		}
	}
	var plan strings.Builder
	for _, test := range tests {
		pkg, pattern, _ := strings.Cut(test, ":")
		name := path.Base(pkg)
		fmt.Fprintf(&plan, "%s %s -test.timeout %v -test.v -test.run %s\n", name, path.Clean(pkg), o.timeout, pattern)
		if err := command(ctx, "go", "test", "-vet=off", "-c", "-o", filepath.Join(top, "tests", name), pkg); err != nil {
			return err
		}
	}
	for _, pkg := range built {
		if err := command(ctx, "go", "build", "-o", filepath.Join(top, "built", path.Base(pkg)), pkg); err != nil {
			return err
		}
	}
	disk, err := os.ReadFile("internal/hostboot/files/berth-disk")
	if err != nil {
		return err
	}
	for file, text := range map[string]string{"plan": plan.String(), "driver": o.driver, "guest": guest, "bin/go": noGo, "berth-disk": string(disk)} {
		if err := os.WriteFile(filepath.Join(top, file), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return command(ctx, "docker", "save", "-o", filepath.Join(top, "image.tar"), workspace.Image)
}

// command runs a program. Go builds without cgo, because programs run on other systems than this one.
func command(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
