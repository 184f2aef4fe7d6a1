// Package dockerengine runs the containers of a pool on Docker engines. It speaks API 1.40 and later, so every engine
// since Docker 19.03.
//
// # What it makes
//
// Per pool and engine, it makes a bridge network whose containers cannot reach each other, a volume with the
// program that is PID 1 of every container (package agent), and the warden, a privileged container that opens a room for each
// session in the other containers, with a volume for its socket. Per sharing key, it makes the container, a volume with its
// sessions' checkouts that is removed with it, and a volume with the mirror of its repository that stays. All of these
// carry labels that begin with "berth.". Nothing without the pool's label is changed, stopped or removed.
//
// # How it fails
//
// Every call to an engine has a deadline, even if the caller gave none: an engine that hangs must not block the host
// application. A call that changes something in the engine is not cut short when its caller gives up, because its outcome
// would then be unknown. It is finished and undone instead. Each attempt to make a container puts a label of its own on
// everything that it makes. So the attempt can be undone, however far it came.
//
// # Engines on other machines
//
// An engine whose Endpoint has Trust is reached by mutual TLS. Nothing is sent to it before it has proved by its certificate
// that it belongs to the launch, because its address may have passed to another machine. It must also carry the launch ID in
// its label "berth.launch", and keep the ID that it had when this process first saw it. The error is
// [orchestrator.ErrWrongHost] for a machine of another launch, an engine that was set up again, and a program that does not
// speak TLS.
//
// A probe begins with a ping and ends with one of the pool's containers, so that it detects an engine that hangs and still
// answers pings. If there are several containers, it is enough that one answers. If there is only one and it hangs, the probe
// fails. An engine may list a container as running for ever although it has no process left. Attach treats such a container
// as gone, and Ensure replaces it.
//
// # Images
//
// An image that an engine lacks is pulled once for all callers that wait for it, with the credentials of
// Options.RegistryAuth. A pull is tried again if it was cut off or the registry is busy, but not if it was refused. Hosts
// implement [orchestrator.Prefetcher], so that the first container of a new machine need not wait.
package dockerengine
