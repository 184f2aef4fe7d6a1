package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/berth-go/berth/store"
)

// State is what a process has in its memory when metrics are collected. Collecting them asks neither the store nor the cloud.
type State struct {
	Planner bool // this process plans the pool; only it tells of Queue, Instances, Slots, Containers and Conditions

	Sessions   map[store.SessionState]int64
	Queue      Queue
	Instances  map[store.InstanceState]int64
	Slots      map[string]int64
	Containers map[store.ContainerState]int64
	Conditions map[string]bool // what is wrong with the pool as a whole

	Failures       map[string]int64 // in the background, by the part of berth
	Launches       int64            // that gave a machine
	LaunchFailures int64
	Losses         map[string]int64 // instances, by how they were lost
	ContainersLost int64

	Preparations    int64 // of workspaces that succeeded
	PrepareFailures int64
	Starts          map[string]int64 // of sessions for which a workspace is prepared, by whether they had it
	Work            map[string]int64 // of sessions that ended, by what has become of it
}

// Queue is the queue as the planner has seen it last.
type Queue struct {
	Sessions int64
	Longest  time.Duration // the wait of the session that has waited longest; 0 = none waits
}

// The values of berth.state of a slot.
const (
	SlotUsed        = "used"        // a session holds it
	SlotFree        = "free"        // a session may take it
	SlotUnavailable = "unavailable" // no session holds it, and its instance takes none
)

// observables are the instruments that are read when metrics are collected.
type observables struct {
	sessions, instances, slots, containers, planners metric.Int64ObservableUpDownCounter
	queue, conditions                                metric.Int64ObservableGauge
	longest                                          metric.Float64ObservableGauge
	failures, launches, instancesLost, lost          metric.Int64ObservableCounter
	preparations, starts, work                       metric.Int64ObservableCounter
}

// Observe reads state whenever metrics are collected, until stop is called. state must not block.
func (t *Telemetry) Observe(state func() State) (stop func()) {
	stop = func() {}
	if t == nil {
		return stop
	}
	t.guarded(func() {
		o := t.observables.init(t.meter)
		registration, err := t.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
			o.observe(to, state())
			return nil
		}, o.sessions, o.instances, o.slots, o.containers, o.planners, o.queue, o.conditions, o.longest, o.failures, o.launches,
			o.instancesLost, o.lost, o.preparations, o.starts, o.work)
		if err != nil {
			t.log.Warn("the state of the pool cannot be observed", "err", err)
			return
		}
		stop = func() { t.guarded(func() { _ = registration.Unregister() }) }
	})
	return stop
}

// init makes the instruments. An error shows when they are registered.
func (o *observables) init(m metric.Meter) *observables {
	updown := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		made, _ := m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		return made
	}
	counter := func(name, unit, description string) metric.Int64ObservableCounter {
		made, _ := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		return made
	}
	gauge := func(name, unit, description string) metric.Int64ObservableGauge {
		made, _ := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		return made
	}
	o.sessions = updown("berth.session.count", "{session}", "Sessions by state.")
	o.instances = updown("berth.instance.count", "{instance}", "Instances by state.")
	o.slots = updown("berth.slot.count", "{slot}", "Slots of instances by state.")
	o.containers = updown("berth.container.count", "{container}", "Containers by state.")
	o.planners = updown("berth.planner.count", "{replica}", "Replicas that plan the pool.")
	o.queue = gauge("berth.queue.length", "{session}", "Sessions that wait for a slot.")
	o.conditions = gauge("berth.pool.condition", "1", "1 while something is wrong with the pool as a whole.")
	o.longest, _ = m.Float64ObservableGauge("berth.queue.wait.longest", metric.WithUnit("s"),
		metric.WithDescription("Wait of the session that has waited longest."))
	o.failures = counter("berth.background.failures", "{failure}", "Failures of background work.")
	o.launches = counter("berth.instance.launches", "{launch}", "Launches of instances that have an outcome.")
	o.instancesLost = counter("berth.instance.lost", "{instance}", "Instances that were lost.")
	o.lost = counter("berth.container.lost", "{container}", "Containers that died or were removed from outside.")
	o.preparations = counter("berth.workspace.preparations", "{workspace}", "Workspaces that were to be prepared.")
	o.starts = counter("berth.workspace.starts", "{session}", "Starts of sessions whose workspace is prepared.")
	o.work = counter("berth.session.work", "{session}", "Ended sessions whose work was to be saved.")
	return o
}

func (o *observables) observe(to metric.Observer, s State) {
	observe := func(instrument metric.Int64Observable, n int64, attributes ...attribute.KeyValue) {
		to.ObserveInt64(instrument, n, metric.WithAttributes(attributes...))
	}
	for state, n := range s.Sessions {
		observe(o.sessions, n, keyState.String(string(state)))
	}
	for part, n := range s.Failures {
		observe(o.failures, n, keyPart.String(part))
	}
	for loss, n := range s.Losses {
		observe(o.instancesLost, n, keyLoss.String(loss))
	}
	observe(o.lost, s.ContainersLost)
	observe(o.preparations, s.Preparations)
	observe(o.preparations, s.PrepareFailures, keyError.String(errorOther))
	for state, n := range s.Starts {
		observe(o.starts, n, keyState.String(state))
	}
	for state, n := range s.Work {
		observe(o.work, n, keyState.String(state))
	}
	observe(o.launches, s.Launches)
	observe(o.launches, s.LaunchFailures, keyError.String(errorOther))
	if !s.Planner {
		observe(o.planners, 0)
		return
	}
	observe(o.planners, 1)
	observe(o.queue, s.Queue.Sessions)
	to.ObserveFloat64(o.longest, s.Queue.Longest.Seconds())
	for state, n := range s.Instances {
		observe(o.instances, n, keyState.String(string(state)))
	}
	for state, n := range s.Slots {
		observe(o.slots, n, keyState.String(state))
	}
	for state, n := range s.Containers {
		observe(o.containers, n, keyState.String(string(state)))
	}
	for condition, is := range s.Conditions {
		n := int64(0)
		if is {
			n = 1
		}
		observe(o.conditions, n, keyCondition.String(condition))
	}
}
