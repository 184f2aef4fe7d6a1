// Package agent is how a provider works inside a container: the Client of the program that is PID 1 there.
//
// The program itself, berth-agent, is built from internal/daemon and lies embedded in the package embedded. It makes
// checkouts, starts commands under the uid of their session, keeps what they print until it has arrived, and kills what
// a session leaves behind. Client and program speak HTTP/2 over any connection, in practice over the standard streams
// of one "docker exec"; the protocol has a version, so that a newer Client can work with an older program. When the
// connection breaks, the Client connects again and goes on where it was: every stream is read and written by offset.
//
// The package and its program use nothing but the standard library.
package agent
