package warmth

import (
	"fmt"

	"github.com/berth-go/berth/store"
)

// Budget bounds the containers that fulfil wishes.
type Budget struct {
	Containers  int // of the pool
	PerInstance int // of one instance; 0 = no bound but the instance's slots
}

// Setting is the name under which the planner publishes its Budget, which is in force for all processes, on the pool's record.
const Setting = "Warm"

// String returns a Budget as it is published.
func (b Budget) String() string {
	return fmt.Sprintf("%d in the pool, %d on an instance", b.Containers, b.PerInstance)
}

// inForce returns the budget by the pool's record. Under a planner of a version that does not look after warm containers, it is
// zero.
func (b Budget) inForce(pool *store.Pool) (published Budget) {
	if pool.SettingsGeneration == 0 {
		return b
	}
	n, _ := fmt.Sscanf(pool.Settings[Setting], "%d in the pool, %d on an instance", &published.Containers, &published.PerInstance)
	if n < 2 {
		return Budget{}
	}
	return published
}

// held returns how many other wishes have a part of the budget, on one instance or, if that is "", of the pool.
func (g *granting) held(instance string) (n int) {
	for i := range g.w.Wishes {
		if x := &g.w.Wishes[i]; x != g.wish && x.Container != "" && (instance == "" || x.Instance == instance) {
			n++
		}
	}
	return n
}

// budgeted makes room in the budget for the wish, on an instance. It takes the parts of older wishes for that. It reports
// whether there is room.
func (g *granting) budgeted(instance string) (bool, error) {
	for _, bound := range []struct {
		instance string
		most     int
	}{{instance, g.budget.PerInstance}, {"", g.budget.Containers}} {
		if bound.instance != "" && bound.most == 0 {
			continue
		}
		for g.held(bound.instance) >= bound.most {
			older := g.oldest(bound.instance)
			if older == nil {
				return false, nil
			}
			if err := release(g.tx, older); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// oldest returns the oldest wish that has a part of the budget, if it is older than the one at hand. Wishes are listed in the
// order in which hosts asked.
func (g *granting) oldest(instance string) *store.WarmWish {
	for i := range g.w.Wishes {
		x := &g.w.Wishes[i]
		if x == g.wish {
			return nil
		}
		if x.Container != "" && (instance == "" || x.Instance == instance) {
			return x
		}
	}
	return nil
}
