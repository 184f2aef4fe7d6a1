// Package pgstore keeps a pool's records in PostgreSQL, for any number of processes at once: the replicas of a host
// application that share one pool.
//
//	records, err := pgstore.Open(ctx, os.Getenv("DATABASE_URL"), pgstore.Options{})
//	if err != nil {
//		return err
//	}
//	defer records.Close()
//	provider, err := berth.NewEC2SharedProvider(ctx, berth.Config{Store: records})
//	if err != nil {
//		return err
//	}
//	defer provider.Close()
//
// Open creates what is missing: a schema (in PostgreSQL's sense) with two tables. Each pool has a schema of its own, so
// several pools, and the host application's own tables, can share a database. [SQL] returns the statements for
// administrators who create schemas themselves.
//
// # Connections
//
// A store has connections of its own, so that a host application that has used up its pool does not keep berth from
// renewing its leases. It has 10, or pool_max_conns of the connection string, and one more that listens. Updates use two of
// them, Views use the rest. A View whose function opens another View needs a second connection meanwhile.
//
// Behind PgBouncer, use a pool in session mode. LISTEN, prepared statements and the settings of a session do not work in
// transaction and statement mode. A standby does not work either.
//
// The store needs PostgreSQL 12 or later; the tests run on 15. The database's encoding is UTF8.
//
// # Durability
//
// A commit that was answered is on the server's disk: the store switches synchronous_commit on where it is off. With
// synchronous standbys the commit is on their disks as well, and survives a failover. Without them a failover may lose the
// commits that the standby had not received.
//
// # Faults
//
// While the server restarts or does not answer, calls wait for some seconds before they fail. A call that has not sent its
// COMMIT continues when the server answers again. Only a COMMIT whose answer is lost is store.ErrUnknownOutcome. A process
// that stops in the midst of an Update (SIGSTOP, a debugger, a paused machine) holds its locks for Options.StallTimeout.
// Then the server ends its transaction, and the Update runs again when the process continues. Errors say what to do about
// the server, and hold no password.
//
// # How it works
//
// A batch of Updates is one transaction at READ COMMITTED. Each statement sees what is committed when the statement
// begins, which is after the locks before it were granted. The first round trip is a pipeline of
//
//	BEGIN;
//	SELECT pg_advisory_xact_lock(h) FROM unnest($1::bigint[]) h;          -- hashes of keys, sorted
//	SELECT … FROM unnest(…) JOIN records … FOR UPDATE;
//
// A row lock holds a record that exists. An absent record has no row, so an Update that may make it, or that relies on its
// absence, takes an advisory lock on the hash of pool, kind and ID. Two ways are correct. The store uses the first, the
// advisory lock for every key of the batch: FOR UPDATE then never waits, and only guards against programs other than berth.
// The second is row locks first, then advisory locks for the records that were missing, and then another read of those. The
// first way has one global order of locks, hence no deadlock. The second needs fewer entries in the server's lock table
// (max_locks_per_transaction), and a retry on 40P01. With either, Updates need no SERIALIZABLE, and no conflict rolls a
// transaction back.
//
// The second round trip is a pipeline of INSERT … SELECT FROM unnest(…) ON CONFLICT (kind, id) DO UPDATE, DELETE … WHERE
// (kind, id) IN (…), pg_notify and COMMIT. A connection that breaks before COMMIT was sent has changed nothing.
//
// A key beyond the hints is locked by pg_try_advisory_xact_lock, which does not wait and so cannot be out of order. If
// another transaction has the lock, the function goes into the next batch. Without that, a function that makes a new ID in
// each run would never get through.
//
// A View is a transaction at REPEATABLE READ, READ ONLY. A query for several states orders and limits each of its parts;
// otherwise the server would read all records.
//
// Each process LISTENs on one channel per pool, on a connection of its own. A commit names all its keys in as few
// notifications as their 8,000 bytes allow; a commit of many keys says "everything". A commit that notifies takes a lock
// that the whole server shares, once, however many notifications it has. When the connection was lost and made again,
// every watcher wakes.
package pgstore
