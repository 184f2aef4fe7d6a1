package wall

import "encoding/binary"

// The numbers are those of linux/netfilter.h and linux/netfilter/nf_tables.h.
const (
	nfDrop   = 0
	nfAccept = 1
	nftGoto  = 1<<32 - 4 // NFT_GOTO, which is -4

	metaOIFName = 7
	metaSKUID   = 10
	metaNFProto = 15
	metaL4Proto = 16

	register    = 1 // NFT_REG_1
	verdictTo   = 0 // NFT_REG_VERDICT
	cmpEqual    = 0
	cmpDiffers  = 1
	networkBase = 1 // NFT_PAYLOAD_NETWORK_HEADER

	rejectReset     = 1 // NFT_REJECT_TCP_RST
	rejectICMPX     = 2 // NFT_REJECT_ICMPX_UNREACH
	adminProhibited = 3 // NFT_REJECT_ICMPX_ADMIN_PROHIBITED
)

// An expression is one step of a rule, as an NFTA_LIST_ELEM.
type expression []byte

func step(name string, attributes ...[]byte) expression {
	return nested(1, text(1, name), nested(2, attributes...)) // NFTA_EXPR_NAME, NFTA_EXPR_DATA
}

// load puts what a packet is accompanied by into the register.
func load(key uint32) expression { return step("meta", number(1, register), number(2, key)) }

// payload puts bytes of the network header into the register.
func payload(at, size int) expression {
	return step("payload", number(1, register), number(2, networkBase), number(3, uint32(at)), number(4, uint32(size)))
}

// mask keeps some bits of the register.
func mask(bits []byte) expression {
	return step("bitwise", number(1, register), number(2, register), number(3, uint32(len(bits))),
		nested(4, attribute(1, bits)), nested(5, attribute(1, make([]byte, len(bits)))))
}

// equal goes on if the register has a value. differs goes on if it has another.
func equal(value []byte) expression   { return compare(cmpEqual, value) }
func differs(value []byte) expression { return compare(cmpDiffers, value) }

func compare(op uint32, value []byte) expression {
	return step("cmp", number(1, register), number(2, op), nested(3, attribute(1, value)))
}

func verdict(code uint32) expression {
	return step("immediate", number(1, verdictTo), nested(2, nested(2, number(1, code))))
}

// toChain goes on in another chain, and does not return.
func toChain(name string) expression {
	return step("immediate", number(1, verdictTo), nested(2, nested(2, number(1, nftGoto), text(2, name))))
}

// reset refuses a packet of TCP, and ends its connection.
func reset() expression { return step("reject", number(1, rejectReset)) }

// reject refuses a packet, and tells its sender.
func reject() expression {
	return step("reject", number(1, rejectICMPX), attribute(2, []byte{adminProhibited}))
}

// uint32Bytes is a number as the kernel has it.
func uint32Bytes(n int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(n)) }

// interfaceName is a name in the form of the kernel, filled up with zeros.
func interfaceName(name string) []byte {
	b := make([]byte, 16) // IFNAMSIZ
	copy(b, name)
	return b
}
