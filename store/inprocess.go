package store

// InProcess reports whether a Store keeps its records in the memory of this process. Its calls always answer, no other
// process can read the records, and they are gone with the process. Such a Store implements interface{ InProcess() bool }.
func InProcess(st Store) bool {
	s, ok := st.(interface{ InProcess() bool })
	return ok && s.InProcess()
}
