package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A Question is what the git of a session asks: a credential for a remote of HTTP, or what ssh asks its agent for. It has what the session says: a session can ask for
// any URL, and can say Push or not.
type Question struct {
	ID      string
	Number  uint64 // counts the questions that the agent has handed out
	Session string
	URL     string // without a user
	Push    bool   // git is to push; otherwise it reads
	// Rejected says that the remote has refused the last answer for the URL.
	Rejected bool
	// SSH is a request of ssh-agent's protocol, without its length: for the list of keys, or for a signature. URL is "" then. Bind is
	// the message session-bind@openssh.com that came before; nil = none did.
	SSH, Bind []byte
}

// An Answer answers a Question. The zero value says that there is no credential: git then goes on without one.
type Answer struct {
	Username, Password string
	Refusal            string // unless empty, git ends, and shows it. ssh shows none, and goes on without the agent
	SSH                []byte // the answer to Question.SSH
}

// String says whether there is a credential, and does not show it.
func (a Answer) String() string {
	switch {
	case a.Refusal != "":
		return fmt.Sprintf("agent.Answer: refused: %s", a.Refusal)
	case len(a.SSH) > 0:
		return "agent.Answer to ssh"
	case a.Username == "" && a.Password == "":
		return "agent.Answer without a credential"
	}
	return "agent.Answer with a credential"
}

// GoString is String.
func (a Answer) GoString() string { return a.String() }

// LogValue implements slog.LogValuer: it is String.
func (a Answer) LogValue() slog.Value { return slog.StringValue(a.String()) }

// Questions takes questions of sessions that were opened with Credentials, and waits until there is one, but for no longer than 20 s. seen
// is the highest Number of the questions that the caller has got. The agent gives each question to one client. Only if that is away, or
// does not answer for 30 s, it gives the question to another one. A git waits for 2 min at most, and for 20 s if no client takes
// questions.
//
// Questions returns errors.ErrUnsupported if the agent is too old for questions.
func (c *Client) Questions(ctx context.Context, seen uint64) ([]Question, error) {
	var some []wire.Question
	path := fmt.Sprintf("questions?manager=%s&seen=%d", url.QueryEscape(c.opts.Manager), seen)
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &some, timeout: longPoll}); err != nil {
		return nil, err
	}
	all := make([]Question, len(some))
	for i, q := range some {
		all[i] = Question{
			ID: q.ID, Number: q.Number, Session: q.Session, URL: gitremote.Line(q.URL, wire.MostQuestion), Push: q.Push, Rejected: q.Rejected,
			SSH: q.SSH, Bind: q.Bind,
		}
	}
	return all, nil
}

// AnswerQuestion answers a question. An answer that comes too late is dropped. The agent keeps no answer.
func (c *Client) AnswerQuestion(ctx context.Context, id string, a Answer) error {
	body, err := json.Marshal(wire.Answer(a))
	if err != nil {
		return err
	}
	return c.do(ctx, request{method: http.MethodPut, path: "questions/" + url.PathEscape(id), body: body, timeout: short})
}
