// Package sim runs the whole of berth under a random load and random faults: several replicas over one store, one cloud
// and one engine, all in memory and in virtual time. It checks the rules that always hold. During a run it compares the
// store with the real state of the fakes. At the end it heals everything, waits until nothing changes any more, and
// checks again.
//
// TestSeeds runs one seed after another. TestSweep is systematic: it repeats a small load, with one fault at each of
// its calls in turn. TestPlantedBugs checks both: it breaks the library in many ways, and they must find each of them.
// Every failure prints the command that repeats it. With SIM_SHRINK=1, the command looks for a smaller failure. All of
// them run longer as soak tests.
//
// # What a seed decides
//
// Every decision of this package depends on the seed alone: how many replicas, instances and tasks there are, what each
// task does and when, which kinds of faults are armed and at which calls. Decisions share no stream of random numbers.
// Each is a hash of the seed, the asker, the purpose, and the number of earlier decisions for the same purpose. So
// dropping one task changes nothing for the others.
//
// # What is deterministic, and what is not
//
// The load and the plan of the faults are the same in every run of a seed. The interleaving is mostly the same too:
// time is virtual, every call of the store and of the fakes takes a time of its own, and the random IDs come from a
// seeded source. But the library's goroutines that wake at the same instant (two loops with the same period, the ready
// cases of a select) run in an order that the Go runtime chooses, outside of the seed. TestSameSeed reports how far two
// runs of one seed agree. A failure therefore may need its seed to be run a few times: see TestReplay.
package sim
