package pool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
	"pgregory.net/rapid"
)

// toy is a world in which every action succeeds at once.
type toy struct {
	snapshot
	cfg      Config
	now      time.Time
	launches int
}

// step plans and acts once, a minute after the last time.
func (w *toy) step() []action {
	w.now = w.now.Add(time.Minute)
	w.listedAt = w.now
	acts := plan(w.snapshot, w.cfg, w.now)
	for _, a := range acts {
		i := slices.IndexFunc(w.instances, func(in *store.Instance) bool { return in.ID == a.instance })
		switch a.verb {
		case doLaunch:
			w.launches++
			instance(fmt.Sprintf("n%d", w.launches), booting, healthy, seenFor(0))(&w.snapshot)
			fresh := w.instances[len(w.instances)-1]
			fresh.Slots, fresh.Generation, fresh.CreatedAt = w.cfg.SlotsPerInstance, w.generation, w.now
		case doEndUnknown:
			delete(w.unknown, a.cloudID)
		case doForget:
			delete(w.machines, a.instance)
			w.instances = slices.Delete(w.instances, i, i+1)
		default:
			w.apply(w.instances[i], a)
		}
	}
	return acts
}

func (w *toy) apply(in *store.Instance, a action) {
	obs := w.seen[in.ID]
	switch a.verb {
	case doReady:
		in.State, in.IdleSince = ready, w.now
	case doUncordon:
		in.State, in.Outlook = ready, ""
		if in.Sessions == 0 {
			in.IdleSince = w.now
		}
	case doCordon:
		in.State = cordoned
	case doDrain:
		in.State, in.Drain, in.Outlook = cordoned, true, string(a.outlook)
	case doRetire:
		in.State = terminating
	case doLose:
		in.State = lost
	case doRepeat, doAdopt:
		in.State, in.CloudID, obs.healthy = booting, "i-"+in.ID, true
		obs.known, obs.since = w.now, w.now
	case doTerminate:
		in.Terminated = true
		w.machines[in.ID] = Machine{LaunchID: in.ID, CloudID: "i-" + in.ID, State: MachineEnded}
	}
	w.seen[in.ID] = obs
}

// drawToy draws a world whose cloud works.
func drawToy(t *rapid.T, cfg Config) *toy {
	w := &toy{snapshot: drawSnapshot(t, cfg), cfg: cfg, now: t0}
	w.listed, w.refused, w.tokens, w.pool = true, false, 1000, store.Pool{}
	for len(w.instances)+len(w.unknown) > cfg.MaxInstances && len(w.instances) > 0 {
		w.instances = w.instances[1:]
	}
	for _, in := range w.instances {
		obs := w.seen[in.ID]
		obs.busy, obs.strikes = false, 0
		// An engine whose machine is not listed does not answer, and is missing from now on.
		if _, obs.healthy = w.machines[in.ID]; !obs.healthy && obs.missing.IsZero() {
			obs.missing = t0
		}
		w.seen[in.ID] = obs
		in.Drain = in.Drain && in.State != ready
	}
	return w
}

// changeOutlooks lets the cloud give outlooks and take them back.
func (w *toy) changeOutlooks(t *rapid.T) {
	for range 10 {
		for _, in := range w.instances {
			if m, there := w.machines[in.ID]; there {
				m.Outlook = rapid.SampledFrom(allOutlooks).Draw(t, "outlook")
				w.machines[in.ID] = m
			}
		}
		w.step()
	}
	for id, obs := range w.seen {
		obs.notice = OutlookGood
		w.seen[id] = obs
	}
	for id, m := range w.machines {
		m.Outlook = OutlookGood
		w.machines[id] = m
	}
}

// changeSessions lets sessions come and go.
func (w *toy) changeSessions(t *rapid.T) {
	for range 10 {
		w.demand = rapid.IntRange(0, 40).Draw(t, "demand")
		for _, in := range w.instances {
			if in.State == ready {
				in.Sessions = rapid.IntRange(0, in.Slots).Draw(t, "sessions")
			}
		}
		w.step()
		if n := len(w.instances); n > w.cfg.MaxInstances {
			t.Fatalf("%d instances, of at most %d", n, w.cfg.MaxInstances)
		}
	}
}

// TestQuietPoolConverges lets any pool come to rest: the wanted number of instances is left, and then nothing changes any
// more.
func TestQuietPoolConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		w := drawToy(t, cfg)
		w.changeOutlooks(t)
		w.changeSessions(t)
		w.demand = 0
		for range 120 {
			for _, in := range w.instances {
				if in.Sessions > 0 {
					in.Sessions, in.IdleSince = 0, w.now
				}
			}
			w.step()
		}
		spare := (cfg.SpareSlots + cfg.SlotsPerInstance - 1) / cfg.SlotsPerInstance
		want := min(cfg.MaxInstances, max(cfg.MinInstances, spare))
		if len(w.instances) != want {
			t.Fatalf("%d instances are left, not %d", len(w.instances), want)
		}
		for range 60 {
			if acts := w.step(); len(acts) > 0 {
				t.Fatalf("a quiet pool still moves: %q", text(acts))
			}
		}
	})
}
