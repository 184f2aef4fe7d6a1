package warden

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/wall"
)

const (
	// lookAgain is how often the addresses of the machine and of the containers are read anew.
	lookAgain = 10 * time.Second

	// The most that one request may name.
	maxAllowed = 2000
	maxPinned  = 500
)

// A network is the policy of a container, as egress.Parse reads it.
type network struct {
	Mode  egress.Mode `json:"mode"`
	Allow []string    `json:"allow,omitempty"`
}

// networkOf is the reverse of policy.
func networkOf(p egress.Policy) *network {
	n := &network{Mode: p.Mode}
	for _, net := range p.Nets {
		n.Allow = append(n.Allow, net.String())
	}
	n.Allow = append(n.Allow, p.Names...)
	return n
}

func (n *network) policy() (egress.Policy, error) {
	if len(n.Allow) > maxAllowed {
		return egress.Policy{}, fmt.Errorf("the policy allows %d items, more than %d", len(n.Allow), maxAllowed)
	}
	return egress.Parse(n.Mode, n.Allow)
}

// pins are addresses that sessions may connect to for a time.
type pins struct {
	Addrs []netip.Addr  `json:"addrs"`
	Life  time.Duration `json:"life"` // in nanoseconds
}

// An enclosure is the walls of a container's network.
type enclosure struct {
	mu     sync.Mutex // held while they change; protects what follows
	up     bool
	policy egress.Policy
	denied []netip.Prefix // in order
}

// inNetwork runs a function in the container's network namespace. It returns an error if that is the machine's or the
// warden's own.
func (c *container) inNetwork(fn func() error) error {
	return wall.InOf(uintptr(c.pidfd), func() error {
		for _, other := range []string{hostNetwork, "/proc/self/net/dev"} { // the thread alone is elsewhere
			same, err := sameFile("/proc/thread-self/net/dev", other)
			if err != nil {
				return err
			}
			if same {
				return errors.New("the container has no network namespace of its own")
			}
		}
		return fn()
	})
}

// sameFile reports whether two paths are the same file. Each network namespace has its own in /proc, where those of
// /proc/PID/ns say nothing about processes that the warden may not trace.
func sameFile(a, b string) (bool, error) {
	one, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other), err
}

// putUp puts up the container's walls for a policy.
func (c *container) putUp(p egress.Policy) error {
	host, err := hostAddresses()
	if err != nil {
		return err
	}
	c.walls.mu.Lock()
	defer c.walls.mu.Unlock()
	return c.install(p, host)
}

// renew puts up the walls again if the addresses of the machine or of the container have changed.
func (c *container) renew(host []netip.Prefix) error {
	c.walls.mu.Lock()
	defer c.walls.mu.Unlock()
	if !c.walls.up {
		return nil
	}
	return c.install(c.walls.policy, host)
}

// install puts up walls, unless they stand. The walls are locked.
func (c *container) install(p egress.Policy, host []netip.Prefix) error {
	w := &c.walls
	return c.inNetwork(func() error {
		own, err := wall.Subnets()
		if err != nil {
			return err
		}
		denied := slices.Concat(host, own)
		slices.SortFunc(denied, netip.Prefix.Compare)
		denied = slices.Compact(denied)
		if w.up && slices.Equal(w.denied, denied) && sameNetwork(w.policy, p) {
			return nil
		}
		if _, err := wall.Install(wall.Config{Policy: p, Deny: denied}); err != nil {
			return err
		}
		w.up, w.policy, w.denied = true, p, denied
		return nil
	})
}

func sameNetwork(a, b egress.Policy) bool {
	return a.Mode == b.Mode && slices.Equal(a.Nets, b.Nets) && slices.Equal(a.Names, b.Names)
}

// haveWalls reports whether this warden has put up walls for the container, or found that they stand.
func (c *container) haveWalls() bool {
	c.walls.mu.Lock()
	defer c.walls.mu.Unlock()
	return c.walls.up
}

// pin lets the container's sessions connect to addresses for a time.
func (c *container) pin(p pins) error {
	if len(p.Addrs) > maxPinned || p.Life <= 0 || slices.ContainsFunc(p.Addrs, func(a netip.Addr) bool { return !a.IsValid() }) {
		return errors.New("bad addresses to pin")
	}
	c.walls.mu.Lock()
	defer c.walls.mu.Unlock()
	return c.inNetwork(func() error { return wall.Pin(p.Addrs, p.Life) })
}

// running returns the containers that have connections, and takes part in each as one more connection.
func (w *Warden) running() (all []*container) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.containers {
		c.mu.Lock()
		if c.conns > 0 {
			c.conns++
			all = append(all, c)
		}
		c.mu.Unlock()
	}
	return all
}

// keep renews again and again what somebody else may have changed, until ctx ends.
func (w *Warden) keep(ctx context.Context) {
	tick := time.NewTicker(w.lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.renew()
	}
}

// renew renews the walls of all containers, because a machine gets and loses addresses, and their parts of the CPU, because systemd
// gives a container that it knows the usual part at each of its own changes.
func (w *Warden) renew() {
	host, err := hostAddresses()
	if err != nil {
		w.Log.Warn("the walls of the network stay as they are", "error", err)
	}
	for _, c := range w.running() {
		if err == nil {
			if err := c.renew(host); err != nil && !ended(c.pidfd) {
				w.Log.Warn("cannot renew the walls of a container's network", "process", c.pid, "error", err)
			}
		}
		if c.ready() == nil {
			c.share()
		}
		go w.part(c) // which may wait
	}
}
