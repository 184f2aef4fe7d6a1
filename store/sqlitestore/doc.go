// Package sqlitestore keeps a pool's records in a SQLite database, one file on a local disk.
//
// Use it for one process that must find its sessions, instances and containers again after a restart or a crash. It needs
// only that file: no server, no cgo. Use pgstore for several replicas on several machines, and memstore for an application
// that can do without its sessions after a restart.
//
//	st, err := sqlitestore.Open(ctx, "/var/lib/myapp/berth.db")
//	if err != nil {
//		return err
//	}
//	defer st.Close()
//	provider, err := berth.NewEC2SharedProvider(ctx, berth.Config{Store: st})
//	if err != nil {
//		return err
//	}
//	defer provider.Close()
//
// A successful Update is on the disk. It survives the end of the process at any moment. It survives a loss of power if the
// disk keeps the writes that it has confirmed. Updates that wait at the same time share one write to the disk.
//
// Several processes of one machine may open the same file, such as the old and the new one during a deployment. They
// take turns to write, and see each other's commits within a moment.
//
// # The file
//
// Open makes the file with mode 0600, since it may hold sealed secrets; an existing file keeps its mode. Beside it are a
// file ending in -wal, which holds the latest commits and belongs to the database, and a file ending in -shm. Both are
// removed when the last process closes the store. The first file does not shrink; it reuses its free pages.
//
// A View that runs for long keeps the -wal file growing meanwhile.
//
// # Backup
//
// While the store is in use, in a shell:
//
//	sqlite3 /var/lib/myapp/berth.db "VACUUM INTO '/backup/berth.db'"
//
// or use the command .backup of the same program. A copy of the file is a backup only if no process has the file open, and
// only together with the -wal file if there is one. To restore, close the store, remove all three files, and put the backup
// in place. A restored pool does not know instances that were launched after the backup: it terminates them after a grace
// time, as strays.
//
// # What not to do
//
//   - Do not put the file on NFS, SMB or another network file system. Their locks and shared memory do not work as SQLite
//     needs, so the database is damaged sooner or later. Use local disks and block devices (EBS).
//   - Do not use one file for two pools: each pool needs its own.
//   - Do not remove or replace the file, or the -wal file alone, while a process has it open.
//   - Do not open the file by other means than SQLite in a process that has it open. When such a descriptor is closed, the
//     system drops the locks of the whole process.
//
// # How it works
//
// The database has a write-ahead log with synchronous=FULL. One connection writes, others read. One goroutine takes a
// batch of Updates and does BEGIN IMMEDIATE. From then on nobody else writes, in this process or another. So nothing more
// is locked, an absent record stays absent, and a key beyond the hints is simply fetched. A batch costs one fsync. When
// the disk is full, COMMIT says so and nothing has changed. An I/O error of COMMIT is an unknown outcome.
//
// SQLite writes an index when one of its columns is set, whether the value differs or not. So only columns that differ
// are set. The indexes of tasks, users, repositories, containers and instances have, in place of the state, one more
// column that says whether the record is ended: a session moves in them once, not each time its state changes.
//
// A View is a deferred transaction that reads something at once, as its snapshot begins with the first read. Commits of
// this process wake watchers directly. Commits of other processes are seen by PRAGMA data_version, which is polled while
// anybody watches, and wake every watcher.
package sqlitestore
