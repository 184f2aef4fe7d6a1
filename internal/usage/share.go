package usage

import (
	"math/bits"
	"time"

	"github.com/berth-go/berth/store"
)

// shares divides the time of a machine between the sessions that held its slots: each has one part in slots of the time for
// which it held one. The rest is idle. The shares and idle add up to length exactly. Clocks that disagree may say that more
// slots were held than there are: then the shares are reduced alike.
func shares(length int64, slots int, held []int64) (of []int64, idle int64) {
	of = make([]int64, len(held))
	var sum int64
	for i, h := range held {
		of[i] = h / int64(max(slots, 1))
		sum += of[i]
	}
	idle = length - sum
	if idle >= 0 {
		return of, idle
	}
	idle = length
	for i := range of {
		high, low := bits.Mul64(uint64(of[i]), uint64(length))
		part, _ := bits.Div64(high, low, uint64(sum)) // at most length, so that it fits
		of[i] = int64(part)
		idle -= of[i]
	}
	return of, idle
}

// heldBetween returns for how long a session held its slot within a span.
func heldBetween(s *store.Session, from, to int64) int64 {
	if s.Queued || s.Instance == "" {
		return 0
	}
	begin, end := max(placedAt(s).UnixMicro(), from), to
	if s.State == store.SessionEnded {
		end = min(end, s.EndedAt.UnixMicro())
	}
	return max(end-begin, 0)
}

func placedAt(s *store.Session) time.Time { return s.CreatedAt.Add(s.Waited) }

// startedBetween reports whether a session became active after from and no later than to.
func startedBetween(s *store.Session, from, to int64) bool {
	at := placedAt(s).Add(s.Took).UnixMicro()
	return s.Took > 0 && from < at && at <= to
}
