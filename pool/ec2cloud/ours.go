package ec2cloud

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// knownTerm is how long an instance is remembered after it was seen last: longer than EC2 shows one that has ended.
const knownTerm = 2 * time.Hour

// started notes that an instance was launched. EC2 may not know it for a while.
func (c *Cloud) started(id string) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.ours[id]; !there {
		c.ours[id] = instance{launched: now, seen: now}
	}
}

// seen notes that a Describe call has shown an instance with the tag of the pool. ended says that its end is looked at
// now; seen reports whether it has been before.
func (c *Cloud) seen(id string, ended bool) (before bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.ours[id].learned
	c.ours[id] = instance{seen: time.Now(), learned: before || ended}
	return before
}

// note remembers which instances are ours, and learns from those that have ended: EC2 may accept a launch and find out
// later that it has no room, and it takes spot instances back where it runs short.
func (c *Cloud) note(found []types.Instance) {
	for _, i := range found {
		id := aws.ToString(i.InstanceId)
		if before := c.seen(id, i.StateReason != nil); before || i.StateReason == nil {
			continue
		}
		code := aws.ToString(i.StateReason.Code)
		if m := meaningOf(code, ""); m.closes != nothing {
			c.learn(candidateOf(i), aws.ToString(i.ImageId), &callError{action: id, code: code, text: reasonOf(i), means: m, causes: []error{m.is}})
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, i := range c.ours {
		if time.Since(i.seen) > knownTerm {
			delete(c.ours, id)
		}
	}
}

// candidateOf returns how an instance was got.
func candidateOf(i types.Instance) candidate {
	from := candidate{Market: onDemand, Type: string(i.InstanceType), Arch: string(i.Architecture), Subnet: aws.ToString(i.SubnetId)}
	if i.InstanceLifecycle == types.InstanceLifecycleTypeSpot {
		from.Market = spot
	}
	if i.Placement != nil {
		from.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	return from
}
