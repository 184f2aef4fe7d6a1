package store

import (
	"errors"
	"math/bits"
	"slices"
)

// The uids that sessions get. One uid is in use once per instance, since the kernel counts some limits per uid over
// all containers.
const (
	MinUID = 10000
	MaxUID = 60000

	numUIDs = MaxUID - MinUID + 1
)

// ErrNoUID says that every uid of an instance is in use.
var ErrNoUID = errors.New("store: every uid of the instance is in use")

// UIDs is the set of uids in use on one instance. The zero value is empty. It grows with the number in use, not with
// the range, so that an instance's record stays small.
type UIDs struct {
	Used []uint64 `json:",omitempty"` // a bit per uid, from MinUID
	Next int      `json:",omitempty"` // where the next search begins, so that a freed uid rests before it comes again
}

// restingWords is the least size of the set in words of 64: a pool of few slots goes through this many uids before it
// gives one out again.
const restingWords = 4

// Take adds a free uid to the set and returns it. ErrNoUID: none is free.
func (u *UIDs) Take() (int, error) {
	if u.Used == nil {
		u.Used = make([]uint64, restingWords)
	}
	for i := range len(u.Used) {
		w := (u.Next/64 + i) % len(u.Used)
		free := u.free(w)
		if i == 0 {
			free &= ^uint64(0) << (u.Next % 64)
		}
		if free != 0 {
			return u.take(w*64 + bits.TrailingZeros64(free)), nil
		}
	}
	// The words behind Next are full, and the one that Next is in was searched from Next only.
	for w := range u.Used {
		if free := u.free(w); free != 0 {
			return u.take(w*64 + bits.TrailingZeros64(free)), nil
		}
	}
	n := len(u.Used) * 64
	if n >= numUIDs {
		return 0, ErrNoUID
	}
	u.Used = append(u.Used, make([]uint64, len(u.Used))...)
	return u.take(n), nil
}

// free returns the free bits of a word. Those beyond MaxUID are none.
func (u *UIDs) free(w int) uint64 {
	free := ^u.Used[w]
	if left := numUIDs - w*64; left < 64 {
		free &= 1<<max(left, 0) - 1
	}
	return free
}

func (u *UIDs) take(bit int) int {
	u.Used[bit/64] |= 1 << (bit % 64)
	u.Next = (bit + 1) % (len(u.Used) * 64)
	return MinUID + bit
}

// Free removes a uid from the set. Removing one that is not in it does nothing.
func (u *UIDs) Free(uid int) {
	if bit := uid - MinUID; bit >= 0 && bit/64 < len(u.Used) {
		u.Used[bit/64] &^= 1 << (bit % 64)
	}
}

// Has reports whether uid is in the set.
func (u *UIDs) Has(uid int) bool {
	bit := uid - MinUID
	return bit >= 0 && bit/64 < len(u.Used) && u.Used[bit/64]&(1<<(bit%64)) != 0
}

// Len returns how many uids are in use.
func (u *UIDs) Len() int {
	n := 0
	for _, w := range u.Used {
		n += bits.OnesCount64(w)
	}
	return n
}

func (u UIDs) clone() UIDs { return UIDs{Used: slices.Clone(u.Used), Next: u.Next} }
