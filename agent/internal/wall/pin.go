package wall

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"time"
)

// The sets of addresses that names of an allow list have resolved to.
const (
	names4 = "names4"
	names6 = "names6"
)

const (
	setTimeout  = 0x10 // NFT_SET_TIMEOUT
	keyIPv4     = 7    // nft's TYPE_IPADDR
	keyIPv6     = 8    // nft's TYPE_IP6ADDR
	established = 1 << 1
)

// newSet makes a set of addresses that leave it by themselves.
func newSet(name string, id, kind, size uint32) message {
	return newSetOf(setTimeout, name, id, kind, size)
}

func newSetOf(flags uint32, name string, id, kind, size uint32) message {
	body := append(text(1, table), text(2, name)...)                                 // NFTA_SET_TABLE, NFTA_SET_NAME
	body = append(body, number(3, flags)...)                                         // NFTA_SET_FLAGS
	body = append(body, number(4, kind)...)                                          // NFTA_SET_KEY_TYPE
	body = append(body, number(5, size)...)                                          // NFTA_SET_KEY_LEN
	return message{msgNewSet, syscall.NLM_F_CREATE, append(body, number(10, id)...)} // NFTA_SET_ID
}

// inSet goes on if the register's value is in a set.
func inSet(name string, id uint32) expression {
	return step("lookup", text(1, name), number(2, register), number(4, id))
}

// isEstablished goes on if a packet belongs to a connection that has had an answer.
func isEstablished() []expression {
	return []expression{
		step("ct", number(1, register), number(2, 0)), // NFT_CT_STATE
		mask(uint32Bytes(established)), differs(uint32Bytes(0)),
	}
}

// Pin lets sessions connect to addresses for a time, in the network namespace of the calling thread, whose walls are an allow
// list. Addresses that the policy refuses stay refused. A connection outlives its pin.
func Pin(addrs []netip.Addr, life time.Duration) error {
	var errs []error
	for name, is4 := range map[string]bool{names4: true, names6: false} {
		var all []byte
		for _, addr := range addrs {
			if addr = addr.Unmap(); addr.Is4() == is4 {
				key := nested(1, attribute(1, addr.AsSlice())) // NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE
				until := attribute(4, binary.BigEndian.AppendUint64(nil, uint64(life.Milliseconds())))
				all = append(all, nested(1, key, until)...)
			}
		}
		if all == nil {
			continue
		}
		body := append(text(1, table), text(2, name)...)
		body = append(body, attribute(3|nestedFlag, all)...)
		add := message{msgNewSetElem, syscall.NLM_F_CREATE, body}
		// The kernel does not change the time of an address that is in the set, so the address is taken out and added again. To be taken
		// out it must be in the set, so it is added before, too.
		errs = append(errs, send([]message{add, {msgDelSetElem, 0, body}, add}))
	}
	return errors.Join(errs...)
}
