package pgstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-go/berth/store"
)

func TestNotificationsNameTheirKeys(t *testing.T) {
	odd := []store.Key{store.PoolKey(), store.TaskKey("a:b:5:"), store.SessionKey("ä\n*"), store.UserKey(strings.Repeat("x", 1024))}
	var many []store.Key
	for i := range 1000 {
		many = append(many, store.SessionKey(fmt.Sprintf("s-%020d", i)))
	}
	for name, keys := range map[string][]store.Key{"odd": odd, "many": many} {
		t.Run(name, func(t *testing.T) {
			hears, ours := &Store{self: "RECEIVER"}, &Store{self: "SENDERXX"}
			sent := payloads(ours.self, keys)
			other, stop := hears.Notify(store.LeaseKey("another"))
			defer stop()
			var wakes, own []<-chan struct{}
			for _, key := range keys {
				wake, stop := hears.Notify(key)
				defer stop()
				wakes = append(wakes, wake)
				wake, stop = ours.Notify(key)
				defer stop()
				own = append(own, wake)
			}
			for _, payload := range sent {
				if len(payload) >= 8000 {
					t.Errorf("a payload has %d bytes, which the server refuses", len(payload))
				}
				hears.heard(payload)
				ours.heard(payload)
			}
			for i, key := range keys {
				if len(wakes[i]) == 0 {
					t.Errorf("%s was written, and its watcher sleeps", key)
				}
				if len(own[i]) > 0 {
					t.Errorf("%s: who wrote it wakes twice", key)
				}
			}
			if len(other) > 0 {
				t.Error("a watcher of another record woke")
			}
		})
	}
}

func TestWhatIsNotUnderstoodWakesEverybody(t *testing.T) {
	var many []store.Key
	for i := range 5000 {
		many = append(many, store.SessionKey(fmt.Sprintf("s-%020d", i)))
	}
	all := payloads("SENDERXX", many)
	if len(all) != 1 {
		t.Fatalf("a commit of %d records sends %d notifications", len(many), len(all))
	}
	for _, payload := range []string{all[0], "", "x", "SENDERXX5:9:short", "SENDERXX5", "SENDERXXa:b:", "SENDERXX5:-1:"} {
		s := &Store{self: "RECEIVER"}
		wake, stop := s.Notify(store.PoolKey())
		s.heard(payload)
		if len(wake) == 0 {
			t.Errorf("%q: the watcher sleeps", payload)
		}
		stop()
	}
}
