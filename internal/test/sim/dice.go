package sim

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"time"
)

// dice makes the random decisions of a run. Each throw depends on the seed and on its purpose alone.
type dice uint64

// throw returns a random number for a purpose. The same purpose gives the same number.
func (d dice) throw(purpose ...string) uint64 {
	h := fnv.New64a()
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(d))
	h.Write(seed[:])
	for _, p := range purpose {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	x := h.Sum64() // the low bits of the hash are weak: mix them, as splitmix64 does
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// part returns a random number from 0 to below 1.
func (d dice) part(purpose ...string) float64 { return float64(d.throw(purpose...)>>11) / (1 << 53) }

// chance returns true with a probability.
func (d dice) chance(p float64, purpose ...string) bool { return d.part(purpose...) < p }

// between returns a random number from low to high, both included.
func (d dice) between(low, high int, purpose ...string) int {
	return low + int(d.throw(purpose...)%uint64(high-low+1))
}

// upTo returns a random time below max.
func (d dice) upTo(max time.Duration, purpose ...string) time.Duration {
	return time.Duration(d.part(purpose...) * float64(max))
}

// life returns a random lifetime, log-normal with a median: most are short, a few are long.
func (d dice) life(median time.Duration, purpose ...string) time.Duration {
	u := max(d.part(append(purpose, "u")...), 1e-9)
	v := d.part(append(purpose, "v")...)
	normal := math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*v)
	return min(time.Duration(float64(median)*math.Exp(normal)), 10*median)
}

// zipf returns a random rank below n. The first is the most likely.
func (d dice) zipf(n int, purpose ...string) int {
	total := 0.0
	for i := range n {
		total += 1 / math.Pow(float64(i+1), 1.1)
	}
	at := d.part(purpose...) * total
	for i := range n {
		if at -= 1 / math.Pow(float64(i+1), 1.1); at < 0 {
			return i
		}
	}
	return n - 1
}
