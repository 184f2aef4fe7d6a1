package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var (
	// wanted are the packages that a task may rely on. Their dependencies are added.
	wanted = []string{
		"git", "ca-certificates", "openssh-client", "curl",
		"dash", "bash", "coreutils", "findutils", "grep", "sed", "mawk", "diffutils", "patch", "tar", "gzip", "less",
		"procps", "hostname", "debianutils", "libc-bin", "netbase", "base-files",
	}
	// unwanted are dependencies that the tools above do not need: perl (for git's mail and Subversion commands), and
	// the programs that install packages.
	unwanted = map[string]bool{
		"perl": true, "perl-base": true, "liberror-perl": true, "git-man": true,
		"debconf": true, "debconf-2.0": true, "dpkg": true, "adduser": true, "passwd": true, "init-system-helpers": true,
		"lsb-base": true, "sysvinit-utils": true, "install-info": true,
	}
)

// build makes an image from Debian packages and their dependencies, and imports it.
func build(ctx context.Context, docker *client.Client, image string, names []string, progress func(string)) error {
	version, err := docker.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return fmt.Errorf("asking the engine at %s for its architecture: %w", docker.DaemonHost(), err)
	}
	packages, debs, err := collect(ctx, version.Arch, names, progress)
	if err != nil {
		return err
	}
	return importImage(ctx, docker, image, version.Arch, func(w io.Writer) error { return compose(w, packages, debs, progress) })
}

// A source is a source of packages.
type source interface {
	// index returns the available packages.
	index(ctx context.Context, progress func(string)) (*index, error)
	// fetch returns the contents of packages, in the same order. It checks them against the checksums of the index.
	fetch(ctx context.Context, packages []*debPackage, progress func(string)) ([][]byte, error)
	close()
}

// collect gets the packages from the first source that has them: apt if the machine has it, or else the mirror that the
// user named.
func collect(ctx context.Context, arch string, names []string, progress func(string)) ([]*debPackage, [][]byte, error) {
	var faults []error
	for _, open := range []func() (source, error){
		func() (source, error) { return newApt(ctx, arch) },
		func() (source, error) { return newMirror(arch) },
	} {
		src, err := open()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		packages, debs, err := collectFrom(ctx, src, names, progress)
		src.close()
		if err == nil {
			return packages, debs, nil
		}
		faults = append(faults, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, nil, errors.Join(faults...)
}

func collectFrom(ctx context.Context, src source, names []string, progress func(string)) ([]*debPackage, [][]byte, error) {
	ix, err := src.index(ctx, progress)
	if err != nil {
		return nil, nil, err
	}
	packages, err := ix.closure(names, unwanted)
	if err != nil {
		return nil, nil, err
	}
	debs, err := src.fetch(ctx, packages, progress)
	return packages, debs, err
}

// compose writes the image's files.
func compose(w io.Writer, packages []*debPackage, debs [][]byte, progress func(string)) error {
	fs := newRootfs(w)
	if err := fs.begin(); err != nil {
		return err
	}
	for i, p := range packages {
		files, err := debFiles(debs[i])
		if err == nil {
			err = fs.add(files)
		}
		if err != nil {
			return fmt.Errorf("unpacking %s: %w", p.Name, err)
		}
		if now := (i + 1) * 10 / len(packages); now > i*10/len(packages) {
			progress(fmt.Sprintf("unpacked %d of %d packages, %d %%", i+1, len(packages), (i+1)*100/len(packages)))
		}
	}
	return fs.finish()
}

// errStopped is the error for the writer of an import when the engine stops reading.
var errStopped = errors.New("the engine stopped reading")

// importImage makes an image of one layer from the tar stream of write.
func importImage(ctx context.Context, docker *client.Client, image, arch string, write func(io.Writer) error) error {
	content, w := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		written <- err
	}()
	importErr := readImport(ctx, docker, image, arch, content)
	content.CloseWithError(errStopped) // so that the writer ends
	if err := <-written; err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return importErr
}

func readImport(ctx context.Context, docker *client.Client, image, arch string, content io.Reader) error {
	answer, err := docker.ImageImport(ctx, client.ImageImportSource{Source: content, SourceName: "-"}, image, client.ImageImportOptions{
		Message:  "git and a shell, from Debian packages",
		Platform: ocispec.Platform{OS: "linux", Architecture: arch},
		Changes: []string{
			"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"ENV LANG=C.UTF-8",
			`CMD ["/bin/bash"]`,
		},
	})
	if err != nil {
		return fmt.Errorf("importing the image: %w", err)
	}
	defer answer.Close()
	for messages := json.NewDecoder(answer); ; {
		var message jsonstream.Message
		switch err := messages.Decode(&message); {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("importing the image: %w", err)
		case message.Error != nil:
			return fmt.Errorf("importing the image: %w", message.Error)
		}
	}
}
