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
//
// # Engines on other machines
//
// An engine whose Endpoint has Trust is reached by mutual TLS, and nothing is sent to it before it has proved by its
// certificate that it is the launch's: its address may have passed on to another machine. Then it must say the same by
// its label "berth.launch", and keep the ID that it had when this process first saw it. The machine of another launch,
// an engine that was set up anew, and whoever does not speak TLS are [orchestrator.ErrWrongHost].
//
// A probe goes from a ping to one of our containers, so that it finds an engine that hangs and still answers pings. Of
// several containers one that answers is enough; when the only one hangs, the probe fails. A container without
// processes, which an engine may list as running for ever, is gone for who attaches to it, and Ensure replaces it.
//
// # Images
//
// An image that an engine lacks is pulled, once for all who wait for it, with the credentials of Options.RegistryAuth.
// A pull that is cut off, and a registry that is busy, are tried again; a refusal is not. Hosts implement
// [orchestrator.Prefetcher], so that the first container of a new machine need not wait.
package dockerengine
