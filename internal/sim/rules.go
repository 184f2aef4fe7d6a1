package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/audit"
	"github.com/berth-go/berth/store"
)

// rules checks what must always hold.
type rules struct {
	world    *world
	checking sync.Mutex // held during a check, so that checks see the store in its order; a check never waits

	mu       sync.Mutex // protects what follows
	faults   []string
	harmed   map[string]bool   // containers and hosts to which something was done from outside
	sessions map[string]string // the last state of each, to check its steps
	dying    map[string]int    // sessions of the containers that are stopping
	checks   int

	calls  *calls
	fences *fences
	fair   *fair // as cost, used by check only
	cost   *cost
}

func newRules(w *world) *rules {
	r := &rules{
		world: w, harmed: make(map[string]bool), sessions: make(map[string]string), dying: make(map[string]int),
		fences: newFences(), cost: &cost{last: time.Now()},
	}
	r.calls, r.fair = newCalls(r), newFair(r)
	r.calls.plantMachines()
	return r
}

// broken notes that a rule was broken.
func (r *rules) broken(format string, args ...any) {
	fault := fmt.Sprintf(format, args...)
	r.mu.Lock()
	r.faults = append(r.faults, fmt.Sprintf("%v %s", time.Since(epoch), fault))
	r.mu.Unlock()
	r.world.trace.add("BROKEN: %s", fault)
}

func (r *rules) harm(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.harmed[id] = true
}

func (r *rules) isHarmed(ids ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if r.harmed[id] {
			return true
		}
	}
	return false
}

// check holds the store against itself and against the fakes.
func (r *rules) check() {
	r.mu.Lock()
	r.checks++
	enough := len(r.faults) >= 3
	r.mu.Unlock()
	if enough {
		return
	}
	r.checking.Lock()
	defer r.checking.Unlock()
	s := r.world.snapshot()
	for _, fault := range s.Faults(r.world.plan.config.MaxContainersPerRepository) {
		r.broken("%s", fault)
	}
	r.steps(s)
	r.known(s)
	r.fair.look(s)
	r.cost.look(r.world.plan, s)
	r.truth(s)
	if n := r.world.cloud.MaxAlive(); n > r.world.plan.config.MaxInstances {
		r.broken("%d machines cost money at once", n)
	}
}

// steps checks that sessions go through their states in order, and that none joins a container that is stopping.
func (r *rules) steps(s *audit.Snapshot) {
	rank := map[store.SessionState]int{store.SessionCreating: 0, store.SessionActive: 1, store.SessionTerminating: 2, store.SessionEnded: 3}
	r.mu.Lock()
	var wrong []string
	for _, x := range s.Sessions {
		was := r.sessions[x.ID]
		if was != "" && rank[x.State] < rank[store.SessionState(was)] {
			wrong = append(wrong, fmt.Sprintf("session %s of %s went from %s to %s", x.ID, x.TaskID, was, x.State))
		}
		r.sessions[x.ID] = string(x.State)
	}
	for id, c := range s.Containers {
		if was, seen := r.dying[id]; seen && c.Sessions > was {
			wrong = append(wrong, fmt.Sprintf("a session joined container %s while that was stopping", c.Name))
		}
		if c.State == store.ContainerStopping {
			r.dying[id] = c.Sessions
		}
	}
	r.mu.Unlock()
	for _, fault := range wrong {
		r.broken("%s", fault)
	}
}

// truth checks that each active session is really in a running container of its own, unless something was done to that
// from outside.
func (r *rules) truth(s *audit.Snapshot) {
	real := make(map[string]*fake.Container) // by host and name
	containers := r.world.engine.Containers()
	r.calls.strangers(containers)
	for i := range containers {
		c := &containers[i]
		real[c.Host+"/"+c.Name] = c
		in := s.Instances[c.Host]
		if in != nil && len(c.Sessions) > in.Slots {
			r.broken("%d sessions in container %s on %d slots", len(c.Sessions), c.Name, in.Slots)
		}
	}
	for _, x := range s.Sessions {
		if x.State != store.SessionActive || r.isHarmed(x.EngineID, x.Instance) {
			continue
		}
		c := real[x.Instance+"/"+x.ContainerName]
		switch {
		case c == nil || !c.Running || c.ID != x.EngineID:
			r.broken("active session %s of %s has no running container %s", x.ID, x.TaskID, x.EngineID)
		case !holds(c, x):
			r.broken("active session %s of %s is not in its container %s", x.ID, x.TaskID, c.ID)
		}
	}
}

func holds(c *fake.Container, x *store.Session) bool {
	for _, in := range c.Sessions {
		if in.ID == x.ID && in.UID == x.UID && in.Workdir == x.Workdir {
			return true
		}
	}
	return false
}

// created checks a session that CreateSession returned.
func (r *rules) created(t *task, at *replica, s *berth.Session) {
	r.world.trace.saw("created")
	info := s.Info()
	if info.TaskID != t.name || info.Repository.Path != fmt.Sprintf("acme/repo-%d", t.repo) || strings.Contains(fmt.Sprint(info), secret) {
		r.broken("%s got %+v", t.name, info)
	}
	err := r.world.store.View(context.Background(), func(v store.View) error {
		_, err := v.Get(store.SessionKey(s.ID()))
		return err
	})
	if err != nil {
		r.broken("session %s of %s was returned, and the store has not: %v", s.ID(), t.name, err)
	}
}

// failed checks an error of CreateSession: it is of a known class, and holds no credential.
func (r *rules) failed(t *task, at *replica, err error) {
	r.world.trace.saw("a creation failed")
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
		r.broken("an error holds a credential: %v", err)
	}
	if _, ok := errors.AsType[*berth.StartError](err); ok {
		return
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, errInjected, store.ErrUnknownOutcome, berth.ErrClosed,
		berth.ErrTerminated, berth.ErrNoCapacity, berth.ErrInvalid, berth.ErrContainerLost, berth.ErrInstanceLost,
		berth.ErrAbandoned, berth.ErrSuspended,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	r.broken("%s got an error of no known class: %v", t.name, err)
}

// terminated checks that nothing of a session is left where TerminateSession said so. What is on an instance that was
// given up for lost ends with its machine.
func (r *rules) terminated(t *task, id string) {
	for _, c := range r.world.engine.Containers() {
		for _, in := range c.Sessions {
			if in.ID == id && !r.isHarmed(c.Host) && r.serves(c.Host) {
				r.broken("session %s of %s was terminated, and is in container %s", id, t.name, c.ID)
			}
		}
	}
}

// serves reports whether an instance is one that the store takes for alive.
func (r *rules) serves(instance string) bool {
	var in *store.Instance
	err := r.world.store.View(context.Background(), func(v store.View) (err error) {
		in, err = store.Find[*store.Instance](v, store.InstanceKey(instance))
		return err
	})
	return err == nil && in != nil && (in.State == store.InstanceReady || in.State == store.InstanceCordoned)
}
