// Package sim runs the whole of berth, several replicas over one store, one cloud and one engine, all in memory and in
// virtual time, under a random load and random faults, and checks the rules that always hold: while it runs against
// what the fakes know to be true, and at its end, when everything has been healed and has come to rest.
//
// TestSeeds takes what comes: one seed after another. TestSweep is systematic: a small load, again and again, with one
// fault at each of its calls in turn. TestPlantedBugs looks after both: it breaks the library in many ways, of which they
// must find each. Every failure prints the line that runs it again; with SIM_SHRINK=1 that looks for a smaller one. As
// soak tests all of them go on for longer.
//
// # What a seed decides
//
// Everything that this package decides follows from the seed alone: how many replicas, instances and tasks there are,
// what each task does and when, which kinds of faults are armed and at which calls. No random stream is shared:
// each decision is a hash of the seed, of who asks, of what for, and of how often that was asked before. So dropping
// one task changes nothing for the others.
//
// # What is deterministic, and what is not
//
// The load and the faults' plan are the same in every run of a seed. The interleaving mostly is: time is virtual, every
// call of the store and of the fakes takes a time of its own, and the random IDs come from a seeded source. But the
// library's goroutines that wake at the same instant (two loops with the same period, the ready cases of a select)
// run in an order that the Go runtime chooses, outside of the seed. TestSameSeed reports how far two runs of one seed agree. A
// failure therefore may need its seed to be run a few times: see TestReplay.
package sim
