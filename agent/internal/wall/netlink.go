package wall

import (
	"encoding/binary"
	"errors"
	"os"
	"syscall"
)

// The numbers are those of linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h.
const (
	nestedFlag = 1 << 15 // NLA_F_NESTED
	familyInet = 1       // NFPROTO_INET: IPv4 and IPv6
	subsystem  = 10      // NFNL_SUBSYS_NFTABLES
	batchBegin = 16      // NFNL_MSG_BATCH_BEGIN
	batchEnd   = 17

	msgNewTable   = subsystem << 8
	msgNewChain   = msgNewTable + 3
	msgNewRule    = msgNewTable + 6
	msgDelRule    = msgNewTable + 8
	msgNewSet     = msgNewTable + 9
	msgNewSetElem = msgNewTable + 12
	msgDelSetElem = msgNewTable + 14

	hookOutput = 3 // NF_INET_LOCAL_OUT
)

// attribute is one attribute of netlink, with its padding.
func attribute(kind uint16, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func nested(kind uint16, attributes ...[]byte) []byte {
	var all []byte
	for _, a := range attributes {
		all = append(all, a...)
	}
	return attribute(kind|nestedFlag, all)
}

func number(kind uint16, n uint32) []byte {
	return attribute(kind, binary.BigEndian.AppendUint32(nil, n))
}

func text(kind uint16, s string) []byte { return attribute(kind, append([]byte(s), 0)) }

// A message is one of nftables, without its header.
type message struct {
	kind  uint16
	flags uint16
	body  []byte
}

func newTable() message {
	return message{msgNewTable, syscall.NLM_F_CREATE, text(1, table)} // NFTA_TABLE_NAME
}

// deleteRules empties a chain.
func deleteRules(chain string) message {
	return message{msgDelRule, 0, append(text(1, table), text(2, chain)...)} // NFTA_RULE_TABLE, NFTA_RULE_CHAIN
}

func newChain(name string) message {
	return message{msgNewChain, syscall.NLM_F_CREATE, append(text(1, table), text(3, name)...)} // NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME
}

// The priorities of chains, of which the lowest comes first.
const (
	beforeTracking = -300 // NF_IP_PRI_RAW: before the kernel looks for a connection
	asFilter       = 0    // NF_IP_PRI_FILTER: after the translation of addresses
)

// newHook makes a chain that gets the output of all sockets.
func newHook(name string, priority int32) message {
	m := newChain(name)
	m.body = append(m.body, nested(4, number(1, hookOutput), number(2, uint32(priority)))...) // NFTA_CHAIN_HOOK
	m.body = append(m.body, number(5, nfAccept)...)                                           // NFTA_CHAIN_POLICY
	m.body = append(m.body, text(7, "filter")...)                                             // NFTA_CHAIN_TYPE
	return m
}

func newRule(chain string, expressions ...expression) message {
	var all []byte
	for _, e := range expressions {
		all = append(all, e...)
	}
	body := append(text(1, table), text(2, chain)...)    // NFTA_RULE_TABLE, NFTA_RULE_CHAIN
	body = append(body, attribute(4|nestedFlag, all)...) // NFTA_RULE_EXPRESSIONS
	return message{msgNewRule, syscall.NLM_F_CREATE | syscall.NLM_F_APPEND, body}
}

// packet returns a message with its headers.
func packet(m message, family byte, resource uint16, sequence uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(20+len(m.body)))
	b = binary.NativeEndian.AppendUint16(b, m.kind)
	b = binary.NativeEndian.AppendUint16(b, m.flags|syscall.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // to the kernel
	b = append(b, family, 0)                   // nfgenmsg; version 0
	b = binary.BigEndian.AppendUint16(b, resource)
	return append(b, m.body...)
}

// send sends messages as one transaction: all of them take effect, or none.
func send(messages []message) error {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 10}); err != nil {
		return err
	}
	batch := packet(message{kind: batchBegin}, 0, subsystem, 0)
	for i, m := range messages {
		if i == len(messages)-1 {
			m.flags |= syscall.NLM_F_ACK
		}
		batch = append(batch, packet(m, familyInet, 0, uint32(i+1))...)
	}
	batch = append(batch, packet(message{kind: batchEnd}, 0, subsystem, uint32(len(messages)+1))...)
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 2*len(batch))
	if err := syscall.Sendto(fd, batch, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	return answer(fd, uint32(len(messages)))
}

// answer reads the kernel's answers until that to the last message, or the first error.
func answer(fd int, last uint32) error {
	buffer := make([]byte, 64<<10)
	for {
		n, _, err := syscall.Recvfrom(fd, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		answers, err := syscall.ParseNetlinkMessage(buffer[:n])
		if err != nil {
			return err
		}
		for _, m := range answers {
			if m.Header.Type != syscall.NLMSG_ERROR || len(m.Data) < 4 {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return syscall.Errno(-code)
			}
			if m.Header.Seq == last {
				return nil
			}
		}
		if len(answers) == 0 {
			return errors.New("the kernel gives no answer")
		}
	}
}
