// Package loop has the waits, repetitions and retries of background work, and counts its failures. Every wait ends with its
// context.
package loop

import (
	"context"
	"time"
)

// Sleep returns nil after d. If ctx ends first, it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error { return Wait(ctx, d, nil) }

// Wait returns nil after d, or when wake gets a value or is closed. If ctx ends first, it returns the cause.
func Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Every calls fn at once and then after each interval, until ctx ends. A call that takes longer than the interval delays
// the next one.
func Every(ctx context.Context, interval time.Duration, fn func()) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		fn()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// Pauses are the pauses between the tries of Retry: the first, then twice as long each time, up to the longest.
type Pauses struct{ First, Longest time.Duration }

// Retry calls try until it reports that it is done, and then returns nil. If ctx ends in a pause between two tries, Retry
// returns the cause. try is called at least once.
func Retry(ctx context.Context, p Pauses, try func() (done bool)) error {
	for pause := p.First; !try(); pause = min(2*pause, p.Longest) {
		if err := Sleep(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}
