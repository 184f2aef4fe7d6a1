// Command dashboard is the program to copy for everything by which a pool is watched. One HTTP server has
//
//	/         the dashboard
//	/metrics  the metrics, for Prometheus
//	/healthz  Provider.Health: 200 if all is well, otherwise 503 and what is wrong
//
// serve.go is the part to copy. The other files make a pool and a small load on it, which goes on until Ctrl-C: users who begin
// tasks, work in them and end them. The pool is on this machine's Docker engine, or, if none answers or with -fake, on fakes. The
// program leaves nothing behind.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/berth-go/berth/examples/internal/narrate"
)

// options are the flags.
type options struct {
	listen  string
	fake    bool
	actions bool
	users   int
	task    time.Duration
	pool    string // its name
}

func main() {
	o := options{pool: "dashboard-" + strings.ToLower(rand.Text()[:8])} // two runs may share an engine
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`address` of the HTTP server. It asks for no password")
	flag.BoolVar(&o.fake, "fake", false, "make the pool of fakes, without Docker")
	flag.BoolVar(&o.actions, "actions", false, "let everybody who reaches the server end tasks and drain instances")
	flag.IntVar(&o.users, "users", 6, "how many users work")
	flag.DurationVar(&o.task, "task", 20*time.Second, "how long their tasks last, on average")
	flag.Parse()
	if flag.NArg() > 0 || o.users < 0 || o.task <= 0 {
		fmt.Fprintln(os.Stderr, "dashboard: it takes no arguments beside its flags, and users and times are not negative")
		flag.Usage()
		os.Exit(2)
	}
	narrate.Main("dashboard", func(ctx context.Context) error {
		return run(ctx, o, narrate.NewPrinter(os.Stdout), nil)
	})
}
