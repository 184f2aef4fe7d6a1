package local_test

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// ports are deeds of sessions that take the local ports of their container.
var ports = []deed{
	{"all ports of TCP, by many processes", func(t *testing.T, s *scene) { s.takePorts(t, "tcp spread", s.mallory) }},
	{"all ports of UDP", func(t *testing.T, s *scene) { s.takePorts(t, "udp spread", s.mallory) }},
	{"all ports, by sockets on their way", func(t *testing.T, s *scene) { s.takePorts(t, "tcp send", s.mallory) }},
	{"all ports, by two", func(t *testing.T, s *scene) { s.takePorts(t, "tcp spread", s.mallory, s.eve) }},
	{"all ports, by connections that are over", func(t *testing.T, s *scene) {
		out := s.run(t, s.mallory, "$h ports tcp leave")
		if words := strings.Fields(out); len(words) < 2 || number(words[1]) < 20_000 {
			t.Errorf("the hostile session has left too few to show anything: %s", out)
		}
		s.run(t, s.neighbour.Session, "$h connect")
	}},
	{"the machine's table of connections", func(t *testing.T, s *scene) { s.takeConnections(t) }},
}

// takeConnections lets a session send to 100,000 targets, all at the address of the git server, which is this machine.
func (s *scene) takeConnections(t *testing.T) {
	t.Helper()
	remote, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := netip.ParseAddr(remote.Hostname()); err != nil {
		testenv.Missing(t, "needs a git server with an address: %v", err)
	}
	said, stop := s.keep(t, s.mallory, "exec $h flow "+remote.Hostname(), "all")
	defer stop()
	t.Log(strings.TrimSpace(said))
	const most = 10_000 // 4,096 at once, and 100 in a second
	if words := strings.Fields(said); len(words) < 2 || number(words[1]) < 1000 || number(words[1]) > most {
		t.Errorf("the hostile session sends to too many targets, or to too few to show anything: %s", said)
	}
	const count = "/proc/sys/net/netfilter/nf_conntrack_count"
	if n := number(strings.TrimSpace(s.Inside(s.mallory.Info().Container.ID, "cat "+count))); n < 1000 || n > most {
		t.Errorf("the container's table has %d entries", n)
	}
	for _, w := range []*witness{s.neighbour, s.away} {
		s.run(t, w.Session, "$h reach "+remote.Host)
	}
}

// takePorts lets sessions take all ports, until berth ends their processes. Meanwhile a session begins with a fetch, and the
// neighbour has 200 ports.
func (s *scene) takePorts(t *testing.T, how string, by ...*berth.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	some := s.neighbour.Command(ctx, "sh", "-c", s.hostile+" sockets 200")
	in, err := some.StdinPipe()
	if err == nil {
		err = some.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, len(by))
	for _, v := range by {
		go func() {
			out, err := v.Command(ctx, "sh", "-c", "exec "+s.hostile+" ports "+how+" 2>&1").Output()
			if exit, ok := errors.AsType[*berth.ExitError](err); !ok || !strings.Contains(exit.Reason, "local ports") {
				err = errors.Join(errors.New("it was not ended for the ports"), err, errors.New(string(out)))
			} else {
				err = nil
			}
			ended <- err
		}()
	}
	branch := strings.ReplaceAll(how, " ", "-") + strconv.Itoa(len(by))
	s.remote.Commit(branch, "new", "new\n") // the mirror lacks it, so it must be fetched
	fetched := s.Create("fetch-"+branch, s.url, branch)
	if got := local.Sh(t, fetched, "cat new"); got != "new" {
		t.Errorf("the branch that was fetched has %q", got)
	}
	for range by {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	s.run(t, s.neighbour.Session, "$h connect")
	s.run(t, by[0], "$h connect") // it goes on, in another room
	in.Close()
	if err := some.Wait(); err != nil {
		t.Errorf("the neighbour's own sockets: %v", err)
	}
	if err := s.TerminateSession(t.Context(), fetched.ID()); err != nil {
		t.Error(err)
	}
}
