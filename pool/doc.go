// Package pool keeps the instances of a berth pool: it plans how many there should be, launches them through a Cloud,
// places sessions on them, watches them, and retires them.
//
// One pure function, plan, decides what to do, from what the store holds, what the cloud lists and what the probes
// found. A Manager observes, plans and acts. It may stop at any point, and another Manager may go on: every launch is
// stored, with its whole request, before the cloud is called.
//
// The plan takes account of what a cloud does: it takes machines back, retires them, changes their image, refuses credentials
// and asks for fewer calls. The plan also takes account of mistaken observations: if many instances seem to end at once, the
// plan does not believe it at first. docs/faults.md lists the faults, what berth does about each, and the tests.
//
// The Manager does not place sessions. Place and Release are steps of the transaction that creates or ends a session.
package pool
