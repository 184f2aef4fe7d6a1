package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Prepare says how the workspace of a repository is prepared: commands that run once on a fresh checkout. What they leave there and in
// Dirs, beside the files of the commit, is a layer that the checkouts of sessions begin with. Without Run and Devcontainer nothing is prepared;
// sessions begin with what Client.Promote has made a layer.
type Prepare struct {
	// Run are the commands, such as {"npm", "ci"}. They run one after another in a checkout of the commit, in a room and under a uid of
	// their own, with the limits and the network of a session, and without any session's environment. They hold no secret.
	Run [][]string
	// Files are patterns of path.Match for the files of the commit that decide whether the commands must run again. A pattern without
	// a slash is of the name in any directory. If a commit has no such file, the commands run for each commit. nil = LockFiles
	Files []string
	// Dirs are directories below the home that belong to the layer: "go/pkg/mod". At most 8, none in another.
	Dirs     []string
	MaxBytes int64         // bounds the layer. A larger one is not used. 0 = DefaultPrepareBytes
	Timeout  time.Duration // bounds the making of the layer. 0 = DefaultPrepareTimeout
	// Devcontainer makes the agent read .devcontainer/devcontainer.json of the commit: its onCreateCommand and updateContentCommand run
	// before Run, and its containerEnv and remoteEnv are in the environment of these commands and of all commands of sessions, under what
	// else is there. Nothing else of it is used: see Prepared.Unsupported.
	Devcontainer bool
	// Wait is how long a session waits for a layer that is not there yet. Then it starts without. 0 = it does not wait
	Wait time.Duration
}

// The defaults of Prepare.
const (
	DefaultPrepareBytes   = 4 << 30
	DefaultPrepareTimeout = 30 * time.Minute
)

// LockFiles are the names of the files that decide, by default, whether a workspace must be prepared again: those in which the tools of
// known ecosystems say what is to be installed.
func LockFiles() []string {
	return []string{
		"go.mod", "go.sum", "go.work", "go.work.sum",
		"package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb",
		"requirements*.txt", "constraints*.txt", "pyproject.toml", "setup.py", "setup.cfg", "poetry.lock", "Pipfile.lock", "uv.lock", "pdm.lock",
		"Cargo.toml", "Cargo.lock", "Gemfile", "Gemfile.lock", "composer.json", "composer.lock", "mix.lock", "pubspec.lock", "deno.lock",
		"pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.lockfile", "libs.versions.toml",
		"packages.lock.json", "*.csproj", "paket.lock", "conanfile.txt", "conan.lock", "vcpkg.json", "Package.resolved", "flake.lock",
	}
}

// IsZero reports whether nothing is prepared.
func (p Prepare) IsZero() bool { return len(p.Run) == 0 && !p.Devcontainer }

// Check returns why p cannot be used; "" if it can.
func (p Prepare) Check() (reason string) {
	if p.Wait < 0 {
		return "Wait must not be negative"
	}
	return wire.CheckPrepare(*p.wire(""))
}

// wire returns p with its defaults, as it is sent.
func (p Prepare) wire(image string) *wire.Prepare {
	files := p.Files
	if files == nil {
		files = LockFiles()
	}
	return &wire.Prepare{
		Run: p.Run, Devcontainer: p.Devcontainer, Files: slices.Clone(files), Dirs: p.Dirs, Image: image,
		MaxBytes: cmp.Or(p.MaxBytes, DefaultPrepareBytes), Timeout: cmp.Or(p.Timeout, DefaultPrepareTimeout),
	}
}

// Preparation is a request to prepare the workspace of a repository.
type Preparation struct {
	URL     string // of the repository; holds no credential
	Branch  string // see Session.Branch
	Dir     string // see Session.Dir
	Image   string // tells the container's image from others. A layer is for sessions with the same Image
	Prepare Prepare
	Env     map[string]string // of the commands; kept in the agent's memory only
	// Look asks for Prepared.Key, and for the Commit if there is a layer. Nothing is made, and Prepare need not have commands.
	Look bool
}

// Prepared says what became of a Preparation.
type Prepared struct {
	Commit string        // of the layer that sessions of the branch begin with; "" = there is none
	Made   bool          // this call has made it
	Took   time.Duration // how long the commands ran, also if they failed
	Bytes  int64         // of the layer that was made
	// Failed says why there is no layer, with the last words of a command; nil = nothing has failed. It is tried again after an hour, or
	// for a commit whose files differ.
	Failed *PrepareError
	// Unshared says why no session can use a layer, so that none is made. "" = they can, as far as this is known.
	Unshared string
	Size     int64 // bytes on disk of the mirror, with its layers
	// Key has what decides, as Prepare.Files says, in 32 hexadecimal digits: the commands, the image and the files of the commit. "" = it is
	// not known. With the Commit it names a layer.
	Key string
	// Unsupported names what the commit's devcontainer.json has and nothing uses, or says why the file cannot be read.
	Unsupported []string
}

// PrepareError says why a workspace could not be prepared. Sessions start without a prepared layer.
type PrepareError struct {
	Message string
	Known   bool // an earlier call has failed so, and nothing was tried again
}

// Error implements error.
func (e *PrepareError) Error() string { return "the workspace was not prepared: " + e.Message }

// Prepare makes the prepared layer for sessions of a branch, unless there is one that they use. It looks at the mirror as it is, and
// returns when that is done, after Prepare.Timeout at most for each layer that is made before it: concurrent calls for one layer wait
// for one making. Sessions that are open keep what they have. progress, unless nil, is called from this goroutine.
//
// Prepare returns errors.ErrUnsupported if the agent is too old for it.
func (c *Client) Prepare(ctx context.Context, p Preparation, progress func(Progress)) (Prepared, error) {
	if p.Prepare.IsZero() && !p.Look {
		return Prepared{}, nil
	}
	line, err := c.call(ctx, wire.Call{Op: wire.OpPrepare, Prepare: &wire.Preparation{
		Look: p.Look,
		URL:  p.URL, Branch: p.Branch, Dir: p.Dir, Env: variables(p.Env), Prepare: *p.Prepare.wire(p.Image),
	}}, progress)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeInvalid && e.Message == "unknown operation" {
		return Prepared{}, fmt.Errorf("the agent is too old to prepare workspaces; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return Prepared{}, err
	}
	if line.Prepared == nil {
		return Prepared{}, errIncomplete
	}
	return preparedOf(line.Prepared), nil
}

func preparedOf(made *wire.Prepared) Prepared {
	done := Prepared{
		Commit: made.Commit, Made: made.Made, Took: made.Took, Bytes: made.Bytes, Key: made.Key,
		Unshared: gitremote.Line(made.Unshared, gitremote.MaxWords), Size: made.Size,
	}
	for _, name := range made.Unsupported {
		done.Unsupported = append(done.Unsupported, gitremote.Line(name, gitremote.MaxWords))
	}
	if made.Failed != "" {
		done.Failed = &PrepareError{Message: gitremote.Line(made.Failed, gitremote.MaxWords), Known: made.Known}
	}
	return done
}
