package loop

// A Signal wakes one goroutine that waits for it. A Set before the wait is remembered; several count as one. All methods
// are safe for concurrent use. Make one with NewSignal.
type Signal struct{ c chan struct{} }

// NewSignal returns a Signal that is not set.
func NewSignal() Signal { return Signal{make(chan struct{}, 1)} }

// Set wakes the goroutine that waits, or the next one that does. It never blocks.
func (s Signal) Set() {
	select {
	case s.c <- struct{}{}:
	default:
	}
}

// C returns the channel that gets a value when the Signal is set.
func (s Signal) C() <-chan struct{} { return s.c }
