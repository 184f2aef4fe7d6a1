package warden

import (
	"encoding/binary"
	"syscall"
)

// narrow is a seccomp filter of every room. It refuses what one session could use up for all of the machine, because no cgroup and no
// limit of a user counts it, and a way out of the room that the walls of the network do not know:
//
//   - Sockets of families other than unix, IPv4, IPv6 and netlink. With those of virtual machines, AF_VSOCK, a session reaches services of
//     the machine and of its hypervisor. What waits in others is charged to nobody.
//   - Netlink between processes. What waits there is charged to nobody: 9,000 sockets held 2.5 GB, and the cgroup had 17 MB of that.
//   - Calls of poll and select for more than mostPolled files. The kernel charges none of the 72 bytes that it needs for each to
//     anybody, and a session has as many such calls as threads.
//   - Asynchronous I/O of the kernel: all of the machine share fs.aio-max-nr, and the newer kind, io_uring, makes system calls that no
//     filter sees. Programs go on without it, as on a kernel that has none. Docker's own filter refuses the newer kind since version 25.
//   - Cookies of core scheduling, with which a session would keep its neighbours from the other half of a processor's core.
func narrow() filter {
	p := bpf{{op: bpfLoad, k: dataArch}}
	for _, c := range callsOf {
		rules := c.rules() // more than a conditional jump can leave out
		p = append(p, instr{op: bpfEqual, yes: 1, k: c.arch}, instr{op: bpfJump, k: uint32(len(rules))})
		p = append(p, rules...)
	}
	return filter{Program: append(p, give(seccompAllow)).bytes()}
}

// callsOf are the numbers of system calls by architecture. A call may have several.
var callsOf = []callNumbers{
	{ // x86-64, and x32 without its bit
		arch: 0xc000003e, socket: []uint32{41, 53}, prctl: 157, aio: []uint32{206, 543, 425},
		poll: []uint32{7, 271}, choose: []uint32{23, 270},
	},
	{ // its programs of 32 bits
		arch: 0x40000003, socket: []uint32{359, 360}, prctl: 172, aio: []uint32{245, 425},
		poll: []uint32{168, 309, 414}, choose: []uint32{142, 308, 413}, old: 102, older: 82,
	},
	{ // ARM of 64 bits
		arch: 0xc00000b7, socket: []uint32{198, 199}, prctl: 167, aio: []uint32{0, 425},
		poll: []uint32{73}, choose: []uint32{72},
	},
	{ // and of 32
		arch: 0x40000028, socket: []uint32{281, 288}, prctl: 172, aio: []uint32{243, 425},
		poll: []uint32{168, 336, 414}, choose: []uint32{142, 335, 413},
	},
}

type callNumbers struct {
	arch   uint32
	socket []uint32 // socket and socketpair
	prctl  uint32
	aio    []uint32 // io_setup, io_uring_setup
	poll   []uint32 // poll, ppoll
	choose []uint32 // select, pselect6
	// old is socketcall, and older the first select. The arguments of either cannot be seen. 0 = there is none.
	old, older uint32
}

// Words of struct seccomp_data. Of an argument it is the lower half, which is all that these calls have of it.
const (
	dataCall = 0
	dataArch = 4
)

func argument(n int) instr {
	at := uint32(16 + 8*n)
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		at += 4
	}
	return instr{op: bpfLoad, k: at}
}

const (
	seccompAllow = 0x7fff0000
	seccompErrno = 0x00050000
)

// mostPolled is how many files one call of poll or select may wait for. Programs with more use epoll.
const mostPolled = 4096

// rules are the rules of an architecture. The last one allows the call.
func (c callNumbers) rules() bpf {
	const x32 = 0x40000000
	p := bpf{{op: bpfLoad, k: dataCall}, {op: bpfAnd, k: ^uint32(x32)}}
	rule := func(part bpf, calls ...uint32) {
		for _, n := range calls {
			p = append(p, when(n, append(part, give(seccompAllow)))...)
		}
	}
	rule(families(), c.socket...)
	rule(bpf{refuse(syscall.ENOSYS)}, c.aio...)
	rule(append(bpf{argument(1)}, above(mostPolled, bpf{refuse(syscall.EINVAL)})...), c.poll...)
	rule(append(bpf{argument(0)}, above(mostPolled, bpf{refuse(syscall.EINVAL)})...), c.choose...)
	const schedCore = 62 // PR_SCHED_CORE
	rule(append(bpf{argument(0)}, when(schedCore, bpf{refuse(syscall.EINVAL)})...), c.prctl)
	if c.old != 0 { // programs of 32 bits have system calls of their own for sockets since Linux 4.3
		old := bpf{argument(0)}
		for _, n := range []uint32{1, 8} { // socket and socketpair
			old = append(old, when(n, bpf{refuse(syscall.ENOSYS)})...)
		}
		rule(old, c.old)
		rule(bpf{refuse(syscall.ENOSYS)}, c.older)
	}
	return append(p, give(seccompAllow))
}

// families refuses sockets of other families than those that programs need.
func families() bpf {
	const unix, inet, inet6, netlink = 1, 2, 10, 16
	family := bpf{argument(0)}
	for _, f := range []uint32{unix, inet, inet6} {
		family = append(family, when(f, bpf{give(seccompAllow)})...)
	}
	kernels := bpf{argument(2)}                       // protocols of netlink by which only the kernel answers
	for _, protocol := range []uint32{0, 4, 15, 16} { // NETLINK_ROUTE, SOCK_DIAG, KOBJECT_UEVENT and GENERIC
		kernels = append(kernels, when(protocol, bpf{give(seccompAllow)})...)
	}
	family = append(family, when(netlink, append(kernels, refuse(syscall.EPROTONOSUPPORT)))...)
	return append(family, refuse(syscall.EAFNOSUPPORT))
}

// Instructions of the kernel's packet filter.
const (
	bpfLoad  = 0x20 // of a word, into the register
	bpfAnd   = 0x54
	bpfEqual = 0x15
	bpfAbove = 0x25
	bpfJump  = 0x05
	bpfGive  = 0x06
)

// A bpf is a packet filter, or a part of one.
type bpf []instr

type instr struct {
	op      uint16
	yes, no uint8 // how many instructions are left out
	k       uint32
}

func give(value uint32) instr { return instr{op: bpfGive, k: value} }

func refuse(e syscall.Errno) instr { return give(seccompErrno | uint32(e)) }

// when performs a part, of at most 255 instructions, if the register has a value. above does so if it has a greater one.
func when(value uint32, part bpf) bpf {
	return append(bpf{{op: bpfEqual, no: uint8(len(part)), k: value}}, part...)
}

func above(value uint32, part bpf) bpf {
	return append(bpf{{op: bpfAbove, no: uint8(len(part)), k: value}}, part...)
}

func (p bpf) bytes() (code []byte) {
	for _, i := range p {
		code = binary.NativeEndian.AppendUint16(code, i.op)
		code = append(code, i.yes, i.no)
		code = binary.NativeEndian.AppendUint32(code, i.k)
	}
	return code
}
