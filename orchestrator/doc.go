// Package orchestrator keeps the containers of a berth pool: one per sharing key, started by its first session, shared
// by all, stopped by its last.
//
// Joining and leaving a container are steps of the transaction that creates or ends a session: Join, Create, Leave.
// What they write down, a Manager carries out. For each container that this process uses, it runs one keeper, a
// goroutine that starts the container (once, for any number of waiters), watches it, and removes it.
package orchestrator
