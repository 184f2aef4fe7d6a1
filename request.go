package berth

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/warmth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// SessionRequest asks for a session.
type SessionRequest struct {
	TaskID     string // required; makes CreateSession idempotent
	UserID     string // required; 1 to 256 bytes of printable UTF-8
	Repository string // required; any remote that git accepts over https, http, ssh, git
	// Branch is checked out. It is a branch, a tag or a commit. "" = the remote's default branch. As for git clone --branch,
	// a name is that of a branch, or else of a tag. It may also be a full name (refs/heads/x, refs/tags/x), a
	// remote-tracking branch (origin/x), or a commit's ID. If no branch and no tag reaches the commit, it is fetched,
	// provided that the server allows that. An abbreviated ID, of 7 digits or more, is looked up among the fetched commits.
	// HEAD is detached after a tag and after a commit.
	Branch string
	// Env is the environment of this session's commands, and of no other's. It wins over Config.Env. The agent keeps it in
	// memory; it is never stored.
	Env    map[string]string
	Labels map[string]string // to find the session again; not for secrets. At most 64
	Author Author            // user.name and user.email of the checkout. Default: the UserID, if git accepts it
	// SelfContained gives the checkout a copy of all objects. Without it, the checkout borrows them from the container's
	// mirror by objects/info/alternates, which costs neither time nor disk. Git, libgit2 and JGit follow that. go-git, and
	// programs built on it, find no objects. Neither does a program that sees the checkout alone, such as one in a nested
	// container. A copy takes the size of the mirror's packs, and the time to write them.
	SelfContained bool
	// NewBranch is begun at what Branch names, and checked out. The remote must have no such branch. "" = none
	NewBranch string
	// Restore is the ID of a task on the same repository, whose work was saved when its session ended: see Config.SaveWork. The checkout
	// begins with it, on the branch that it had, in place of Branch. If nothing is saved, it is as without Restore, and
	// SessionInfo.Restored is false. What is in Config.Snapshots is found by those with whom Config.Sharing lets the user share, and a branch
	// by all. Whose task it was is the host application's concern. "" = none
	Restore string
	// RestoreKept is the ID of a session whose work is kept on an instance: see Config.KeepLost. The checkout begins with it. It is a
	// *StartError with agent.ErrNothingKept if the instance where the session starts does not have it. Whose session it was is the host
	// application's concern. "" = none
	RestoreKept string
	// Submodules checks out the submodules, with theirs, and LFS the files of Git LFS, which needs git-lfs in the image. Git fetches them as
	// the session's commands would: with the session's egress, Config.Env and Env, and with Config.Credentials. Their content is not in
	// the mirror, so each session fetches it. Without LFS, its files are pointers
	Submodules, LFS bool
	// Snapshot starts the session with the work that Session.Snapshot has kept: the name of a snapshot that the same user has made of
	// the same repository, or the ID of any user's. The snapshot says what is checked out; Branch counts for Config.Sharing alone.
	// The ID of another user's snapshot needs a Config.Authorize that admits it. "" = none
	Snapshot string
	// IdleTimeout ends the session when it has had no running command and no KeepAlive for so long.
	// 0 = Config.SessionIdleTimeout, -1 = never.
	IdleTimeout time.Duration
	// MaxLifetime ends the session, as ErrExpired, when it has been active for so long, whatever it does. The planner measures it by its
	// monotonic clock: a session may live 12 s longer, and a tenth longer after a change of the planner. 0 = without bound
	MaxLifetime time.Duration
}

// String says whose task the request is for and on which repository. It shows neither Env nor a credential, and
// neither do fmt and log/slog, which use it. It does not help where they look into another value: fmt shows all of a request
// in an unexported field, and encoding/json, with slog's JSONHandler, all of a request that is a part of a value.
func (r SessionRequest) String() string {
	repository := "a repository that is no remote"
	if remote, err := naming.ParseRemote(r.Repository); err == nil {
		repository = remote.URL
	}
	return fmt.Sprintf("berth.SessionRequest of user %q for task %q on %s", r.UserID, r.TaskID, repository)
}

// GoString is String.
func (r SessionRequest) GoString() string { return r.String() }

// LogValue implements slog.LogValuer: it is String.
func (r SessionRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Author is who commits in a checkout.
type Author struct{ Name, Email string }

// The bounds of a request.
const (
	maxUserID   = 256
	maxLabels   = 64
	maxAuthor   = 256
	maxEnvBytes = 256 << 10 // of all names and values; the kernel's own bound for one string is 128 KiB
	maxEnvValue = 128<<10 - 1
)

// parse returns the request in its parsed form, and as Config.Authorize sees it. The error joins all that is wrong with it.
func (r SessionRequest) parse(cfg *Config) (*session.Request, error) {
	var errs []error
	bad := func(field, reason string) {
		errs = append(errs, &FieldError{Field: "SessionRequest." + field, Reason: reason})
	}
	must := func(field string, err error) {
		if err != nil {
			bad(field, err.Error())
		}
	}
	must("TaskID", naming.ValidateTaskID(r.TaskID))
	if !isUserID(r.UserID) {
		bad("UserID", userIDRule)
	}
	remote, err := naming.ParseRemote(r.Repository)
	must("Repository", err)
	r.checkWork(must)
	must("Env", checkEnv(r.Env))
	if len(r.Labels) > maxLabels {
		bad("Labels", fmt.Sprintf("must be at most %d", maxLabels))
	}
	for k, v := range r.Labels {
		must("Labels", naming.ValidateLabel(k, v))
	}
	if !author(r.Author.Name) || !author(r.Author.Email) {
		bad("Author", fmt.Sprintf("must be at most %d bytes of printable UTF-8 without '<' and '>'", maxAuthor))
	}
	r.checkIdle(bad)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	r.Labels, r.Env = maps.Clone(r.Labels), maps.Clone(r.Env)
	r.Author.Name = firstNamed(r.Author.Name, without(r.UserID, "<>"), fallbackAuthor.Name)
	r.Author.Email = firstNamed(r.Author.Email, without(r.UserID, "<> "), fallbackAuthor.Email)
	if r.IdleTimeout == 0 {
		r.IdleTimeout = cfg.SessionIdleTimeout
	}
	ask, subject := r.access(remote, cfg)
	key, err := cfg.Sharing.key(ask)
	if err != nil {
		return nil, err
	}
	if err := cfg.checkImage(key.Repository); err != nil {
		return nil, err
	}
	snapshot, foreign, scope, err := cfg.snapshot(r.Snapshot, ask)
	if err != nil {
		return nil, err
	}
	return &session.Request{
		Snapshot: snapshot, SnapshotScope: scope, Foreign: foreign,
		TaskID: r.TaskID, UserID: r.UserID, Remote: remote, Key: key, ContainerName: key.ContainerName(cfg.Name),
		Credential: orchestrator.Credential{Username: remote.Username, Password: remote.Password},
		Branch:     r.Branch, Env: r.Env, Labels: r.Labels, Author: agent.Author(r.Author), IdleTimeout: r.IdleTimeout, MaxLifetime: r.MaxLifetime,
		SelfContained: r.SelfContained, Submodules: r.Submodules, LFS: r.LFS, Access: subject, NewBranch: r.NewBranch, Restore: r.Restore, RestoreKept: r.RestoreKept,
	}, nil
}

// checkWork checks what a session begins with.
func (r SessionRequest) checkWork(must func(field string, err error)) {
	if r.Branch != "" {
		must("Branch", naming.ValidateBranch(r.Branch))
	}
	if r.NewBranch != "" {
		must("NewBranch", naming.ValidateBranch(r.NewBranch))
	}
	if r.Restore != "" {
		must("Restore", naming.ValidateTaskID(r.Restore))
	}
	if r.Restore != "" && r.Snapshot != "" {
		must("Restore", errors.New("cannot be used with Snapshot"))
	}
	switch {
	case r.RestoreKept != "" && !session.IsID(r.RestoreKept):
		must("RestoreKept", errors.New("must be the ID of a session"))
	case r.RestoreKept != "" && r.Restore+r.Snapshot+r.NewBranch != "":
		must("RestoreKept", errors.New("cannot be used with Restore, Snapshot and NewBranch"))
	}
	if r.MaxLifetime < 0 || r.MaxLifetime > longest {
		must("MaxLifetime", errors.New("must be from 0 to 100 years"))
	}
}

func (r SessionRequest) checkIdle(bad func(field, reason string)) {
	if r.IdleTimeout < -1 {
		bad("IdleTimeout", "must not be negative, except -1 for never")
	}
	if r.IdleTimeout > longest {
		bad("IdleTimeout", tooLong)
	}
}

// warmth returns the sharing key for which Provider.Warm and Cool are called.
func (c *Config) warmth(repository, branch string) (warmth.Ask, error) {
	remote, err := naming.ParseRemote(repository)
	if err != nil {
		return warmth.Ask{}, &FieldError{Field: "repository", Reason: err.Error()}
	}
	if branch != "" {
		if err := naming.ValidateBranch(branch); err != nil {
			return warmth.Ask{}, &FieldError{Field: "branch", Reason: err.Error()}
		}
	}
	if c.Sharing.User || c.Sharing.Tenant != "" {
		return warmth.Ask{}, &FieldError{Field: "Config.Sharing", Reason: "separates users or tenants, so that a repository has no container of its own"}
	}
	key, err := c.Sharing.key(AccessRequest{Repository: remote.Repository, Branch: branch})
	if err != nil {
		return warmth.Ask{}, err
	}
	if key.Private() {
		return warmth.Ask{}, &FieldError{Field: "Config.Sharing", Reason: fmt.Sprintf("makes %v private: no session could join", key.Repository)}
	}
	if err := c.checkImage(key.Repository); err != nil {
		return warmth.Ask{}, err
	}
	return warmth.Ask{
		Key: key, Name: key.ContainerName(c.Name), Remote: remote.URL, Branch: branch,
		Credential: orchestrator.Credential{Username: remote.Username, Password: remote.Password},
	}, nil
}

const userIDRule = "must be 1 to 256 bytes of printable UTF-8"

func isUserID(s string) bool { return s != "" && len(s) <= maxUserID && printable(s) }

// printable reports whether a text shows as itself, in a log, too: it has no control characters, no direction overrides and
// no characters of no width.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !gitremote.Shows(r) }) < 0
}

func author(s string) bool {
	shown := strings.NewReplacer("\u200c", "", "\u200d", "", "\ufe0f", "").Replace(s) // parts of letters of some scripts, and of emoji
	return len(s) <= maxAuthor && printable(shown) && !strings.ContainsAny(s, "<>")
}

// fallbackAuthor commits for a user whose ID git does not accept as a name: git would refuse to commit.
var fallbackAuthor = Author{Name: "berth", Email: "berth@localhost"}

// firstNamed returns the first text that git accepts as a name: git cuts some characters off both ends, and something must
// be left.
func firstNamed(texts ...string) string {
	for _, s := range texts {
		if strings.Trim(s, " .,:;<>\"\\'") != "" {
			return s
		}
	}
	return ""
}

// without returns s without the characters of a set.
func without(s, set string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(set, r) {
			return -1
		}
		return r
	}, s)
}

// checkEnv returns why a map cannot be an environment. The error never holds a value.
func checkEnv(env map[string]string) error {
	total := 0
	for k, v := range env {
		switch {
		case k == "" || strings.ContainsAny(k, "=\x00"):
			return fmt.Errorf("the name %.100q is empty or holds '=' or NUL", k)
		case strings.ContainsRune(v, 0):
			return fmt.Errorf("the value of %.100q holds NUL", k)
		case len(k)+len(v) > maxEnvValue:
			return fmt.Errorf("%.100q is longer than %d bytes", k, maxEnvValue)
		}
		total += len(k) + len(v)
	}
	if total > maxEnvBytes {
		return fmt.Errorf("all together are longer than %d bytes", maxEnvBytes)
	}
	return nil
}

// image is the image of a repository's container. It panics if ImageFor does.
func (c *Config) image(r naming.Repository) string {
	if c.ImageFor != nil {
		if image := c.ImageFor(r); image != "" {
			return image
		}
	}
	return c.Image
}

var imageDigest = regexp.MustCompile(`^[^@\s]+@sha256:[0-9a-f]{64}$`)

// byDigest reports whether the name of an image says what is in it.
func byDigest(image string) bool { return imageDigest.MatchString(image) }

// checkImage returns an error if the image of a repository is not named by digest, but must be.
func (c *Config) checkImage(r naming.Repository) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &FieldError{Field: "Config.ImageFor", Reason: fmt.Sprintf("panicked for %s: %v", r, p)}
		}
	}()
	if image := c.image(r); c.RequireImageDigest && !byDigest(image) {
		return &FieldError{Field: "Config.ImageFor", Reason: fmt.Sprintf("must return name@sha256:... for %v, not %q, because "+
			"RequireImageDigest is set", r, image)}
	}
	return nil
}
