package store

// Watcher is what a Store has beside its methods if it can say which records change. All stores of this module have it.
type Watcher interface {
	// Watch calls touched after each commit, by any process, with the key of each record that the commit touched. The zero
	// Key stands for commits of which that is not known: any record may have changed. Calls may be spurious. touched must not
	// block, and must not call the store. After stop it is not called any more.
	Watch(touched func(Key)) (stop func())
}

// Watch is the Watch of a Store, or of the one that it wraps: a Store that passes calls on has a method Unwrap. ok is false if
// there is none; then touched is not called.
func Watch(st Store, touched func(Key)) (stop func(), ok bool) {
	for {
		switch s := st.(type) {
		case Watcher:
			return s.Watch(touched), true
		case interface{ Unwrap() Store }:
			st = s.Unwrap()
		default:
			return func() {}, false
		}
	}
}
