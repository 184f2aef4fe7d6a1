// Package store holds the records of a pool, and the contract of the stores that keep them.
//
// The store is the truth about what berth intends. The cloud and the container engines are the truth about what exists.
// Every step that changes something outside the store therefore has three parts. Each part is one Update or one call,
// never both at once:
//
//  1. Write down the intent, with every name and ID that the step will use.
//  2. Act, in a way that finds what an earlier try made under these names.
//  3. Write down the result.
//
// A process that dies between two parts leaves an intent behind. The process that finds the intent repeats part 2.
//
// Decisions rest on counters in keyed records, such as the free slots of an instance and the sessions of a container. A
// counter changes in the Update that changes what it counts. Queries run in a View and only find candidates; the Update
// then looks at the candidates again. So an Update touches a handful of known records, however large the store is.
//
// # What records hold
//
// Text is UTF-8 without NUL and comes back byte for byte. Callers that store a program's output replace everything else
// first. A key's ID and the fields that queries compare have at most 1 KiB. IDs are compared and ordered by their bytes.
// Times are instants, kept and compared to the microsecond; an implementation may drop a finer part, the zone and the
// monotonic reading. The zero Time stays zero. An empty slice or map may come back as nil.
//
// # For implementers
//
// Package storetest checks what the comments of [Store] say. These points are easily missed:
//
//   - fn may run on any goroutine and any number of times, one after another. A panic in fn undoes its writes and
//     continues in Update's caller. So does [runtime.Goexit], if fn runs on the caller's goroutine.
//   - An Update is serializable with respect to absent records too. If two Updates each make a record that the other has
//     looked for in vain, one of them sees the other's record.
//   - If Updates share a commit, an error of fn may rest on what another Update in the commit has written. The error is
//     returned when that commit is done. If the commit fails, fn runs again.
//   - Once the commit may have been sent, an ended context does not turn success into failure. Update waits for the
//     outcome, or returns ErrUnknownOutcome.
//   - A View holds no lock that an Update needs: its function may call the store.
//   - An older replica must not lose what a newer one has added. Members of a record that this version does not know are
//     written back as they were.
package store
