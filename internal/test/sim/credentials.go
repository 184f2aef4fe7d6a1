package sim

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
)

// credentials reports whether the hosts have Config.Credentials.
func (p plan) credentials() bool { return p.dice.chance(0.5, "credentials") }

// credential is a Config.Credentials. For a session's git, it says for which session it was asked.
func (h host) credential(ctx context.Context, r berth.CredentialRequest) (berth.Credential, error) {
	if r.Mirror {
		return berth.Credential{}, nil // the remotes of tasks have what they are to have
	}
	s, err := store.Read[*store.Session](ctx, h.store, store.SessionKey(r.SessionID))
	switch {
	case err != nil || s == nil:
		h.rules.broken("Config.Credentials is asked for session %q, which is not there", r.SessionID)
	case s.UserID != r.UserID || s.TaskID != r.TaskID || s.SharingKey.Repository != r.Repository:
		h.rules.broken("Config.Credentials is asked for %s, %s and %s, and session %s is that of %s, %s and %s",
			r.UserID, r.TaskID, r.Repository, r.SessionID, s.UserID, s.TaskID, s.SharingKey.Repository)
	}
	fails := h.fails("credentials", r.SessionID)
	n, _ := h.meddler.count("credentials " + h.replica + r.SessionID)
	pause(ctx, h.plan.dice.upTo(2*time.Second, "credentials", h.replica, r.SessionID, fmt.Sprint(n)))
	switch fails {
	case panics:
		panic(errDisorder)
	case blocks:
		<-ctx.Done()
		return berth.Credential{}, ctx.Err()
	case errs:
		return berth.Credential{}, errDisorder
	}
	return berth.Credential{Username: r.SessionID, Password: secret}, nil
}

// ask lets the git of a command ask for a credential, and prints what breaks the rules.
func ask(ctx context.Context, c fake.Command) {
	begun := time.Now()
	a, err := c.Credential(ctx, agent.Question{URL: "https://" + c.Args[3] + ".git", Push: true})
	switch after := time.Since(begun); {
	case after > 3*time.Minute:
		fmt.Fprintf(c.Stderr, "git has waited for %v", after)
	case err != nil || a.Refusal != "": // it was ended, or is told why
	case a.Username != c.Session || a.Password != secret:
		fmt.Fprintf(c.Stderr, "session %s has the credential of %q", c.Session, a.Username)
	}
}

// complaints is the Stderr of a task's command.
type complaints struct {
	strings.Builder
	to *rules
}

var _ io.Writer = (*complaints)(nil)

// check records what the command has complained about.
func (c *complaints) check(task string) {
	if text := c.String(); text != "" {
		c.to.broken("the command of %s says: %s", task, text)
	}
}
