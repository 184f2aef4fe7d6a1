package dashboard

import (
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// event is something that happened in the pool. Most are concluded from records, so that every process shows the same. Progress
// and warnings are told by this process alone.
type event struct {
	Seq        uint64    `json:"seq"` // grows in the order in which this process learnt of events
	Time       time.Time `json:"time"`
	Type       string    `json:"type"`  // one of berth.EventType
	Level      string    `json:"level"` // "", "warn" or "bad"
	Session    string    `json:"session,omitempty"`
	Task       string    `json:"task,omitempty"`
	User       string    `json:"user,omitempty"`
	Repository string    `json:"repository,omitempty"`
	Container  string    `json:"container,omitempty"`
	Instance   string    `json:"instance,omitempty"`
	Message    string    `json:"message,omitempty"`

	who *task // whose event it is; nil = nobody's
}

// ring keeps the last events. Its methods are called with the model's mu held.
type ring struct {
	all     []event // by time, once settled
	seq     uint64
	ordered bool
}

const mostEvents = 2000

func (r *ring) clear() { r.all = nil }

func (r *ring) add(e event) {
	r.seq++
	e.Seq = r.seq
	r.all = append(r.all, e)
	r.ordered = false
	if len(r.all) > 4*mostEvents { // of a pool that is read for the first time
		r.settle()
	}
}

// settle orders the events, and drops the oldest.
func (r *ring) settle() {
	if r.ordered {
		return
	}
	slices.SortStableFunc(r.all, func(a, b event) int { return a.Time.Compare(b.Time) })
	if over := len(r.all) - mostEvents; over > 0 {
		r.all = slices.Clone(r.all[over:])
	}
	r.ordered = true
}

// or returns t, or now if t is not known.
func or(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

// session adds what a session's record says and its last one did not; old nil = all that it says.
func (r *ring) session(old *task, s *store.Session) {
	was := &store.Session{}
	if old != nil {
		was = old.Session
	}
	e := event{
		Session: s.ID, Task: s.TaskID, User: s.UserID, Repository: s.SharingKey.Repository.String(),
		Container: s.ContainerName, Instance: s.Instance, who: &task{Session: s},
	}
	add := func(t berth.EventType, at time.Time, level, message string) {
		e.Type, e.Time, e.Level, e.Message = string(t), at, level, message
		r.add(e)
	}
	if old == nil && (s.Queued || s.Waited > 0) {
		add(berth.EventSessionQueued, or(s.CreatedAt), "", "")
	}
	if was.Instance == "" && s.Instance != "" {
		at := time.Now()
		if old == nil || s.Waited > 0 {
			at = s.CreatedAt.Add(s.Waited)
		}
		add(berth.EventSessionPlaced, at, "", "")
	}
	if was.Took == 0 && s.Took > 0 {
		add(berth.EventSessionActive, s.CreatedAt.Add(s.Waited+s.Took), "", string(s.Start)+" start in "+short(s.Took))
	}
	if was.Saved == "" && s.Saved != "" {
		add(berth.EventWorkSaved, or(s.EndedAt), "", s.Saved)
	}
	if was.State != store.SessionEnded && s.State == store.SessionEnded {
		level, text := endLevel(s.End), endText(s.End)
		if s.Unsaved != "" {
			level, text = "bad", text+"; its work was not saved: "+s.Unsaved
		}
		add(berth.EventSessionEnded, or(s.EndedAt), level, text)
	}
}

// endText says why something ended.
func endText(f store.Failure) string {
	words := []string{string(f.Reason)}
	if f.Phase != "" {
		words = append(words, "while "+string(f.Phase))
	}
	text := strings.Join(words, " ")
	if f.Message != "" {
		text += ": " + f.Message
	}
	return text
}

// endLevel says how bad an end is.
func endLevel(f store.Failure) string {
	switch f.Reason {
	case store.EndStartFailed, store.EndInstanceLost, store.EndContainerLost, store.EndOverLimit:
		return "bad"
	case store.EndAbandoned, store.EndRevoked, store.EndInterrupted:
		return "warn"
	}
	return ""
}

func (r *ring) container(old, c *store.Container) {
	e := event{
		Type: "container " + string(c.State), Time: or(c.Since), Repository: c.SharingKey.Repository.String(),
		Container: c.Name, Instance: c.Instance,
	}
	if old != nil && old.State == c.State {
		return
	}
	if c.Failure.Reason != "" {
		e.Level, e.Message = endLevel(c.Failure), endText(c.Failure)
	}
	r.add(e)
}

func (r *ring) containerGone(c *store.Container) {
	r.add(event{
		Type: string(berth.EventContainerGone), Time: time.Now(), Repository: c.SharingKey.Repository.String(),
		Container: c.Name, Instance: c.Instance,
	})
}

func (r *ring) instance(old, in *store.Instance) {
	if old != nil && old.State == in.State && old.Reason == in.Reason {
		return
	}
	e := event{Type: "instance " + string(in.State), Time: or(in.Since), Instance: in.ID, Message: in.Reason}
	switch {
	case in.State == store.InstanceLost:
		e.Level = "bad"
	case in.State == store.InstanceCordoned && in.Outlook != "":
		e.Level = "warn"
	}
	r.add(e)
}

func (r *ring) instanceGone(in *store.Instance) {
	r.add(event{Type: "instance gone", Time: time.Now(), Instance: in.ID, Message: in.Reason})
}

// pool adds a launch that has failed.
func (r *ring) pool(old, p *store.Pool) {
	if p.LaunchFailure != "" && (p.LaunchFailure != old.LaunchFailure || p.LaunchFailures != old.LaunchFailures) {
		r.add(event{Type: "launch failed", Time: time.Now(), Level: "bad", Message: p.LaunchFailure})
	}
}

// event takes an event of this process that no record tells. It is called with locks of the Provider held.
func (m *model) event(e berth.Event) {
	level := ""
	switch e.Type {
	case berth.EventProgress, berth.EventSnapshot:
	case berth.EventOutOfMemory, berth.EventContainerLost:
		level = "bad"
	case berth.EventSessionEndangered:
		level = "warn"
	case berth.EventDevcontainer:
		level = "warn"
	case berth.EventPrepared, berth.EventContainerWarm:
		if e.Err != nil {
			level = "warn"
		}
	default:
		return
	}
	message := e.Message
	if e.Err != nil {
		message = e.Err.Error()
	}
	m.source.local(event{
		Time: e.Time, Type: string(e.Type), Level: level, Session: e.SessionID, Task: e.TaskID, User: e.UserID,
		Repository: repositoryText(e.Repository), Container: e.Container, Instance: e.Instance, Message: message,
	})
}

func repositoryText(r naming.Repository) string {
	if r.IsZero() {
		return ""
	}
	return r.String()
}
