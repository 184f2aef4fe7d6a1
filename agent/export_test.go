package agent

// Ended is closed when the program has ended, whatever became of its streams.
func Ended(p *Process) <-chan struct{} { return p.ended }
