package names

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestRateOfAnAsker: what one asker has used up is missing to no other, comes back with time, and is forgotten then.
func TestRateOfAnAsker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Config{})
		defer s.Close()
		ask := func(from asker, want int) {
			t.Helper()
			n := 0
			for s.inRate(from) {
				n++
			}
			if n != want {
				t.Errorf("%+v: %d queries are answered, want %d", from, n, want)
			}
		}
		hostile, other, unknown := asker{10001, true}, asker{10002, true}, asker{}
		ask(hostile, burst)
		ask(other, burst)
		ask(unknown, 2*burst)
		time.Sleep(3 * time.Second)
		ask(hostile, 3*perSecond)
		ask(unknown, 6*perSecond)
		time.Sleep(time.Minute)
		ask(hostile, burst)
		if len(s.rates) != 3 {
			t.Errorf("%d askers are known", len(s.rates))
		}
		for uid := range uint32(5000) {
			s.inRate(asker{20000 + uid, true})
			time.Sleep(100 * time.Millisecond)
		}
		if len(s.rates) > 2 {
			t.Errorf("%d askers are known, of which one asks at a time", len(s.rates))
		}
	})
}
