// Package fake holds berth's drivers in memory: a cloud whose machines boot, vanish and reuse addresses, and container
// engines whose repositories, containers, sessions and commands have state. A program's unit tests run the real
// Provider over them, and meet real states and real errors without AWS, Docker or git.
//
// The fakes use the time package, so a test inside a testing/synctest bubble does not wait: a machine that boots in five
// seconds boots at once. CloudOptions and EngineOptions document how long each step takes. Instant makes every step take no
// time.
//
// # Faults
//
// Faults of things have methods in the domain's words: Cloud.SetCapacity, Cloud.Interrupt, Engine.KillContainer,
// Engine.Unreachable. Calls of both can be made to fail in the same ways, see Faults: before their effect, after it (the
// reply is lost), or by never returning. The hooks CloudOptions.Fault and EngineOptions.Fault decide for each call;
// simulations use them.
//
// # Truth
//
// A test asks the fakes for the real state, as against what the callers of the drivers believe: Cloud.Machines,
// Cloud.Launches, Cloud.MaxAlive, Engine.Containers, Engine.Fetches.
//
// # How a test ends
//
// A test defers Provider.Close or Provider.Destroy. Both may be called while commands run, and return when nothing of the
// Provider is left in the bubble. Close ends the commands that no other Provider can find. These are all commands, unless both
// Config.Store and the Engine are the test's own. A test that has both can restart its backend: its commands continue after
// Close, until the next Provider's Destroy or Engine.Close. A test that calls berth.New itself ends with Destroy or
// Engine.Close. In a t.Cleanup, Destroy needs another context than t.Context, which has ended by then.
//
//	synctest.Test(t, func(t *testing.T) {
//		p, err := fake.NewProvider(fake.Options{})
//		if err != nil {
//			t.Fatal(err)
//		}
//		defer p.Close()
//		// call the code under test
//	})
//
// The function of a command should return when its context ends. The end of the test waits for a function that does not: 10 s,
// or a day in a bubble, where that takes no time.
//
// A fake is made for one test, and cannot be reset. It is not random: its behaviour follows from its options and from the
// order of the calls. All methods are safe for concurrent use.
package fake
