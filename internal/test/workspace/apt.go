package workspace

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// apt gets packages through the machine's own apt, from its archives and with its checks of signatures. It keeps lists
// and packages in a directory of its own: it installs nothing, changes nothing on the machine, and does not need root.
type apt struct {
	dir string
}

// newApt prepares apt for an architecture. It fails if apt is missing or the machine has another architecture.
func newApt(ctx context.Context, arch string) (*apt, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "apt-config"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, err
		}
	}
	out, err := exec.CommandContext(ctx, "apt-config", "dump", "--format=%v", "APT::Architecture").Output()
	if err != nil {
		return nil, fmt.Errorf("apt-config: %w", err)
	}
	if own := strings.TrimSpace(string(out)); own != arch {
		return nil, fmt.Errorf("apt has packages for %s, the engine is %s", own, arch)
	}
	dir, err := os.MkdirTemp("", "berth-apt-")
	if err != nil {
		return nil, err
	}
	for _, below := range []string{"state/lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(dir, below), 0o700); err != nil {
			os.RemoveAll(dir)
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), nil, 0o600); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &apt{dir: dir}, nil
}

func (a *apt) close() { os.RemoveAll(a.dir) }

func (a *apt) command(ctx context.Context, tool string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, tool, append([]string{
		"-q",
		"-o", "Dir::State=" + filepath.Join(a.dir, "state"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"), // empty: what the machine has installed may be in no archive
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "APT::Sandbox::User=root", // its other user may not read the directory
		"-o", "Acquire::Retries=3",
	}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	return cmd
}

// index brings apt's lists up to date and reads them.
func (a *apt) index(ctx context.Context, progress func(string)) (*index, error) {
	progress("reading package lists by apt")
	// One of several archives may be broken. The error does not matter if the lists then have the needed packages.
	updateErr := quiet(a.command(ctx, "apt-get", "update"))
	var lists bytes.Buffer
	dump := a.command(ctx, "apt-cache", "dumpavail")
	dump.Stdout = &lists
	if err := quiet(dump); err != nil {
		return nil, errors.Join(updateErr, err)
	}
	ix, err := readIndex(&lists)
	if err != nil {
		return nil, errors.Join(updateErr, err)
	}
	if p := ix.byName[wanted[0]]; p == nil || p.Filename == "" {
		return nil, errors.Join(updateErr, fmt.Errorf("apt knows of no package %s to download", wanted[0]))
	}
	return ix, nil
}

// fetch downloads packages and returns their contents in the same order.
func (a *apt) fetch(ctx context.Context, packages []*debPackage, progress func(string)) ([][]byte, error) {
	args := []string{"download"}
	for _, p := range packages {
		args = append(args, p.Name+"="+p.Version)
	}
	cmd := a.command(ctx, "apt-get", args...)
	cmd.Dir = filepath.Join(a.dir, "debs")
	lines, w := io.Pipe()
	cmd.Stdout = w
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		count(lines, len(packages), progress)
	}()
	err := quiet(cmd)
	w.Close()
	<-counted
	if err != nil {
		return nil, err
	}
	return readDebs(cmd.Dir, packages)
}

// count reports apt's progress in tenths. apt writes one line that begins with Get: for each package.
func count(lines io.Reader, total int, progress func(string)) {
	scanner := bufio.NewScanner(lines)
	for n := 0; scanner.Scan(); {
		if !strings.HasPrefix(scanner.Text(), "Get:") {
			continue
		}
		n++
		if n*10/total > (n-1)*10/total {
			progress(fmt.Sprintf("downloading package %d of %d, %d %%", n, total, n*100/total))
		}
	}
	io.Copy(io.Discard, lines) // never let apt wait for a reader
}

// readDebs reads the packages in a directory. apt has chosen the names of the files.
func readDebs(dir string, packages []*debPackage) ([][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return nil, err
	}
	bySum := make(map[string][]byte)
	for _, path := range paths {
		deb, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		bySum[checksum(deb)] = deb
	}
	debs := make([][]byte, len(packages))
	for i, p := range packages {
		if debs[i] = bySum[p.SHA256]; debs[i] == nil {
			return nil, fmt.Errorf("apt brought no package %s %s with the checksum of its list", p.Name, p.Version)
		}
	}
	return debs, nil
}

// quiet runs a command. Its error includes the command's stderr.
func quiet(cmd *exec.Cmd) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
