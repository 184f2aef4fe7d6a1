// Package wall keeps the sessions of a container from addresses that its egress policy refuses. It installs rules of nftables in
// the output of the container's network namespace.
//
// The rules name who is free, and not who is bound: packets that belong to no socket of root or of the agent's git are judged by
// their destination. So packets that have lost their socket, or that the kernel makes for one, are judged, too. The interface,
// the route and the source that a session chooses for its socket do not matter.
//
// Packets within the namespace, over its loopback interface, pass, except those to the engine's resolver.
//
// The rules also bound how many connections to the outside each uid has that is not free.
package wall

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"

	"github.com/berth-go/berth/agent/egress"
)

// Config says what the walls let through.
type Config struct {
	Policy egress.Policy
	// Deny holds the addresses of the host and of other containers: the gateway, the subnets of the container's interfaces,
	// and all addresses of the host's interfaces. An exception of the policy must be as narrow: the host's own address is
	// allowed by itself alone.
	Deny []netip.Prefix
	// Free are the uids that the walls do not bind. nil = root and the agent's git.
	Free []int
	// Resolver is the address of the engine's resolver inside the container, which tells the names of other containers.
	// Sessions do not reach it. The zero value is 127.0.0.11.
	Resolver netip.Addr
	// Connections is how many connections to the outside each uid may have that is not free. 0 = 4096.
	Connections int
	// PerSecond is how many of them it may begin in a second, beyond a burst of Connections. 0 = 100.
	PerSecond int
}

// resolver returns the resolver's address as a prefix.
func (c Config) resolver() netip.Prefix { return netip.PrefixFrom(c.Resolver, c.Resolver.BitLen()) }

const (
	rootUID   = 0
	mirrorUID = 9999 // mirror.UID
)

// Install puts up the walls in the network namespace of the calling thread, which needs CAP_NET_ADMIN there. They replace
// earlier ones in one step. Addresses that are pinned stay so. weaker says why the kernel does not bound connections, or only their
// rate; the walls stand without.
func Install(c Config) (weaker, err error) {
	if c.Free == nil {
		c.Free = []int{rootUID, mirrorUID}
	}
	if !c.Resolver.IsValid() {
		c.Resolver = netip.AddrFrom4([4]byte{127, 0, 0, 11})
	}
	c.Connections, c.PerSecond = cmp.Or(c.Connections, connections), cmp.Or(c.PerSecond, perSecond)
	return c.install(c.bounds())
}

// install puts up the walls with the first of the bounds that the kernel has.
func (c Config) install(tried []bound) (weaker, err error) {
	for _, b := range tried {
		err = send(c.messages(b, reset(), reject()))
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EOPNOTSUPP) { // the kernel has no module, perhaps for reject
			err = send(c.messages(b, verdict(nfDrop), verdict(nfDrop)))
		}
		if err == nil {
			return weaker, nil
		}
		if weaker == nil {
			weaker = fmt.Errorf("the kernel cannot bound the number of connections: %w", err)
		}
	}
	return nil, fmt.Errorf("cannot put up the walls of the network: %w", err)
}

// In runs a function in the network namespace of a file, such as /proc/1234/ns/net, and returns its error.
func In(namespace string, fn func() error) error {
	f, err := os.Open(namespace)
	if err != nil {
		return err
	}
	defer f.Close()
	return InOf(f.Fd(), fn)
}

// InOf is In for a descriptor: of the namespace's file, or of a process in it.
func InOf(fd uintptr, fn func() error) error {
	return onThread(func() error {
		if _, _, e := syscall.RawSyscall(sysSetns, fd, syscall.CLONE_NEWNET, 0); e != 0 {
			return os.NewSyscallError("setns", e)
		}
		return fn()
	})
}

// Try puts up walls in a new network namespace, which ends with them. It returns an error if the program or the kernel cannot.
func Try() (weaker, err error) {
	err = onThread(func() error {
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		var err error
		weaker, err = Install(Config{Policy: egress.Policy{Mode: egress.AllowList, Names: []string{"a.example"}}})
		return err
	})
	return weaker, err
}

// onThread runs a function on a thread of its own, which ends with it.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		done <- fn()
	}()
	return <-done
}

// Subnets returns the subnets of all interfaces of the thread's network namespace, except its loopback.
func Subnets() (nets []netip.Prefix, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		net, err := netip.ParsePrefix(addr.String())
		if err == nil && !net.Addr().IsLoopback() {
			nets = append(nets, net.Masked())
		}
	}
	return nets, nil
}

const table = "berth"

// The chains of the table.
const (
	output  = "output"
	refusal = "refusal" // of a packet
)

// messages returns the transaction that puts up the walls. tcp and other say how a packet is refused.
func (c Config) messages(b bound, tcp, other expression) (all []message) {
	all = append(all, newTable(), newHook(early, beforeTracking), newHook(output, asFilter)) // if they are not there
	for _, chain := range []string{refusal, bounds, fresh} {
		all = append(all, newChain(chain))
	}
	for _, chain := range []string{early, output, refusal, bounds, fresh} {
		all = append(all, deleteRules(chain))
	}
	all = append(all,
		// A reset tells a session at once. An ICMP error may be lost while the session is still connecting.
		newRule(refusal, load(metaL4Proto), equal([]byte{syscall.IPPROTO_TCP}), tcp),
		newRule(refusal, other))
	refuse := toChain(refusal)
	in := func(chain string, expressions ...expression) { all = append(all, newRule(chain, expressions...)) }
	rule := func(expressions ...expression) { in(output, expressions...) }
	c.earlyRules(b, in)
	accept := verdict(nfAccept) // of packets to the outside
	if b.any() {
		all = append(all, newUIDSet(rates, 3), newUIDSet(counts, 4))
		b.boundRules(in)
		accept = toChain(bounds)
	}
	for _, uid := range c.Free {
		rule(load(metaSKUID), equal(uint32Bytes(uid)), verdict(nfAccept))
	}
	rule(append(to(c.resolver()), refuse)...)
	rule(append(append(loopback(), from(c.resolver())...), accept)...) // has an entry of the table of connections
	rule(append(loopback(), verdict(nfAccept))...)

	// Neighbour discovery and group membership are the kernel's own. Sessions cannot send such packets.
	for _, kind := range []byte{133, 134, 135, 136} {
		rule(append(ipv6(), payload(6, 1), equal([]byte{icmpv6}), payload(40, 1), equal([]byte{kind}), verdict(nfAccept))...)
	}
	rule(append(to(netip.MustParsePrefix("ff02::16/128")), payload(6, 1), equal([]byte{hopByHop}), verdict(nfAccept))...)

	for _, r := range c.Policy.Rules(c.Deny) {
		if r.Accept {
			rule(append(to(r.Net), accept)...)
		} else {
			rule(append(to(r.Net), refuse)...)
		}
	}
	if len(c.Policy.Names) > 0 {
		all = append(all, newSet(names4, 1, keyIPv4, 4), newSet(names6, 2, keyIPv6, 16))
		rule(append(ipv4(), payload(16, 4), inSet(names4, 1), accept)...)
		rule(append(ipv6(), payload(24, 16), inSet(names6, 2), accept)...)
		rule(append(isEstablished(), verdict(nfAccept))...)
	}
	if c.Policy.Default() {
		rule(accept)
	} else {
		rule(refuse)
	}
	return all
}

// The protocols of IPv6's next headers.
const (
	hopByHop      = 0
	routingHeader = 43
	icmpv6        = 58
)

// to returns what matches packets to a prefix, and from those from it.
func to(net netip.Prefix) []expression   { return matches(net, 16, 24) }
func from(net netip.Prefix) []expression { return matches(net, 12, 8) }

// matches returns what matches packets with an address of a prefix at an offset in their header.
func matches(net netip.Prefix, at4, at6 int) []expression {
	match, at := ipv4(), at4
	if net.Addr().Is6() {
		match, at = ipv6(), at6
	}
	if net.Bits() == 0 {
		return match
	}
	addr := net.Addr().AsSlice()
	match = append(match, payload(at, len(addr)))
	if net.Bits() < len(addr)*8 {
		bits := make([]byte, len(addr))
		for i := range net.Bits() {
			bits[i/8] |= 0x80 >> (i % 8)
		}
		match = append(match, mask(bits))
	}
	return append(match, equal(addr))
}

func ipv4() []expression { return []expression{load(metaNFProto), equal([]byte{syscall.AF_INET})} }
func ipv6() []expression { return []expression{load(metaNFProto), equal([]byte{syscall.AF_INET6})} }

// loopback matches packets within the namespace.
func loopback() []expression { return []expression{load(metaOIFName), equal(interfaceName("lo"))} }
