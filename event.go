package berth

import (
	"sync"
	"time"

	"github.com/berth-go/berth/naming"
)

// EventType says what happened.
type EventType string

// The types of events.
const (
	EventSessionQueued EventType = "session queued" // it waits for a free slot
	EventSessionPlaced EventType = "session placed" // it has its slot; its container is being made ready
	EventProgress      EventType = "progress"       // of a container's start and fetch, or of a pull of its image; Message says how far
	EventSessionActive EventType = "session active" // CreateSession is about to return it
	EventSessionEnded  EventType = "session ended"  // Err says why
	EventContainerLost EventType = "container lost" // it died or was removed from outside; Err says how
	EventContainerGone EventType = "container gone" // its last session ended, and it was removed
	// EventInstanceChange: Message is the instance's new state, one of InstanceInfo's, or "gone" when it is forgotten.
	// Err says why it is cordoned, terminating, lost or gone, as InstanceInfo's Reason does; it is nil for the others
	EventInstanceChange EventType = "instance change"
	// EventSessionEndangered: the cloud takes the session's instance back, within minutes. Err says what it has
	// announced. The session goes on until then, and ends with ErrInstanceLost
	EventSessionEndangered EventType = "session endangered"
)

// Event is one thing that happened. Fields that do not apply are empty.
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
	fn func(Event) // nil = nobody listens

	mu      sync.Mutex // protects what follows
	queue   []Event
	left    int  // events that were not delivered yet
	running bool // a goroutine delivers
	going   sync.WaitGroup
}

func (e *events) emit(ev Event) {
	if e.fn == nil {
		return
	}
	ev.Time = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queue = append(e.queue, ev)
	e.left++
	if !e.running {
		e.running = true
		e.going.Go(e.deliver)
	}
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
			e.fn(ev)
			e.mu.Lock()
			e.left--
			e.mu.Unlock()
		}
	}
}

// wait returns when all events so far are delivered, or the host's function has not returned for a while; it reports
// which.
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
