// Package rows is what the stores in a database have in common: the table, the codec between a record and its row, the
// queries as SQL that both databases read, and Updates that share commits.
//
//   - [Encode] and [Decode] are the codec, [ColumnsOf] gives what queries compare.
//   - [View] is a store.View over a [Source].
//   - [Batcher] is a store's Update over a [Backend].
//
// # The table
//
// One table holds all records. Body is the record as JSON. Members that this version does not know are written back as
// they were, so that an older replica does not lose what a newer one has added. The other columns serve queries. They are
// null for kinds that have no such field, and where the query would not select the record anyway.
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
// A query that names several states, or none, reads a page of each and merges the pages by ID. Labels are compared in the
// records that the other fields select. Text is compared as bytes: COLLATE "C" in PostgreSQL, BINARY in SQLite.
//
// # Batches
//
// Updates that wait are taken together, as a batch, and share one commit:
//
//  1. Lock and fetch the keys of all their hints, in the order of [store.Key.Compare], in one round trip.
//  2. Run their functions one after another on the fetched records, each on an overlay of its own. If a function
//     succeeds, its overlay is laid onto the records for the next one to see. If a function fails or panics, its overlay
//     is dropped, and the others do not notice. No savepoint is needed, since nothing has been written yet.
//  3. Stop a function that asks for a key beyond the batch, and drop its overlay. Taking a lock now would be out of order.
//     The key is added to the function's hints, and the function goes into the next batch. Keys are only ever added, so it
//     gets through.
//  4. Write the last version of what was put and deleted, in one statement each, and commit. Then answer all of them, and
//     wake the watchers of the keys that were written.
//
// If the commit fails for sure, the batch runs again. If the answer to the commit is lost, every Update in the batch that
// wrote something returns [store.ErrUnknownOutcome]; an Update that wrote nothing or failed runs again. The size of a
// batch is bounded. While one batch commits, the next one gathers: nothing waits for a batch to fill.
package rows
