package usage

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-go/berth/store"
)

func TestSharesAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(1, hour).Draw(t, "length")
		slots := rapid.IntRange(0, 50).Draw(t, "slots")
		held := rapid.SliceOfN(rapid.Int64Range(0, length), 0, 60).Draw(t, "held")
		of, idle := shares(length, slots, held)
		sum := idle
		for i, share := range of {
			if share < 0 || share > held[i] {
				t.Errorf("a session that held a slot for %d gets %d", held[i], share)
			}
			sum += share
		}
		if sum != length || idle < 0 {
			t.Errorf("%v and %d idle of %d", of, idle, length)
		}
	})
}

func TestAShareIsOnePartInAsManyAsThereAreSlots(t *testing.T) {
	for _, c := range []struct {
		what   string
		slots  int
		held   []int64
		of     []int64
		idle   int64
		length int64
	}{
		{"nobody", 4, nil, []int64{}, 60, 60},
		{"one, all the time", 4, []int64{60}, []int64{15}, 45, 60},
		{"all slots", 2, []int64{60, 60}, []int64{30, 30}, 0, 60},
		{"one after another in one slot", 1, []int64{20, 40}, []int64{20, 40}, 0, 60},
		{"what cannot be divided is idle", 7, []int64{60, 60}, []int64{8, 8}, 44, 60},
		{"more than there are slots", 1, []int64{60, 30}, []int64{40, 20}, 0, 60},
	} {
		of, idle := shares(c.length, c.slots, c.held)
		if idle != c.idle || len(of) != len(c.of) {
			t.Errorf("%s: %v and %d idle", c.what, of, idle)
			continue
		}
		for i := range of {
			if of[i] != c.of[i] {
				t.Errorf("%s: %v, want %v", c.what, of, c.of)
			}
		}
	}
}

func TestASessionHoldsItsSlotFromItsPlaceToItsEnd(t *testing.T) {
	at := func(min int) time.Time { return time.UnixMicro(0).Add(time.Duration(min) * time.Minute) }
	micro := func(min int) int64 { return at(min).UnixMicro() }
	s := &store.Session{
		Instance: "i", CreatedAt: at(10), Waited: 5 * time.Minute, Took: 2 * time.Minute, State: store.SessionActive,
	}
	held := func(from, to int) time.Duration {
		return time.Duration(heldBetween(s, micro(from), micro(to))) * time.Microsecond
	}
	if a, b, c := held(0, 15), held(0, 20), held(20, 30); a != 0 || b != 5*time.Minute || c != 10*time.Minute {
		t.Errorf("while it is active: %v, %v, %v", a, b, c)
	}
	if startedBetween(s, micro(16), micro(17)) != true || startedBetween(s, micro(17), micro(18)) {
		t.Error("its start is not in the minute in which it became active")
	}
	s.State, s.EndedAt = store.SessionEnded, at(25)
	if a, b := held(20, 30), held(25, 30); a != 5*time.Minute || b != 0 {
		t.Errorf("when it has ended: %v, %v", a, b)
	}
	s.Queued = true
	if a := held(0, 30); a != 0 {
		t.Errorf("while it waits: %v", a)
	}
}
