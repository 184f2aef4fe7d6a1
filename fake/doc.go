// Package fake holds berth's drivers in memory: a cloud whose machines boot, vanish and reuse addresses, and container
// engines whose repositories, containers, sessions and commands have state. A program's unit tests run the real
// Provider over them, and meet real states and real errors without AWS, Docker or git.
//
// Time is that of the time package, so a test inside a testing/synctest bubble waits for nothing: a machine that boots
// in five seconds boots at once. What takes how long is a documented default in CloudOptions and EngineOptions; Instant
// takes all of it away.
//
// # Faults
//
// They are injected in the domain's words: Cloud.SetCapacity, Cloud.Interrupt, Engine.KillContainer, Engine.Unreachable.
// What is about calls rather than things is the same for both, see Faults: a call fails before it had an effect, or
// after (the reply is lost), or never returns. The hook in CloudOptions.Fault and EngineOptions.Fault decides it for
// each call anew, which is what a simulation does.
//
// # Truth
//
// A test asks the fakes what really is, whatever the drivers' callers believe: Cloud.Machines, Cloud.Launches,
// Cloud.MaxAlive, Engine.Containers, Engine.Fetches.
//
// A fake is made for one test: none can be reset. Nothing in one is random: what it does follows from its options and
// from the order of the calls. All methods are safe for concurrent use.
package fake
