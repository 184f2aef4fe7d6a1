package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// How often List asks for what EC2 foretells.
const (
	statusTerm = 2 * time.Minute
	spotTerm   = time.Minute // a notice comes two minutes ahead
	// pollTimeout keeps a poll that hangs from keeping the list.
	pollTimeout = 5 * time.Second
	// impairedGrace is how long a status check must have failed: many recover by themselves.
	impairedGrace = 2 * time.Minute
	statusBatch   = 100 // IDs that one call may name
)

// outlook is what EC2 foretells of an instance.
type outlook struct {
	outlook pool.Outlook
	reason  string
}

// outlooks is what EC2 has foretold. A rebalance recommendation is not in it: no call of the API shows one.
type outlooks struct {
	gate gate // held by the one who polls

	mu         sync.Mutex // protects what follows
	statusDue  time.Time
	spotDue    time.Time
	byStatus   map[string]outlook // by cloud ID
	byRequests map[string]outlook
}

// foretold returns what EC2 foretells of running instances, as it was last told. It polls what is due; that a poll fails
// leaves what was known.
func (c *Cloud) foretold(ctx context.Context, found []types.Instance) map[string]outlook {
	o := &c.outlooks
	select {
	case o.gate <- struct{}{}:
		c.poll(ctx, found)
		o.gate.leave()
	default: // somebody else polls
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	told := make(map[string]outlook)
	maps.Copy(told, o.byStatus)
	maps.Copy(told, o.byRequests) // an interruption is the worse news
	return told
}

// poll asks for what is due. The caller has entered the gate.
func (c *Cloud) poll(ctx context.Context, found []types.Instance) {
	var running []string
	spots := false
	for _, i := range found {
		if i.State != nil && i.State.Name == types.InstanceStateNameRunning {
			running = append(running, aws.ToString(i.InstanceId))
			spots = spots || i.InstanceLifecycle == types.InstanceLifecycleTypeSpot
		}
	}
	o := &c.outlooks
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
		told, err := c.pollRequests(ctx)
		c.keep(&o.byRequests, told, err)
	}
	if status {
		told, err := c.pollStatus(ctx, running)
		c.keep(&o.byStatus, told, err)
	}
}

// keep notes what a poll has told.
func (c *Cloud) keep(known *map[string]outlook, told map[string]outlook, err error) {
	if err != nil {
		c.log.Warn("cannot ask what EC2 foretells; what it told last stays", "error", err)
		return
	}
	c.outlooks.mu.Lock()
	defer c.outlooks.mu.Unlock()
	*known = told
}

// pollStatus asks for status checks and scheduled events. One instance that is gone meanwhile spoils a call for all, so
// that the others are asked for by halves.
func (c *Cloud) pollStatus(ctx context.Context, ids []string) (map[string]outlook, error) {
	told := make(map[string]outlook)
	for batch := range slices.Chunk(ids, statusBatch) {
		out, err := call(ctx, c.limits.read, actDescribeInstanceStatus, c.ec2.DescribeInstanceStatus, &ec2.DescribeInstanceStatusInput{InstanceIds: batch})
		switch {
		case err == nil:
			for _, s := range out.InstanceStatuses {
				if o := outlookOf(s, time.Now()); o.outlook != pool.OutlookGood {
					told[aws.ToString(s.InstanceId)] = o
				}
			}
		case !errors.Is(err, errGone):
			return nil, err
		case len(batch) > 1:
			for _, half := range [][]string{batch[:len(batch)/2], batch[len(batch)/2:]} {
				of, err := c.pollStatus(ctx, half)
				if err != nil {
					return nil, err
				}
				maps.Copy(told, of)
			}
		}
	}
	return told, nil
}

func outlookOf(s types.InstanceStatus, now time.Time) outlook {
	for _, e := range s.Events {
		text := aws.ToString(e.Description)
		if strings.HasPrefix(text, "[Completed]") || strings.HasPrefix(text, "[Canceled]") {
			continue // EC2 shows it for a while yet
		}
		// A reboot ends all containers just as a stop does.
		return outlook{pool.OutlookRetiring, clean(fmt.Sprintf("%s at %s: %s", e.Code, aws.ToTime(e.NotBefore).UTC().Format(time.RFC3339), text))}
	}
	for name, check := range map[string]*types.InstanceStatusSummary{"system": s.SystemStatus, "instance": s.InstanceStatus} {
		if check == nil || check.Status != types.SummaryStatusImpaired {
			continue
		}
		for _, d := range check.Details {
			if d.ImpairedSince != nil && now.Sub(*d.ImpairedSince) >= impairedGrace {
				return outlook{pool.OutlookImpaired, fmt.Sprintf("the %s status check fails since %s", name, d.ImpairedSince.UTC().Format(time.RFC3339))}
			}
		}
	}
	return outlook{}
}
