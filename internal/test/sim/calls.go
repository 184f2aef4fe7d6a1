package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool"
)

// maxCalls is the most calls to the cloud and to the engines that all replicas together may make in a minute. The load
// of a run makes a few hundred. A storm of retries makes thousands.
const maxCalls = 600

// calls checks the replicas' calls to the cloud and to the engines: each has a deadline, there are not too many, and
// none touches the property of somebody else.
type calls struct {
	rules *rules

	mu       sync.Mutex // protects the fields below
	minute   int64
	made     int // in that minute
	most     int // in any minute
	reported map[string]bool
	foreign  map[string]bool            // names of strangers' containers and machines
	planted  map[string]map[string]bool // the strangers' containers on a machine, by its launch ID
}

func newCalls(r *rules) *calls {
	return &calls{rules: r, reported: make(map[string]bool), foreign: make(map[string]bool), planted: make(map[string]map[string]bool)}
}

// made records a call.
func (c *calls) call(call fake.Call) {
	c.mu.Lock()
	now := int64(time.Since(epoch) / time.Minute)
	if now != c.minute {
		c.minute, c.made = now, 0
	}
	c.made++
	c.most = max(c.most, c.made)
	storm := c.made == maxCalls
	unbounded := !call.Bounded && !c.reported[string(call.Verb)]
	c.reported[string(call.Verb)] = c.reported[string(call.Verb)] || unbounded
	touched := c.foreign[call.Container]
	for _, id := range strings.Split(call.Host, ",") {
		touched = touched || c.foreign[id]
	}
	made := c.made
	c.mu.Unlock()
	if call.Verb == fake.Prepare { // the newest image has changed, so a request that is prepared again differs
		c.rules.world.cloud.SetImage(fmt.Sprint("image-", now, "-", made))
	}
	if storm {
		c.rules.broken("%d calls in one minute; the last was %+v", maxCalls, call)
	}
	if unbounded {
		c.rules.broken("a call has no deadline: %+v", call)
	}
	if touched {
		c.rules.broken("a stranger was touched: %+v", call)
	}
}

// ourPool is the default of Config.Name.
const ourPool = "berth"

// otherPool is the name of a pool that shares the engines with ours.
const otherPool = "other"

// plantMachines starts machines that are not the pool's.
func (c *calls) plantMachines() {
	w := c.rules.world
	for _, id := range []string{w.cloud.PlantForeign(), w.cloud.PlantSibling("another-uid")} {
		c.foreign[id] = true
	}
}

// strangers puts strangers' containers on machines that run, and checks that all are still there.
func (c *calls) strangers(containers []fake.Container) {
	w := c.rules.world
	there := make(map[string]bool)
	for _, have := range w.engine.Resources() {
		there[have.Host+"/"+have.ID] = true
	}
	for _, have := range containers {
		if have.Running {
			there[have.Host+"/"+have.ID] = true
		}
	}
	for _, m := range w.cloud.Machines() {
		switch {
		case m.Foreign && !m.Ended.IsZero():
			c.rules.broken("machine %s is not ours, and was ended", m.LaunchID)
		case m.Foreign || m.State != pool.MachineRunning:
		case c.planted[m.LaunchID] == nil:
			c.plant(m.LaunchID)
		default:
			for id := range c.planted[m.LaunchID] {
				if !there[m.LaunchID+"/"+id] {
					c.rules.broken("%s is not ours, and is gone", id)
				}
			}
		}
	}
}

// plant puts containers on a machine: one without a label, and those of another pool, of a repository that we have too.
func (c *calls) plant(launch string) {
	w := c.rules.world
	planted := map[string]bool{w.engine.PlantStranger(launch, "database"): true}
	key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/repo-0"}}
	w.engine.PlantContainer(launch, otherPool, "other-uid", key)
	for _, have := range w.engine.Containers() {
		if have.Host == launch && have.Pool == otherPool {
			planted[have.ID] = true
		}
	}
	left := w.engine.PlantResource(launch, otherPool, "other-uid", fake.ResourceHelper)
	planted[left] = true
	c.mu.Lock()
	defer c.mu.Unlock()
	c.planted[launch], c.foreign[left] = planted, true
	c.foreign["database"], c.foreign[key.ContainerName(otherPool)] = true, true
}

// ours returns the pool's containers.
func (w *world) ours() (ours []fake.Container) {
	for _, c := range w.engine.Containers() {
		if c.Pool != "" && c.Pool != otherPool {
			ours = append(ours, c)
		}
	}
	return ours
}
