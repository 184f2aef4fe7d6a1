// Command preview lets a browser use the servers that run in sessions, such as the development servers of web applications: websockets and
// hot reload work, each port has a host name of its own, and only those get in who were given a link.
//
// proxy.go is the part to copy. The rest makes a session on a repository, runs a command there, and prints the link to its port:
//
//	go run ./examples/preview -image IMAGE -port 5173 https://github.com/you/app npm run dev
//
// Browsers take every name below localhost for this machine, so it works without DNS.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/narrate"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "`address` of the HTTP server")
	image := flag.String("image", "", "the `image` of the container, with git and what the command needs")
	port := flag.Uint("port", 3000, "the port that the command listens on")
	flag.Parse()
	if flag.NArg() < 2 || *port == 0 || *port >= 1<<16 {
		fmt.Fprintln(os.Stderr, "usage: preview [flags] REPOSITORY COMMAND...")
		flag.PrintDefaults()
		os.Exit(2)
	}
	narrate.Main("preview", func(ctx context.Context) error {
		cfg := berth.Config{Name: "preview-" + strings.ToLower(rand.Text()[:8]), Image: *image}
		return run(ctx, *listen, cfg, flag.Arg(0), flag.Args()[1:], uint16(*port), narrate.NewPrinter(os.Stdout))
	})
}

// run serves until ctx or the command ends, and removes everything.
func run(ctx context.Context, listen string, cfg berth.Config, repository string, command []string, port uint16, out *narrate.Printer) (err error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	defer l.Close()
	provider, err := berth.NewLocalProvider(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() {
		clear, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		err = errors.Join(err, provider.Destroy(clear))
	}()
	s, err := provider.CreateSession(ctx, berth.SessionRequest{TaskID: "preview", UserID: "you", Repository: repository})
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	_, listens, _ := net.SplitHostPort(l.Addr().String())
	p := newProxy(&proxy{sessions: provider, domain: "preview.localhost:" + listens, key: key})
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(l) // ends with Close
	defer server.Close()
	out.Say("%s runs in a session. Its port %d is %s", strings.Join(command, " "), port, p.Link(s, port, 24*time.Hour))
	cmd := s.Command(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil // as the user wished
	}
	return err
}
