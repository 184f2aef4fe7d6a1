package warmth

import (
	"reflect"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

func TestPlan(t *testing.T) {
	now := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	young := store.Empty{Container: "young", Since: now.Add(-time.Minute)}
	old := store.Empty{Container: "old", Since: now.Add(-time.Hour)}
	ahead := store.Empty{Container: "ahead", Since: now.Add(time.Hour)} // by a clock that is two hours ahead
	seen := map[listed]time.Time{
		{"young", young.Since}: now.Add(-time.Minute), {"old", old.Since}: now, {"ahead", ahead.Since}: now.Add(-time.Hour),
	}
	for _, c := range []struct {
		name    string
		pool    store.Pool
		in      store.Instance
		timeout time.Duration
		want    []string
	}{
		{"by either clock", store.Pool{}, store.Instance{State: store.InstanceReady}, 5 * time.Minute, []string{"old", "ahead"}},
		{"for ever", store.Pool{}, store.Instance{State: store.InstanceReady}, -1, nil},
		{"at once, after another setting", store.Pool{}, store.Instance{State: store.InstanceReady}, 0, []string{"young", "old", "ahead"}},
		{"of a pool that is destroyed", store.Pool{Closed: true}, store.Instance{State: store.InstanceReady}, -1, []string{"young", "old", "ahead"}},
		{"cordoned", store.Pool{}, store.Instance{State: store.InstanceCordoned}, -1, []string{"young", "old", "ahead"}},
		{"about to be cordoned", store.Pool{}, store.Instance{State: store.InstanceReady, Wish: store.WishCordon}, -1, []string{"young", "old", "ahead"}},
		{"lost", store.Pool{}, store.Instance{State: store.InstanceLost}, -1, []string{"young", "old", "ahead"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.in.ID, c.in.Slots, c.in.Empties = "i-1", 4, []store.Empty{young, old, ahead}
			var got []string
			for _, d := range plan(&c.pool, []*store.Instance{&c.in}, seen, c.timeout, now) {
				for _, e := range d.empties {
					got = append(got, e.Container)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
