package snapshot

// Put is put, for tests.
var Put = put
