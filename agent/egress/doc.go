// Package egress decides which network addresses may be reached: the common part of the agent, which fetches repositories, of
// the walls around sessions, and of everything that stands for them in tests. It does no input or output.
//
// The ranges that are refused are those of IANA's [IPv4] and [IPv6] Special-Purpose Address Registries that are not globally
// reachable, multicast, the ranges of former registrations that routers may still serve, and the addresses at which clouds
// offer metadata and credentials.
//
// [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry
// [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry
package egress
