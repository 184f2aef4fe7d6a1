// Package orchestrator keeps the containers of a berth pool. There is one container per sharing key. The first session of
// the key starts it, all sessions of the key share it, and it stops with the last of them.
//
// Join, Create and Leave are steps of the transaction that creates or ends a session. A Manager then does what they have
// stored. For each container that this process uses, it runs one keeper. A keeper is a goroutine that starts the
// container (once, for any number of sessions that wait for it), watches it, and removes it.
package orchestrator
