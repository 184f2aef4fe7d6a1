package store

import (
	"errors"
	"hash/fnv"
	"math/bits"
	"slices"
)

// The uids that sessions get. One uid is in use once per instance, since the kernel counts some limits per uid over
// all containers.
const (
	MinUID = 10000
	MaxUID = 60000

	numUIDs = MaxUID - MinUID + 1
	// uidBlock is the distance of two pools' bases: more uids than a pool of few slots uses.
	uidBlock = 64 * restingWords
)

// UIDBase returns the first uid that a pool's sessions get, which depends on the pool's UID. It is one of 195 from MinUID on, 256
// apart. So the sessions of two pools on one engine hardly ever share a uid, and what the kernel counts by it. The uids that follow
// on MaxUID are those from MinUID.
func UIDBase(poolUID string) int {
	h := fnv.New32a()
	h.Write([]byte(poolUID)) // it cannot fail
	return MinUID + int(h.Sum32()%(numUIDs/uidBlock))*uidBlock
}

// ErrNoUID says that every uid of an instance is in use.
var ErrNoUID = errors.New("store: every uid of the instance is in use")

// UIDs is the set of uids in use on one instance. The zero value is empty. It grows with the number in use, not with
// the range, so that an instance's record stays small.
type UIDs struct {
	Base int      `json:",omitempty"` // see UIDBase; 0 = MinUID
	Used []uint64 `json:",omitempty"` // a bit per uid, from Base
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

// free returns the free bits of a word. Those beyond the number of uids are none.
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
	return MinUID + (u.offset()+bit)%numUIDs
}

// offset is how far Base is from MinUID.
func (u *UIDs) offset() int { return max(u.Base-MinUID, 0) % numUIDs }

// bit returns the bit of a uid, or -1 if the set cannot have it.
func (u *UIDs) bit(uid int) int {
	if uid < MinUID || uid > MaxUID {
		return -1
	}
	bit := (uid - MinUID - u.offset() + numUIDs) % numUIDs
	if bit/64 >= len(u.Used) {
		return -1
	}
	return bit
}

// Free removes a uid from the set. Removing one that is not in it does nothing.
func (u *UIDs) Free(uid int) {
	if bit := u.bit(uid); bit >= 0 {
		u.Used[bit/64] &^= 1 << (bit % 64)
	}
}

// Has reports whether uid is in the set.
func (u *UIDs) Has(uid int) bool {
	bit := u.bit(uid)
	return bit >= 0 && u.Used[bit/64]&(1<<(bit%64)) != 0
}

// Len returns how many uids are in use.
func (u *UIDs) Len() int {
	n := 0
	for _, w := range u.Used {
		n += bits.OnesCount64(w)
	}
	return n
}

func (u UIDs) clone() UIDs { return UIDs{Base: u.Base, Used: slices.Clone(u.Used), Next: u.Next} }
