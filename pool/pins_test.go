package pool_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// pinningCloud resolves the newest image once, as the cloud of each process does. Its generation is that image.
type pinningCloud struct {
	*fake.Cloud
	options string // of this process

	mu     sync.Mutex
	newest string
	image  string // what was resolved; "" = nothing yet
}

func (c *pinningCloud) Generation(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.image == "" {
		c.image = c.newest
	}
	return c.image, nil
}

func (c *pinningCloud) Pins() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return []byte(c.options + " " + c.image)
}

func (c *pinningCloud) Pin(pins []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	options, image, ok := strings.Cut(string(pins), " ")
	if !ok {
		return errors.New("of another version")
	}
	if options == c.options {
		c.image = image
	}
	return nil
}

// TestNewPlannerKeepsTheGeneration lets another process plan, whose cloud would resolve another image by itself.
func TestNewPlannerKeepsTheGeneration(t *testing.T) {
	for name, c := range map[string]struct {
		options string // of the second process
		stored  string // instead of what the first has stored
		fault   func(s *lossyStore)
		rolls   bool
	}{
		"with the same options":          {options: "a"},
		"with other options":             {options: "b", rolls: true},
		"of another version":             {options: "a", stored: "?", rolls: true},
		"with a store that is down once": {options: "a", fault: func(s *lossyStore) { s.down = errors.New("no route to the store") }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, fake.CloudOptions{}, func(c *pool.Config) { c.MinInstances, c.MaxInstances = 2, 4 }, func(t *testing.T, r *rig) {
				r.cfg.Cloud = &pinningCloud{Cloud: r.cloud, options: "a", newest: "image-1"}
				r.start()
				r.withinStates(time.Minute, "ready ready")
				r.stop()
				if c.stored != "" {
					p := r.pool()
					p.Pins = []byte(c.stored)
					r.put(p)
				}
				if c.fault != nil {
					r.store.set(c.fault)
				}
				r.cfg.Cloud = &pinningCloud{Cloud: r.cloud, options: c.options, newest: "image-2", image: "image-2"} // by its preflight
				r.start()
				time.Sleep(time.Second)
				r.store.set(func(s *lossyStore) { s.down = nil })
				time.Sleep(time.Hour)
				if n := r.cloud.Launches(); n != 2 && !c.rolls || n != 4 && c.rolls {
					t.Errorf("%d machines were started", n)
				}
				want := c.options + " image-1"
				if c.rolls {
					want = c.options + " image-2"
				}
				if got := string(r.pool().Pins); got != want {
					t.Errorf("%q is stored, want %q", got, want)
				}
			})
		})
	}
}
