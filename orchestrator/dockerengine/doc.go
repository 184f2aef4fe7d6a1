// Package dockerengine runs the containers of a pool on Docker engines. It speaks API 1.40 and later, so every engine
// since Docker 19.03.
//
// # What it makes
//
// Per pool and engine: one bridge network whose containers cannot reach each other, and one volume with the program
// that is PID 1 of every container (package agent). Per sharing key: the container, a volume with its sessions'
// checkouts that is removed with it, and a volume with the mirror of its repository that stays. All of it carries the
// labels that begin with "berth.", and nothing without the pool's label is changed, stopped or removed.
//
// # How it fails
//
// Every call to an engine has a deadline, also where the caller gave none: an engine that hangs must not take the
// host application with it. What changes something in the engine is not cut short when a caller gives up, since its
// outcome would then be unknown; it is finished and undone instead. All that one attempt to make a container has made
// carries the attempt's own label, so that undoing it needs no memory of how far it came.
package dockerengine
