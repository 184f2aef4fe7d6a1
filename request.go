package berth

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// SessionRequest asks for a session.
type SessionRequest struct {
	TaskID     string            // required; makes CreateSession idempotent
	UserID     string            // required; 1 to 256 bytes of printable UTF-8
	Repository string            // required; any remote that git accepts over https, http, ssh, git
	Branch     string            // "" = the remote's default branch
	Env        map[string]string // for the commands of this session, and no other. Kept by the agent in memory, never stored
	Labels     map[string]string // to find it again; not for secrets. At most 64
	Author     Author            // user.name and user.email of the checkout; default: the UserID, if git takes it for one
	// IdleTimeout ends the session when it has had no running command and no KeepAlive for so long.
	// 0 = Config.SessionIdleTimeout, -1 = never
	IdleTimeout time.Duration
}

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

// request is a SessionRequest that was found fit.
type request struct {
	SessionRequest
	remote naming.Remote
	key    naming.Key
	name   string // of the container
	cred   orchestrator.Credential
}

// check returns the request in its parsed form, or all that is wrong with it.
func (r SessionRequest) check(cfg *Config) (*request, error) {
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
	if r.UserID == "" || len(r.UserID) > maxUserID || !printable(r.UserID) {
		bad("UserID", fmt.Sprintf("must be 1 to %d bytes of printable UTF-8", maxUserID))
	}
	remote, err := naming.ParseRemote(r.Repository)
	must("Repository", err)
	if r.Branch != "" {
		must("Branch", naming.ValidateBranch(r.Branch))
	}
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
	if r.IdleTimeout < -1 {
		bad("IdleTimeout", "must not be negative, other than -1 for never")
	}
	if r.IdleTimeout > longest {
		bad("IdleTimeout", tooLong)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	r.Labels, r.Env = maps.Clone(r.Labels), maps.Clone(r.Env)
	r.Author.Name = firstNamed(r.Author.Name, without(r.UserID, "<>"), fallbackAuthor.Name)
	r.Author.Email = firstNamed(r.Author.Email, without(r.UserID, "<> "), fallbackAuthor.Email)
	if r.IdleTimeout == 0 {
		r.IdleTimeout = cfg.SessionIdleTimeout
	}
	key := naming.Key{Repository: remote.Repository}
	if cfg.ScopeFor != nil {
		key.Scope = cfg.ScopeFor(r)
		if len(key.Scope) > maxUserID || !printable(key.Scope) {
			return nil, &FieldError{Field: "Config.ScopeFor", Reason: fmt.Sprintf("must give at most %d bytes of printable UTF-8", maxUserID)}
		}
	}
	return &request{
		SessionRequest: r, remote: remote, key: key, name: key.ContainerName(cfg.Name),
		cred: orchestrator.Credential{Username: remote.Username, Password: remote.Password},
	}, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) < 0
}

func author(s string) bool {
	return len(s) <= maxAuthor && printable(s) && !strings.ContainsAny(s, "<>")
}

// fallbackAuthor commits for a user whose ID git would take for no name: it refuses to commit then.
var fallbackAuthor = Author{Name: "berth", Email: "berth@localhost"}

// firstNamed returns the first text of which something is left when git has cut off what it wants at neither end of a
// name.
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

// checkEnv refuses what cannot be an environment. Its error never holds a value.
func checkEnv(env map[string]string) error {
	total := 0
	for k, v := range env {
		switch {
		case k == "" || strings.ContainsAny(k, "=\x00"):
			return fmt.Errorf("the name %q is empty or holds '=' or NUL", k)
		case strings.ContainsRune(v, 0):
			return fmt.Errorf("the value of %q holds NUL", k)
		case len(k)+len(v) > maxEnvValue:
			return fmt.Errorf("%q is longer than %d bytes", k, maxEnvValue)
		}
		total += len(k) + len(v)
	}
	if total > maxEnvBytes {
		return fmt.Errorf("all together are longer than %d bytes", maxEnvBytes)
	}
	return nil
}
