// Package pool keeps the instances of a berth pool: it plans how many there should be, launches them through a Cloud,
// places sessions on them, watches them, and retires them.
//
// What should be done is decided by one pure function, plan, from what is stored, what the cloud lists and what the
// probes found. A Manager observes, plans and acts; it may be stopped at any point and another may go on, since every
// launch is written down, with its whole request, before the cloud is called.
//
// Placement is not the Manager's: Place and Release are steps of the transaction that creates or ends a session.
package pool
