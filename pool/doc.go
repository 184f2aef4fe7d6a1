// Package pool keeps the instances of a berth pool: it plans how many there should be, launches them through a Cloud,
// places sessions on them, watches them, and retires them.
//
// What should be done is decided by one pure function, plan, from what is stored, what the cloud lists and what the
// probes found. A Manager observes, plans and acts; it may be stopped at any point and another may go on, since every
// launch is written down, with its whole request, before the cloud is called.
//
// What a cloud does to its machines is part of the plan: it takes them back, retires them and changes their image, it
// refuses credentials and asks for fewer calls. So are our own errors of sight: what looks like the end of many
// instances at once is doubted. docs/faults.md lists the faults, what is done about each, and the test that holds it.
//
// Placement is not the Manager's: Place and Release are steps of the transaction that creates or ends a session.
package pool
