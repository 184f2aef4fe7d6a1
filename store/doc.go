// Package store holds the records of a pool, and the contract of what keeps them.
//
// The store is the truth about what berth intends; the cloud and the container engines are the truth about what is.
// Every step that changes something outside therefore has three parts, each an Update or a call, never both at once:
//
//  1. write down the intent, with every name and ID that the step will use;
//  2. act, in a way that finds what an earlier try has made under these names;
//  3. write down the result.
//
// A process that dies between two parts leaves an intent behind, and whoever finds it repeats part 2.
//
// Decisions rest on counters in keyed records (the free slots of an instance, the sessions of a container), which
// change in the Update that changes what they count. Queries only find candidates, in a View, which the Update then
// looks at again. So an Update touches a handful of known records, however large the store is.
//
// # What records hold
//
// Text is UTF-8 without NUL and comes back byte for byte; whoever stores what a program has printed replaces the rest
// first. A key's ID and the fields that queries compare have at most 1 KiB. IDs are compared and ordered by their
// bytes. Times are instants, kept and compared to the microsecond: what is finer may be cut off, and so may the zone
// and the monotonic reading. The zero Time stays zero. An empty slice or map may come back as nil.
//
// # For implementers
//
// Package storetest checks what the comments of [Store] say. What is easily missed:
//
//   - fn may run on any goroutine and any number of times, one after another. A panic in it undoes its writes and goes
//     on in Update's caller; so does [runtime.Goexit] where fn runs on the caller's goroutine.
//   - An Update is serializable with respect to absent records too: of two that each make what the other has looked
//     for in vain, one sees the other's.
//   - If Updates share a commit, an error of fn may rest on what another one in it has written. It is returned when
//     that commit is done; if the commit fails, fn runs again.
//   - Once the commit may have been sent, an ended context does not turn success into failure: Update waits for the
//     outcome, or returns ErrUnknownOutcome.
//   - A View holds no lock that an Update needs: its function may call the store.
//
// # In a database
//
// One table holds all records. Body is the record as JSON; members that this version does not know are written back
// as they were, so that an older replica does not lose what a newer one has added. The other columns serve queries,
// and are null for kinds that have no such field, or where the query would not select the record anyway.
//
//	records(kind smallint, id text, body, PRIMARY KEY (kind, id),
//	        state, task, usr, repository, container, instance, owner text,
//	        room integer,         -- free slots, of a ready instance that has any
//	        queued boolean,       -- true, of a session that waits for a slot
//	        lease_until bigint,   -- of an active session that has a lease; microseconds, as all times
//	        ended_at bigint)      -- of an ended session
//
//	index                             query
//	(kind, state, id)                 States
//	(task, state, id)                 TaskID            each of these WHERE its first column IS NOT NULL,
//	(usr, state, id)                  UserID            so that a record has an entry only in those
//	(repository, state, id)           Repository        by which it can be found
//	(container, state, id)            Container
//	(kind, instance, state, id)       Instance
//	(kind, owner, state, id)          Owner
//	(queued, id)                      Queued
//	(room, id)                        Placeable         ORDER BY room, id
//	(lease_until, id)                 LeaseBefore       ORDER BY lease_until, id
//	(ended_at, id)                    EndedBefore       ORDER BY ended_at, id
//
// Where a query names several states, or none, it reads a page of each and merges them by ID. Labels are looked at in
// the records that the other fields select. Text is compared as bytes: COLLATE "C" in PostgreSQL, BINARY in SQLite.
//
// Updates that wait are taken together, as a batch, and share one commit:
//
//  1. lock and fetch the keys of all their hints, in the order of [Key.Compare], in one round trip;
//  2. run their functions one after another on the fetched records, each on an overlay of its own. An overlay is laid
//     onto the records when its function has succeeded, for the next one to see, and dropped when it has failed or
//     panicked: the others do not notice. No savepoint is needed, since nothing has been written yet;
//  3. a function that asks for a key beyond the batch is stopped and its overlay dropped. The key is added to its
//     hints, and it goes into the next batch: taking a lock now would be out of order. Keys are only ever added, so it
//     gets through;
//  4. write the last version of what was put and deleted, in one statement each, and commit; then answer all of them,
//     and wake those who watch the keys that were written.
//
// If the commit fails for sure, the batch runs again. If its answer is lost, every Update in it that wrote something
// returns [ErrUnknownOutcome]; one that wrote nothing or failed runs again. A batch is bounded (by keys, say 500), and
// while one commits, the next gathers: nothing ever waits for a batch to fill.
//
// # PostgreSQL
//
// A batch is one transaction at READ COMMITTED: each statement sees what is committed when it begins, which is after
// the locks before it were granted. The first round trip is a pipeline of
//
//	BEGIN;
//	SELECT pg_advisory_xact_lock(h) FROM unnest($1::bigint[]) h;          -- hashes of keys, sorted
//	SELECT … FROM unnest(…) JOIN records … FOR UPDATE;
//
// A row lock holds a record that is there. One that is not has no row, so whoever may make it or rely on its absence
// takes an advisory lock on the hash of pool, kind and ID. Two ways are correct: the advisory lock for every key of
// the batch, as above, after which FOR UPDATE never waits and only guards against strangers; or row locks first, and
// advisory locks for what came back missing, after which the missing ones are read again. The first has one global
// order of locks, hence no deadlock; the second needs fewer entries in the server's lock table
// (max_locks_per_transaction), and a retry on 40P01. With either, Updates need no SERIALIZABLE and nothing is rolled
// back for a conflict.
//
// The second round trip is a pipeline of INSERT … SELECT FROM unnest(…) ON CONFLICT (kind, id) DO UPDATE, DELETE … WHERE
// (kind, id) IN (…), pg_notify and COMMIT. A connection that breaks before COMMIT was sent has changed nothing.
//
// A View is a transaction at REPEATABLE READ, READ ONLY.
//
// Each process LISTENs on one channel per pool, on a connection of its own. A commit names all its keys in as few
// notifications as their 8,000 bytes allow; if that were many, it says "everything". Committing takes a lock that the
// whole server shares, once, however many they are. After the connection was lost and made again, every watcher wakes.
//
// A key beyond the hints is locked by pg_try_advisory_xact_lock, which waits for nobody and so cannot be out of order; if
// somebody has it, the function goes into the next batch. Without that, one that makes a new ID in each run would
// never get through. A query for several states orders and limits each of its parts, or the server reads all of them.
//
// # SQLite
//
// Write-ahead log with synchronous=FULL; one connection writes, others read. One goroutine takes the batch and does
// BEGIN IMMEDIATE. Nobody else writes from then on, in this process or another, so nothing more is locked, an absent
// record stays absent, and a key beyond the hints is simply fetched. A batch costs one fsync: that is the group commit.
// When the disk is full, COMMIT says so and nothing has changed; an I/O error from it is an unknown outcome.
//
// An index is written when one of its columns is set, whether the value differs or not. So only columns that differ are
// set, and the indexes of tasks, users, repositories, containers and instances have, in place of the state, one more
// column that says whether it is ended: a session moves in them once, not each time its state changes.
//
// A View is a deferred transaction that reads something at once, as its snapshot begins with the first read. Commits
// of this process wake watchers directly; those of others are seen by PRAGMA data_version, polled while anybody
// watches, and wake everybody.
package store
