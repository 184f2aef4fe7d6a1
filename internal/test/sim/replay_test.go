package sim

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// again is the line that runs a plan again.
func (p plan) again() string {
	line := fmt.Sprintf("SIM_SEED=%d", p.dice)
	if p.strike.blow != "" {
		line += fmt.Sprintf(" SIM_STRIKE='%s'", p.strike)
	}
	if len(p.dropped) > 0 {
		line += fmt.Sprintf(" SIM_WITHOUT='%s'", strings.Join(p.dropped, ","))
	}
	return line + " go test ./internal/test/sim -run TestReplay -v"
}

// asked is the plan that the environment asks for.
func asked(t *testing.T) plan {
	seed, err := strconv.ParseUint(os.Getenv("SIM_SEED"), 10, 64)
	if err != nil {
		t.Skip("set SIM_SEED to the number of a seed")
	}
	p := newPlan(seed)
	if s := os.Getenv("SIM_STRIKE"); s != "" {
		p = sweepPlan(seed)
		at, kind, _ := strings.Cut(s, ": ")
		p.strike = strike{site: site{at: at}, blow: blow(kind)}
	}
	if s := os.Getenv("SIM_WITHOUT"); s != "" {
		for _, part := range strings.Split(s, ",") {
			p = p.without(part)
		}
	}
	return p
}

// TestReplay runs a seed, or a run of the sweep, as often as SIM_TIMES says, and tells its story. With SIM_SHRINK=1 it
// then looks for a smaller one that fails, too.
func TestReplay(t *testing.T) {
	p := asked(t)
	times, _ := strconv.Atoi(os.Getenv("SIM_TIMES"))
	for range max(times, 1) {
		o := play(t, "replay", p)
		if o.fail(t, p); len(o.faults) > 0 && os.Getenv("SIM_SHRINK") != "" {
			small := shrink(p, time.Now().Add(time.Minute), func(p plan) bool {
				return len(play(t, "smaller", p).faults) > 0
			})
			t.Logf("smaller: %s\n%s", small, small.again())
			return
		}
		if len(o.faults) > 0 || times <= 1 {
			t.Logf("%s\n%s\n%s", p, o.story, o.log)
			return
		}
	}
}

// shrink leaves out kinds of faults and tasks as long as the plan fails without them: what a seed decides for one is
// not changed by leaving out another.
func shrink(p plan, deadline time.Time, fails func(plan) bool) plan {
	var parts []string
	for _, t := range troubles {
		if p.armed[t] {
			parts = append(parts, string(t))
		}
	}
	for i := range p.tasks {
		parts = append(parts, taskName(i))
	}
	for _, part := range parts {
		if smaller := p.without(part); time.Now().Before(deadline) && fails(smaller) {
			p = smaller
		}
	}
	return p
}

func TestShrinkKeepsWhatIsNeeded(t *testing.T) {
	p := newPlan(3)
	p.tasks, p.armed = 4, map[trouble]bool{crash: true, slow: true, killed: true}
	small := shrink(p, time.Now().Add(time.Hour), func(p plan) bool { return p.armed[slow] && !p.drops("task-2") })
	want := "a replica crashes,a container is killed,task-0,task-1,task-3"
	if got := strings.Join(small.dropped, ","); got != want || !small.armed[slow] || small.armed[crash] {
		t.Errorf("left out %q, want %q", got, want)
	}
	if len(p.dropped) > 0 || !p.armed[crash] {
		t.Error("the plan itself was changed")
	}
}
