// Package sqlitestore keeps a pool's records in a SQLite database, one file on a local disk.
//
// It is the store for one process that must find its sessions, instances and containers again after a restart or a
// crash, and it needs nothing but that file: no server, no cgo. For several replicas on several machines there is
// pgstore; for those who can do without their sessions after a restart, memstore.
//
//	st, err := sqlitestore.Open(ctx, "/var/lib/myapp/berth.db")
//	if err != nil {
//		return err
//	}
//	defer st.Close()
//	provider, err := berth.NewEC2SharedProvider(ctx, berth.Config{Store: st})
//
// What Update has answered with success is on the disk: it survives the end of the process at any moment, and the loss
// of power as far as the disk keeps what it has confirmed. Updates that wait at the same time share one write to the
// disk.
//
// Several processes of one machine may open the same file, such as the old and the new one during a deployment. They
// take turns to write, and see each other's commits within a moment.
//
// # The file
//
// It is made with mode 0600, since it may hold sealed secrets; one that is there keeps its mode. Beside it lie a file
// ending in -wal, which holds the latest commits and belongs to the database, and one ending in -shm. Both go when the
// last process closes the store. The first file grows to what the pool once held, and reuses the room.
//
// A View that runs for long keeps the -wal file growing meanwhile.
//
// # Backup
//
// While the store is in use, in a shell:
//
//	sqlite3 /var/lib/myapp/berth.db "VACUUM INTO '/backup/berth.db'"
//
// or the command .backup of the same program. Copying the file is a backup only while no process has it open, and only
// together with the -wal file if there is one. To restore, close the store, remove all three files, and put the backup
// in place. A pool whose store was set back knows nothing of what came after the backup: instances that it does not
// know are terminated after a grace time, as strays.
//
// # What not to do
//
//   - A file on NFS, SMB or another network: their locks and their shared memory do not hold what SQLite needs, and the
//     database is damaged sooner or later. Local disks and block devices (EBS) are right.
//   - One file for two pools: each needs its own.
//   - Removing or replacing the file, or the -wal file alone, while a process has it open.
//   - Opening the file by other means than SQLite in a process that has it open: when that is closed, the system drops
//     the locks of the whole process.
package sqlitestore
