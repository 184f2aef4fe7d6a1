package berth

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// EventType says what happened.
type EventType string

// The types of events.
const (
	EventSessionQueued EventType = "session queued" // the session waits for a free slot
	EventSessionPlaced EventType = "session placed" // the session has its slot; its container is being made ready
	EventProgress      EventType = "progress"       // of a container's start and fetch, or of a pull of its image; Message says how far
	EventSessionActive EventType = "session active" // CreateSession is about to return the session
	EventSessionEnded  EventType = "session ended"  // Err says why
	EventWorkSaved     EventType = "work saved"     // by Config.SaveWork or KeepLost; Message says where, as SessionInfo.Saved
	// EventOutOfMemory: a command did not succeed, and its session or container ran out of memory while it ran. Err is the
	// command's *ExitError. Without a SessionID: the container died of it, and there is an EventContainerLost, too
	EventOutOfMemory    EventType = "out of memory"
	EventContainerLost  EventType = "container lost"  // the container died or was removed from outside; Err says how
	EventContainerEmpty EventType = "container empty" // the container's last session ended, and it stays: see Config.ContainerIdleTimeout
	// EventContainerWarm: a container is up with a fresh mirror, as Provider.Warm asked or the planner decided. With an Err it is not,
	// which Err explains; the planner tries again
	EventContainerWarm EventType = "container warm"
	// EventPrepared: the workspace of a repository is prepared for the sessions that start from now on in a container: see
	// Config.PrepareFor. Message has the commit, the time and the size. It ends with "from Config.Snapshots" if no
	// command has run. With a SessionID, Provider.Promote has made it of what that session
	// has installed. With an Err it is not, and sessions start without; it is tried
	// again after an hour, or on files that differ
	EventPrepared EventType = "workspace prepared"
	// EventDevcontainer: a repository's devcontainer.json has what berth does not support, which Message names, or cannot be read. The
	// rest is used: see Config.Devcontainer
	EventDevcontainer EventType = "devcontainer.json"

	EventContainerGone EventType = "container gone" // the container has no session any more, and was removed
	// EventInstanceChange: Message is the instance's new state, one of InstanceInfo's, or "gone" when its record is removed.
	// Err says why the instance is cordoned, terminating, lost or gone, as InstanceInfo's Reason does. It is nil for the
	// other states
	EventInstanceChange EventType = "instance change"
	// EventSessionEndangered: the cloud takes the session's instance back within minutes. Err says what the cloud has
	// announced. The session goes on until then, and ends with ErrInstanceLost. With Config.OnEnd or SaveWork it is ended at once
	EventSessionEndangered EventType = "session endangered"
	EventSnapshot          EventType = "snapshot" // Session.Snapshot has kept the session's work; Message is the snapshot's name
)

// Event is something that happened. Fields that do not apply are empty. Message and the text of Err are one line each, without
// control characters and direction overrides, whatever words of others they hold.
type Event struct {
	Time       time.Time
	Type       EventType
	SessionID  string
	TaskID     string
	UserID     string
	Repository naming.Repository
	Container  string // its name
	Instance   string // its launch ID
	Start      StartKind
	Message    string
	Err        error
}

// events hands the events to the host's function, one at a time and in order, without ever making its callers wait.
type events struct {
	fn          func(Event) // nil = there is none
	telemetry   *telemetry.Telemetry
	failures    *loop.Failures
	outOfMemory atomic.Int64 // counts EventOutOfMemory, for Stats
	kept, lost  atomic.Int64 // count the ended sessions whose work was saved, and could not be, for Stats
	tapped      atomic.Int64 // the number of taps

	mu      sync.Mutex // protects what follows
	queue   []Event
	left    int                       // events that were not delivered yet
	running bool                      // a goroutine delivers
	taps    map[*func(Event)]struct{} // see Console.Events
	going   sync.WaitGroup
}

func (e *events) emit(ev Event) {
	if e.fn == nil && e.tapped.Load() == 0 {
		return
	}
	ev.Time = time.Now()
	ev.Message, ev.Err = plain.Text(ev.Message), plain.Error(ev.Err)
	e.mu.Lock()
	defer e.mu.Unlock()
	for tap := range e.taps {
		(*tap)(ev)
	}
	if e.fn == nil {
		return
	}
	e.queue = append(e.queue, ev)
	e.left++
	if !e.running {
		e.running = true
		e.going.Go(e.deliver)
	}
}

// tap calls fn with each event, until stop.
func (e *events) tap(fn func(Event)) (stop func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.taps == nil {
		e.taps = make(map[*func(Event)]struct{})
	}
	e.taps[&fn] = struct{}{}
	e.tapped.Add(1)
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.taps, &fn)
		e.tapped.Add(-1)
	})
}

func (e *events) deliver() {
	for {
		e.mu.Lock()
		batch := e.queue
		e.queue = nil
		e.running = len(batch) > 0
		e.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		for _, ev := range batch {
			e.call(ev)
			e.mu.Lock()
			e.left--
			e.mu.Unlock()
		}
	}
}

// call calls the host's function.
func (e *events) call(ev Event) {
	defer func() {
		if p := recover(); p != nil {
			e.failures.Report("Config.OnEvent panicked", fmt.Errorf("%v", p), "event", ev.Type)
		}
	}()
	e.fn(ev)
}

// wait returns when all events so far are delivered, or the host's function has not returned for so long. It reports
// whether they are delivered.
func (e *events) wait(patience time.Duration) (delivered bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.going.Wait()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// waiting returns for how many events the host's function has not returned yet.
func (e *events) waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.left
}

// session sends an event about a session.
func (e *events) session(t EventType, s *store.Session, err error) {
	e.emit(Event{
		Type: t, SessionID: s.ID, TaskID: s.TaskID, UserID: s.UserID, Repository: s.SharingKey.Repository,
		Container: s.ContainerName, Instance: s.Instance, Start: StartKind(s.Start), Err: err,
	})
}

// container sends an event about a container.
func (e *events) container(t EventType, c store.Container, err error) {
	e.emit(Event{Type: t, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance, Err: err})
}

func (e *events) queued(s *store.Session) { e.session(EventSessionQueued, s, nil) }

// Placed implements session.Events.
func (e *events) Placed(s *store.Session) { e.session(EventSessionPlaced, s, nil) }

// Active implements session.Events.
func (e *events) Active(s *store.Session) { e.session(EventSessionActive, s, nil) }

// Ended implements session.Events.
func (e *events) Ended(s *store.Session, why error) {
	e.telemetry.Ended(s)
	switch {
	case s.Unsaved != "":
		e.lost.Add(1)
	case s.Saved != "":
		e.kept.Add(1)
	}
	e.session(EventSessionEnded, s, why)
}

// saved reports where the work of a session was saved.
func (e *events) saved(s *store.Session, where string) {
	e.emit(Event{
		Type: EventWorkSaved, SessionID: s.ID, TaskID: s.TaskID, UserID: s.UserID, Repository: s.SharingKey.Repository,
		Container: s.ContainerName, Instance: s.Instance, Start: StartKind(s.Start), Message: where,
	})
}

// warmed reports what became of a host's wish.
func (e *events) warmed(c store.Container, err error) { e.container(EventContainerWarm, c, err) }

// prepared reports what became of a workspace.
func (e *events) prepared(c store.Container, p orchestrator.Prepared) {
	message := ""
	if p.Err == nil {
		message = fmt.Sprintf("on %.12s in %v, %d bytes", p.Commit, p.Took.Round(time.Millisecond), p.Bytes)
		if p.Stored {
			message += ", from Config.Snapshots"
		}
	}
	e.emit(Event{
		Type: EventPrepared, SessionID: p.Session, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance, Message: message, Err: p.Err,
	})
}

// unsupported names what of a devcontainer.json is not used.
func (e *events) unsupported(c store.Container, names []string) {
	e.emit(Event{
		Type: EventDevcontainer, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance,
		Message: "not supported: " + strings.Join(names, ", "),
	})
}

// Emptied implements session.Events.
func (e *events) Emptied(c *store.Container) { e.container(EventContainerEmpty, *c, nil) }

// snapshot reports that the work of a session was kept.
func (e *events) snapshot(s SessionInfo, name string) {
	e.emit(Event{
		Type: EventSnapshot, SessionID: s.ID, TaskID: s.TaskID, UserID: s.UserID, Repository: s.Repository,
		Container: s.Container.Name, Instance: s.Instance.ID, Start: s.Start, Message: name,
	})
}

// endangered reports that the cloud takes the instance of a session back.
func (e *events) endangered(s *store.Session, why error) {
	e.telemetry.Endangered()
	e.session(EventSessionEndangered, s, why)
}

// warn tells the sessions of an instance that it is about to be taken back.
func (u upward) warn(in store.Instance) {
	p := u.p
	q := store.SessionQuery{Instance: in.ID, States: []store.SessionState{store.SessionCreating, store.SessionActive}}
	for s, err := range store.Sessions(p.ctx, p.store, q) {
		if err != nil {
			p.failures.Report("cannot find the sessions to warn", err, "instance", in.ID)
			return
		}
		p.events.endangered(s, reasonError(in.Reason))
	}
}

func reasonError(reason string) error {
	if reason == "" {
		return nil
	}
	return errors.New(reason)
}
