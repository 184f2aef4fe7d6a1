package rows

import (
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// Columns are the values that queries compare, beside kind and ID. An empty text and a nil pointer are NULL, except that State is
// NULL only for kinds that have no state.
type Columns struct {
	HasState                                                  bool
	State, Task, User, Repository, Container, Instance, Owner string
	HasRoom, Queued, HasLease, HasEnded                       bool
	Room                                                      int64
	LeaseUntil, EndedAt                                       int64 // microseconds since 1970
}

// Names are the names of the columns, in the order of Values.
var Names = []string{
	"state", "task", "usr", "repository", "container", "instance", "owner", "room", "queued", "lease_until", "ended_at",
}

// Values returns the columns in the order of Names: string, int64, true or nil.
func (c *Columns) Values() []any {
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	number := func(has bool, n int64) any {
		if !has {
			return nil
		}
		return n
	}
	values := []any{
		nil, text(c.Task), text(c.User), text(c.Repository), text(c.Container), text(c.Instance), text(c.Owner),
		number(c.HasRoom, c.Room), nil, number(c.HasLease, c.LeaseUntil), number(c.HasEnded, c.EndedAt),
	}
	if c.HasState {
		values[0] = c.State
	}
	if c.Queued {
		values[8] = true
	}
	return values
}

// ColumnsOf computes the columns of a record. A change of its result for a stored record needs a migration.
func ColumnsOf(r store.Record) (c Columns) {
	switch r := r.(type) {
	case *store.Instance:
		c.HasState, c.State = true, stateColumn(instanceStates, r.State)
		if free := r.Slots - r.Sessions; free > 0 && r.State == store.InstanceReady {
			c.HasRoom, c.Room = true, int64(free)
		}
	case *store.Container:
		c.HasState, c.State = true, stateColumn(containerStates, r.State)
		c.Instance, c.Owner = r.Instance, r.Owner
	case *store.Session:
		c.HasState, c.State = true, stateColumn(sessionStates, r.State)
		c.Task, c.User, c.Container, c.Instance, c.Owner = r.TaskID, r.UserID, r.Container, r.Instance, r.Owner
		if repository := r.SharingKey.Repository; !repository.IsZero() {
			c.Repository = repository.String()
		}
		c.Queued = r.Queued
		if r.State == store.SessionActive && !r.LeaseUntil.IsZero() {
			c.HasLease, c.LeaseUntil = true, micros(r.LeaseUntil)
		}
		if r.State == store.SessionEnded && !r.EndedAt.IsZero() {
			c.HasEnded, c.EndedAt = true, micros(r.EndedAt)
		}
	}
	return c
}

func micros(t time.Time) int64 { return t.UnixMicro() }

// The states that the column holds. All other states are stored as the empty one. A query for every state merges the states by ID,
// and must know which states there may be. So a version that adds a state also adds a migration.
var (
	instanceStates = []store.InstanceState{
		store.InstanceLaunching, store.InstanceBooting, store.InstanceReady,
		store.InstanceCordoned, store.InstanceTerminating, store.InstanceLost,
	}
	containerStates = []store.ContainerState{store.ContainerStarting, store.ContainerReady, store.ContainerStopping}
	sessionStates   = []store.SessionState{
		store.SessionCreating, store.SessionActive, store.SessionTerminating, store.SessionEnded,
	}
)

func stateColumn[S ~string](known []S, state S) string {
	if slices.Contains(known, state) {
		return string(state)
	}
	return ""
}

// stateColumns returns the values of the column that a query for some states looks at; none = all.
func stateColumns[S ~string](known, states []S) []string {
	if len(states) == 0 {
		states = append(slices.Clone(known), "")
	}
	var columns []string
	for _, s := range states {
		if c := stateColumn(known, s); !slices.Contains(columns, c) {
			columns = append(columns, c)
		}
	}
	return columns
}
