package wall

import "encoding/binary"

// Every connection to the outside takes an entry in the table of connections of the container's network namespace, and one in
// the machine's, which all containers share. So each uid has a bound of its own. Packets that have no socket's uid share one.
//
// Two things are bounded. The count is of the entries that exist. It leaves out connections of TCP that are over, whose entries stay
// for up to two minutes; those are bounded by the rate. The rate also keeps the kernel's list for the count short: a packet that
// is refused for the count is in that list until the kernel tidies it up, of which it does a little at a time.

const (
	// connections is how many entries a uid may have, and how many connections it may begin at once. Ten sessions with so many
	// fill a sixth of a table of usual size.
	connections = 4096
	// perSecond is how many connections a uid may begin in a second for a long time. Entries of connections that are over stay
	// for 120 seconds, so that there are at most 12,000 more.
	perSecond = 100
)

// The chains and the sets of the bounds.
const (
	early  = "early"  // of all packets, before their connection is looked for
	bounds = "bounds" // of packets that the policy accepts
	fresh  = "fresh"  // of packets that begin a connection
	rates  = "rates"
	counts = "counts"
)

const (
	setDynamic = 0x20  // NFT_SET_EVAL
	keyUID     = 24    // nft's TYPE_UID
	maxUIDs    = 65535 // of a set; sessions have the uids from 10000 to 60000

	ctStatus  = 2      // NFT_CT_STATUS
	confirmed = 1 << 3 // IPS_CONFIRMED

	cmpAtLeast = 5 // NFT_CMP_GTE
)

// A bound says how the connections of a uid are bounded. A nil expression bounds nothing.
type bound struct{ rate, count expression }

func (b bound) any() bool { return b.rate != nil || b.count != nil }

// bounds returns the bounds that are tried, the best first.
func (c Config) bounds() []bound {
	rate, count := overRate(c.PerSecond, c.Connections), overCount(c.Connections)
	return []bound{{rate, count}, {rate: rate}, {}}
}

// earlyRules judge packets before the kernel looks for their connection.
//
// Traffic within the namespace is kept out of its table of connections, which one session could fill. The translation of addresses to
// the engine's resolver needs its entries; sessions do not reach it.
//
// Options may route a packet to another address than its destination. They are dropped here and not later: the reset of a connection
// would else end it in this table, and never get to the machine's.
func (c Config) earlyRules(b bound, rule func(chain string, expressions ...expression)) {
	if b.any() {
		rule(early, append(append(loopback(), to(c.resolver())...), verdict(nfAccept))...)
		rule(early, append(append(loopback(), from(c.resolver())...), verdict(nfAccept))...)
		rule(early, append(loopback(), step("notrack"), verdict(nfAccept))...)
	}
	rule(early, append(loopback(), verdict(nfAccept))...)
	for _, uid := range c.Free {
		rule(early, load(metaSKUID), equal(uint32Bytes(uid)), verdict(nfAccept))
	}
	rule(early, append(ipv4(), payload(0, 1), mask([]byte{0x0f}), differs([]byte{5}), verdict(nfDrop))...)
	rule(early, append(ipv6(), payload(6, 1), equal([]byte{routingHeader}), verdict(nfDrop))...)
}

// boundRules count the packets that begin a connection: those whose entry is new, and gets into the table when the packet leaves.
// A packet that is dropped or refused here leaves no entry.
func (b bound) boundRules(rule func(chain string, expressions ...expression)) {
	rule(bounds, step("ct", number(1, register), number(2, ctStatus)), mask(uint32Bytes(confirmed)), equal(uint32Bytes(0)), toChain(fresh))
	if b.rate != nil {
		rule(fresh, load(metaSKUID), perUID(rates, 3, b.rate), verdict(nfDrop)) // TCP tries again soon
	}
	if b.count != nil {
		rule(fresh, load(metaSKUID), perUID(counts, 4, b.count), toChain(refusal))
	}
	rule(fresh, load(metaSKUID), compare(cmpAtLeast, uint32Bytes(0)), verdict(nfAccept)) // the rest has no uid
	if b.rate != nil {
		rule(fresh, b.rate, verdict(nfDrop))
	}
	if b.count != nil {
		rule(fresh, b.count, toChain(refusal))
	}
}

// newUIDSet makes a set of uids, each with an expression of its own, which packets add.
func newUIDSet(name string, id uint32) message {
	m := newSetOf(setDynamic, name, id, keyUID, 4)
	m.body = append(m.body, nested(9, number(1, maxUIDs))...) // NFTA_SET_DESC, NFTA_SET_DESC_SIZE
	return m
}

// perUID goes on if the uid in the register is over its bound. The set has a copy of the expression for each uid.
func perUID(set string, id uint32, e expression) expression {
	const add = 0 // NFT_DYNSET_OP_ADD
	return step("dynset", text(1, set), number(2, id), number(3, add), number(4, register), attribute(7|nestedFlag, e[4:]))
}

// overCount goes on if the connection is one too many.
func overCount(most int) expression {
	const inverted = 1 // NFT_CONNLIMIT_F_INV
	return step("connlimit", number(1, uint32(most)), number(2, inverted))
}

// overRate goes on if the packet comes too early.
func overRate(perSecond, burst int) expression {
	const packets, inverted = 0, 1 // NFT_LIMIT_PKTS, NFT_LIMIT_F_INV
	return step("limit", number64(1, uint64(perSecond)), number64(2, 1), number(3, uint32(burst)), number(4, packets), number(5, inverted))
}

func number64(kind uint16, n uint64) []byte {
	return attribute(kind, binary.BigEndian.AppendUint64(nil, n))
}
