package ec2cloud

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/pool"
)

// How often List asks for outlooks, and the bounds of that.
const (
	statusTerm = 2 * time.Minute
	spotTerm   = time.Minute // a notice comes two minutes ahead
	// pollTimeout bounds a poll, so that one that hangs does not hold up List.
	pollTimeout = 5 * time.Second
	// impairedGrace is how long a status check must have failed, because many recover by themselves.
	impairedGrace = 2 * time.Minute
	statusBatch   = 100 // IDs that one call may name
)

// outlook is the future of an instance, as EC2 says.
type outlook struct {
	outlook pool.Outlook
	reason  string
}

// outlooks are the last known outlooks. A rebalance recommendation is not among them: no call of the API shows one.
type outlooks struct {
	*client
	ours     *ours
	requests *spotRequests
	gate     gate // held during a poll

	mu         sync.Mutex // protects what follows
	statusDue  time.Time
	spotDue    time.Time
	byStatus   map[string]outlook // by cloud ID
	byRequests map[string]outlook
}

// of returns the last known outlooks of running instances, by cloud ID. It polls first if a poll is due. A poll that fails
// changes nothing.
func (o *outlooks) of(ctx context.Context, found []instance) map[string]outlook {
	if o.gate.TryAcquire(1) { // otherwise another call polls
		o.poll(ctx, found)
		o.gate.leave()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make(map[string]outlook)
	maps.Copy(all, o.byStatus)
	maps.Copy(all, o.byRequests) // an interruption is worse
	return all
}

// poll makes the polls that are due. It names only instances of the pool's own store. The caller has entered the gate.
func (o *outlooks) poll(ctx context.Context, found []instance) {
	var running []string
	spots := false
	for _, i := range found {
		if i.state == pool.MachineRunning && o.ours.owns(i.uid) {
			running = append(running, i.id)
			spots = spots || i.spot
		}
	}
	now := time.Now()
	o.mu.Lock()
	status, spot := len(running) > 0 && !now.Before(o.statusDue), spots && !now.Before(o.spotDue)
	if status {
		o.statusDue = now.Add(statusTerm)
	}
	if spot {
		o.spotDue = now.Add(spotTerm)
	}
	o.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if spot {
		polled, err := o.requests.outlooks(ctx)
		o.keepPoll(&o.byRequests, polled, err)
	}
	if status {
		polled, err := o.pollStatus(ctx, running)
		o.keepPoll(&o.byStatus, polled, err)
	}
}

// keepPoll keeps the answer of a poll.
func (o *outlooks) keepPoll(known *map[string]outlook, polled map[string]outlook, err error) {
	if err != nil {
		o.log.Warn("cannot ask for the outlooks of instances; the last answer stays", "error", err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	*known = polled
}

// pollStatus asks for status checks and scheduled events. EC2 refuses a call that names an instance which is gone. The
// instances are then asked for by halves.
func (o *outlooks) pollStatus(ctx context.Context, ids []string) (map[string]outlook, error) {
	all := make(map[string]outlook)
	for batch := range slices.Chunk(ids, statusBatch) {
		some, err := call(ctx, o.limits.read, actDescribeInstanceStatus, o.ec2.DescribeInstanceStatus, readStatuses, &ec2.DescribeInstanceStatusInput{InstanceIds: batch})
		switch {
		case err == nil:
			maps.Copy(all, some)
		case !errors.Is(err, errGone):
			return nil, err
		case len(batch) > 1:
			for _, half := range [][]string{batch[:len(batch)/2], batch[len(batch)/2:]} {
				some, err := o.pollStatus(ctx, half)
				if err != nil {
					return nil, err
				}
				maps.Copy(all, some)
			}
		}
	}
	return all, nil
}
