// Command agenthost is a backend that runs coding agents for its users: the program to begin with. It is small, and complete: users have
// tokens and quotas, an agent goes on whatever becomes of the client and of the backend, and its output can be read from any offset, at any
// time, through any replica.
//
// A task is a session with one agent in it. The agent is any program that takes its prompt as its last argument, works in the checkout, and
// reads what is sent to it later from its standard input.
//
//	PUT    /api/tasks/{id}               creates the task and starts its agent: {"repository", "branch", "prompt"}. May be repeated
//	GET    /api/tasks                    lists the tasks of the user
//	GET    /api/tasks/{id}               says how the task and its agent are
//	DELETE /api/tasks/{id}               ends the task and removes its checkout. May be repeated
//	POST   /api/tasks/{id}/cancel        ends the agent; the checkout stays
//	GET    /api/tasks/{id}/output        sends what the agent writes, from byte ?from=N on, as server-sent events or as it is
//	POST   /api/tasks/{id}/input         gives the body to the agent's standard input
//	GET    /api/tasks/{id}/files/{path}  reads a file, or lists a directory; PUT writes a file, DELETE removes it
//	GET    /api/tasks/{id}/diff          sends what the task has changed, as a patch
//	POST   /api/tasks/{id}/push          commits what is uncommitted and pushes: {"branch", "message"}
//	GET    /api/tasks/{id}/terminal      is the websocket of a terminal in the task
//
// A client sends its token as a bearer token. For browsers there are /login, / with the user's tasks, and /tasks/{id}/terminal. Beside these
// there are the dashboard of the pool (/dashboard/), /metrics for Prometheus, with the token of an administrator, and /healthz.
//
// The pool is on this machine's Docker engine. To have it on EC2, call berth.NewEC2SharedProvider in place of berth.NewLocalProvider.
//
//	go run ./examples/agenthost -new-token alice
//	go run ./examples/agenthost -agent 'sh -c "echo working on: $0; sleep 60"'
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-go/berth"
)

func main() {
	var o options
	cfg := berth.Config{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` of the HTTP server. Put a proxy with TLS in front of it")
	flag.StringVar(&o.database, "database", "agenthost.db", "a `file` for SQLite, or the postgres:// URL of a database that replicas share")
	flag.StringVar(&o.tokens, "tokens", "agenthost.tokens", "the `file` with the users and the hashes of their tokens")
	flag.StringVar(&o.agent, "agent", "sh -c", "the agent's `command`, which gets the prompt as its last argument. It may be quoted as in a shell")
	flag.StringVar(&cfg.Name, "pool", "agenthost", "the `name` of the pool")
	flag.StringVar(&cfg.Image, "image", "", "the `image` of the containers; it has git, sh and the agent")
	flag.IntVar(&cfg.MaxTasksPerInstance, "tasks", 10, "how many tasks there may be at once")
	flag.IntVar(&cfg.UserLimits.Sessions, "user-tasks", 3, "how many tasks a user may have at once")
	flag.IntVar(&cfg.UserLimits.StartsPerMinute, "user-starts", 10, "how many tasks a user may begin in a minute")
	newToken := flag.String("new-token", "", "make a token for a `user`, print it, and end")
	admin := flag.Bool("admin", false, "the new token is that of an administrator, who sees the tasks of all")
	flag.Parse()
	// The first signal ends the program with grace, the second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := start(ctx, o, cfg, *newToken, *admin); err != nil {
		fmt.Fprintf(os.Stderr, "agenthost: %v\n", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, o options, cfg berth.Config, newToken string, admin bool) error {
	if newToken != "" {
		token, err := addToken(o.tokens, user{Name: newToken, Admin: admin})
		if err == nil {
			fmt.Println(token)
		}
		return err
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	return run(ctx, l, o, cfg)
}
