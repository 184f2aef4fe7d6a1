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
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// rules checks the rules that must always hold.
type rules struct {
	world    *world
	checking sync.Mutex // held during a check, so that checks see the states of the store in order; a check never waits

	mu       sync.Mutex // protects the fields below
	faults   []string
	harmed   map[string]bool   // containers and hosts that were harmed from outside
	sessions map[string]string // the last state of each, to check its steps
	dying    map[string]int    // sessions of the containers that are stopping
	checks   int

	calls  *calls
	fences *fences
	fair   *fair // like cost, quotas, bill and empty, used by check only
	cost   *cost
	quotas *quotas
	bill   *billing
	empty  *empties
	lasts  lasts
	kept   *kept
}

func newRules(w *world) *rules {
	r := &rules{
		world: w, harmed: make(map[string]bool), sessions: make(map[string]string), dying: make(map[string]int),
		fences: newFences(), cost: &cost{last: time.Now()}, bill: &billing{meters: make(map[string]store.Meter)},
	}
	r.lasts.done, r.lasts.since = make(map[string]bool), make(map[string]time.Time)
	r.calls, r.fair, r.quotas = newCalls(r), newFair(r), newQuotas(r)
	r.empty = &empties{rules: r, warm: make(map[string]bool)}
	r.kept = &kept{work: make(map[owned][]snapshotOf), began: make(map[string]string), promoted: make(map[string]string)}
	r.calls.plantMachines()
	return r
}

// broken records that a rule was broken.
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

// check compares the store with itself and with the fakes.
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
	r.quotas.look(s)
	r.cost.look(r.world.plan, s)
	r.empty.look(s)
	r.truth(s)
	r.proven(s)
	r.authorized(s)
	r.parted(s)
	r.lived(s)
	r.shares(s)
	for _, fault := range r.bill.look(r.world) {
		r.broken("%s", fault)
	}
	if n := r.world.engine.Snatched(); n > 0 {
		r.broken("%d resources were removed while a start was at work with them", n)
	}
	lies, _ := r.world.meddler.lieCount("")
	if n := r.world.cloud.MaxAlive(); n > r.world.plan.config.MaxInstances+lies {
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

// truth checks that each active session is really in its running container, unless the container was harmed from
// outside.
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
		case r.world.plan.config.RequireIsolation && c.Isolation != store.IsolationRooms:
			r.broken("active session %s of %s has no room in container %s", x.ID, x.TaskID, c.ID)
		case s.Containers[x.Container] != nil && s.Containers[x.Container].Isolation != c.Isolation:
			r.broken("container %s has %q, and the store says otherwise: %+v", c.ID, c.Isolation, s.Containers[x.Container])
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
	if want := t.request().Branch; info.Branch != want && !(want == "" && info.Branch == "main") {
		r.broken("%s asked for %q and got %+v", t.name, want, info)
	}
	err := r.world.store.View(context.Background(), func(v store.View) error {
		_, err := v.Get(store.SessionKey(s.ID()))
		return err
	})
	if err != nil {
		r.broken("session %s of %s was returned, and the store has not: %v", s.ID(), t.name, err)
	}
}

// lack is the prefix of a container's name in rules.harmed. It means that the container's memory was used up once.
const lack = "memory of "

// ran checks the error of a command. The session may have ended during the command. The error mentions a lack of memory
// only if there was one.
func (r *rules) ran(s *berth.Session, err error) {
	if !errors.Is(err, berth.ErrOutOfMemory) {
		return
	}
	r.world.trace.saw("a command lacked memory")
	if at := s.Info().Container.Name; !r.isHarmed(lack + at) {
		r.broken("a command in %s, which had enough memory, failed with: %v", at, err)
	}
}

// failed checks an error of CreateSession: it is of a known class, and contains no credential.
func (r *rules) failed(t *task, at *replica, err error) {
	r.world.trace.saw("a creation failed")
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
		r.broken("an error holds a credential: %v", err)
	}
	if strings.Contains(err.Error(), passingWords) {
		r.broken("%s failed because a remote did for a moment: %v", t.name, err)
	}
	if errors.Is(err, orchestrator.ErrNoIsolation) {
		r.world.trace.saw("refused for lack of rooms")
		if !r.world.plan.config.RequireIsolation {
			r.broken("%s failed for lack of rooms, which are not required: %v", t.name, err)
		}
	}
	r.denied(t, err)
	if _, ok := errors.AsType[*berth.StartError](err); ok {
		return
	}
	if over, ok := errors.AsType[*berth.QuotaError](err); ok {
		r.quotas.refused(t, over)
		return
	}
	for _, known := range []error{
		context.DeadlineExceeded, context.Canceled, errInjected, store.ErrUnknownOutcome, berth.ErrClosed, berth.ErrDestroying,
		berth.ErrTerminated, berth.ErrNoCapacity, berth.ErrInvalid, berth.ErrContainerLost, berth.ErrInstanceLost,
		berth.ErrAbandoned, berth.ErrSuspended, berth.ErrRevoked, berth.ErrAccessDenied, berth.ErrOverLimit,
	} {
		if errors.Is(err, known) {
			return
		}
	}
	r.broken("%s got an error of no known class: %v", t.name, err)
}

// terminated checks that nothing of a session is left where TerminateSession said so. A session on an instance that was given
// up for lost ends with its machine.
func (r *rules) terminated(t *task, id string) {
	for _, c := range r.world.engine.Containers() {
		for _, in := range c.Sessions {
			if in.ID == id && !r.isHarmed(c.Host) && r.serves(c.Host) {
				r.broken("session %s of %s was terminated, and is in container %s", id, t.name, c.ID)
			}
		}
	}
}

// serves reports whether an instance is alive according to the store.
func (r *rules) serves(instance string) bool {
	var in *store.Instance
	err := r.world.store.View(context.Background(), func(v store.View) (err error) {
		in, err = store.Find[*store.Instance](v, store.InstanceKey(instance))
		return err
	})
	return err == nil && in != nil && (in.State == store.InstanceReady || in.State == store.InstanceCordoned)
}
