// Package agent lets a provider work inside a container. Its Client talks to berth-agent, the program that is PID 1 there.
//
// The program is built from internal/daemon, and package embedded holds it. It makes checkouts, starts commands under the
// uid of their session, keeps their output until it has arrived, and kills the processes that a session leaves behind.
// Client and program speak HTTP/2 over any connection, in practice over the standard streams of one "docker exec". The
// protocol has a version, so that a newer Client can work with an older program. When the connection breaks, the Client
// connects again and continues: every stream is read and written by offset.
//
// A repository may be hostile. Git runs with settings of its own: it may use the transport of the remote's URL alone, follows no
// submodule, runs no hook, and checks the objects that come (package internal/git has the list). RepositoryLimits bound how many
// refs a repository has, what a fetch brings, and what a checkout takes, which is counted before a file is written. The agent
// reads all of git's output as it comes, and holds a bounded part of it. The words of a remote are marked in a GitError, except
// what an SSH server prints, which OpenSSH does not tell from its own words.
//
// The package uses only the standard library. The program has an HTTP/2 server of its own, internal/h2, as that of net/http
// would double its size. Beside the standard library it links HPACK and the messages of DNS, from golang.org/x/net, and
// golang.org/x/time.
package agent
