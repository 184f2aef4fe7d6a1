package pool

import (
	"hash/fnv"
	"math"
	"time"
)

// bucket holds a token for each launch that may begin. It fills at a steady rate, and closes for a while when the cloud
// asks for fewer calls.
type bucket struct {
	tokens float64
	filled time.Time // when it was filled last; zero = never, and it is full
	shut   time.Time // no token is given before then
	tries  int       // how often in a row the cloud asked for fewer calls
}

// left returns how many launches may begin now.
func (b *bucket) left(cfg Config, now time.Time) int {
	most := float64(cfg.LaunchBurst)
	switch {
	case now.Before(b.shut):
		return 0
	case cfg.LaunchRate < 0 || cfg.LaunchBurst < 0:
		return math.MaxInt
	case b.filled.IsZero():
		b.tokens = most
	default:
		b.tokens = min(most, b.tokens+now.Sub(b.filled).Minutes()*float64(cfg.LaunchRate))
	}
	b.filled = now
	return int(b.tokens)
}

func (b *bucket) take(n int) { b.tokens -= float64(n) }

// throttled closes the bucket. Calls that are throttled together count once.
func (b *bucket) throttled(seed string, now time.Time) {
	if now.Before(b.shut) {
		return
	}
	b.tries++
	b.shut = now.Add(jitter(retryPause(b.tries), seed))
	b.tokens, b.filled = 0, b.shut
}

// jitter makes a pause longer by up to a half, so that calls that were refused together are not repeated together. The
// same seed gives the same pause, so that a simulation can be repeated.
func jitter(pause time.Duration, seed string) time.Duration {
	return pause + time.Duration(fraction(seed)*float64(pause)/2)
}

// fraction maps a string evenly to a number from 0 up to 1.
func fraction(seed string) float64 {
	h := fnv.New64a()
	h.Write([]byte(seed))
	x := h.Sum64() // its upper bits hardly change with the last byte
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return float64((x^x>>31)>>11) / (1 << 53)
}
