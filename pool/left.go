package pool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// maxDoubts is how many launches that were given up the pool's record remembers.
const maxDoubts = 20

// addDoubt records that a launch was given up, and removes doubts that this process has known for OrphanGrace.
func (m *Manager) addDoubt(pool *store.Pool, launch string, now time.Time) {
	all := append(slices.Clone(pool.Doubts), store.Doubt{Launch: launch, At: now})
	pool.Doubts = nil
	for i, known := range m.sinceKnown(all, now) {
		if now.Sub(known.At) < m.cfg.OrphanGrace {
			pool.Doubts = append(pool.Doubts, all[i])
		}
	}
	pool.Doubts = pool.Doubts[max(0, len(pool.Doubts)-maxDoubts):]
}

// sinceKnown returns doubts with the times at which this process first read them. The stored times are from the wall clock
// of the process that gave the launch up.
func (m *Manager) sinceKnown(doubts []store.Doubt, now time.Time) []store.Doubt {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := make(map[string]time.Time, len(doubts))
	all := slices.Clone(doubts)
	for i, d := range all {
		at, before := m.doubts[d.Launch]
		if !before {
			at = now
		}
		known[d.Launch], all[i].At = at, at
	}
	m.doubts = known
	return all
}

// unseen returns how many launches were given up lately, and after the last list was made: each may have a machine that
// costs money. The doubts are those of [Manager.sinceKnown].
func unseen(doubts []store.Doubt, listedAt time.Time, cfg Config, now time.Time) (n int) {
	for _, d := range doubts {
		if !d.At.Before(listedAt) && now.Sub(d.At) < cfg.OrphanGrace/5 {
			n++
		}
	}
	return n
}

// launchedInDoubt reports whether a machine belongs to a launch that was given up. The caller holds mu.
func (m *Manager) launchedInDoubt(cloudID string, doubts []store.Doubt) bool {
	return slices.ContainsFunc(m.machines, func(machine Machine) bool {
		return machine.CloudID == cloudID &&
			slices.ContainsFunc(doubts, func(d store.Doubt) bool { return d.Launch == machine.LaunchID })
	})
}

// distinct returns each machine once. Of two entries that contradict each other, it takes the one that costs money. It
// leaves out machines without a cloud ID, which can be neither distinguished nor ended.
func distinct(machines []Machine) []Machine {
	at := make(map[string]int, len(machines))
	var all []Machine
	for _, m := range machines {
		i, twice := at[m.CloudID]
		switch {
		case m.CloudID == "":
		case !twice:
			at[m.CloudID] = len(all)
			all = append(all, m)
		case all[i].State == MachineEnded || all[i].State == MachineEnding && m.State != MachineEnded:
			all[i] = m
		}
	}
	return all
}

// Left asks the cloud what the pool still has and no record knows: machines with its UID that have not ended, and launches
// that were given up within the last fifth of Config.OrphanGrace, whose machines the cloud's list may not show yet. It
// describes each in a phrase. Left ends nothing: the Manager that runs does. An error says that nothing is known. Left may
// be called at any time, also while another process plans.
func (m *Manager) Left(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.CallTimeout)
	defer cancel()
	machines, err := m.cfg.Cloud.List(ctx) // before the records, which know of every launch before the cloud does
	if err != nil {
		return nil, err
	}
	var pool *store.Pool
	known := make(map[string]bool)
	err = m.cfg.Store.View(ctx, func(v store.View) error {
		clear(known)
		if pool, err = store.Get[*store.Pool](v, store.PoolKey()); err != nil {
			return err
		}
		instances, err := allInstances(v)
		for _, in := range instances {
			known[in.ID] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var left []string
	for _, machine := range distinct(machines) {
		if machine.of(pool.UID) && !known[machine.LaunchID] && machine.State != MachineEnded {
			left = append(left, fmt.Sprintf("machine %s of launch %q, which is %s", machine.CloudID, machine.LaunchID, machine.State))
		}
	}
	now := time.Now()
	for _, d := range m.sinceKnown(pool.Doubts, now) {
		if age := now.Sub(d.At); age < m.cfg.OrphanGrace/5 && !known[d.Launch] {
			left = append(left, fmt.Sprintf("launch %q, which was given up %v ago and may yet show a machine", d.Launch, age.Round(time.Second)))
		}
	}
	return left, nil
}
