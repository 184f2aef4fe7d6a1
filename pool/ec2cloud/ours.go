package ec2cloud

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// knownTerm is how long an instance is remembered after an answer showed it last. EC2 shows an ended instance for less.
const knownTerm = 2 * time.Hour

// unknownUID stands for the UID of an instance whose tags do not show one. No pool has it.
const unknownUID = "?"

// ours are the pool's instances, as EC2 has shown them.
type ours struct {
	*client

	mu   sync.Mutex            // protects what follows
	byID map[string]remembered // by cloud ID
	uid  string                // the pool's; "" = not known yet: see Options.PoolUID
}

// remembered is what is known of an instance.
type remembered struct {
	launched    time.Time // zero once a Describe call has shown it
	seen        time.Time // when an answer showed it last
	learned     bool      // note has looked at why it ended
	uid, launch string    // its tags, which do not change; an answer may lack them
	hasUID      bool      // it has the tag of uid, perhaps an empty one
}

// learnUID records the UID of the pool's store, unless it is known.
func (o *ours) learnUID(uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.uid == "" {
		o.uid = uid
	}
}

// owns reports whether a UID is that of the pool's store. While that is not known, none is.
func (o *ours) owns(uid string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return uid == o.uid && uid != ""
}

// poolUID returns the UID of the pool's store; "" = it is not known.
func (o *ours) poolUID() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.uid
}

// remember records that an instance was launched. For a while, EC2 may not know it, or not show its tags.
func (o *ours) remember(id, uid, launch string) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.byID[id]; !there {
		o.byID[id] = remembered{launched: now, seen: now, uid: uid, launch: launch, hasUID: true}
	}
}

// complete adds to an instance the tags that it is known to have and the answer lacks.
func (o *ours) complete(i instance) instance {
	o.mu.Lock()
	known, there := o.byID[i.id]
	o.mu.Unlock()
	switch {
	case !there || i.pool != "" && i.pool != o.opts.Pool:
		return i
	case i.pool == "":
		i.pool = o.opts.Pool
	}
	if i.launch == "" {
		i.launch = known.launch
	}
	if !i.hasUID {
		i.uid, i.hasUID = known.uid, known.hasUID
	}
	return i
}

// shown records that a Describe call has shown an instance with the tag of the pool. learning says that the caller looks at
// why it ended; shown reports whether a caller has done so before.
func (o *ours) shown(i instance, learning bool) (before bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before = o.byID[i.id].learned
	o.byID[i.id] = remembered{seen: time.Now(), learned: before || learning, uid: i.uid, launch: i.launch, hasUID: i.hasUID}
	return before
}

// launchedAt returns when this process launched an instance. It is zero for one that it did not launch, and once a Describe
// call has shown the instance.
func (o *ours) launchedAt(id string) time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byID[id].launched
}

// forgetOld forgets the instances that no answer has shown for long.
func (o *ours) forgetOld() {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.byID, func(_ string, i remembered) bool { return time.Since(i.seen) > knownTerm })
}

// list returns all instances that carry the tag of the pool. An emulator's filter may let others through: they are left out.
func (o *ours) list(ctx context.Context) ([]instance, error) {
	found, err := o.describe(ctx, filter("tag:"+tagPool, o.opts.Pool))
	return slices.DeleteFunc(found, func(i instance) bool { return i.pool != o.opts.Pool }), err
}

// describe returns all instances that match filters, in any state.
func (o *ours) describe(ctx context.Context, filters ...types.Filter) ([]instance, error) {
	in := &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(pageSize)}
	found, err := pages(actDescribeInstances, func(token string) (page[instance], error) {
		if token != "" {
			in.NextToken = &token
		}
		p, err := call(ctx, o.limits.read, actDescribeInstances, o.ec2.DescribeInstances, readInstances, in)
		if errors.Is(err, pool.ErrPermanent) && token == "" {
			in.MaxResults = nil // an emulator may know no pages
			p, err = call(ctx, o.limits.read, actDescribeInstances, o.ec2.DescribeInstances, readInstances, in)
		}
		return p, err
	})
	for i := range found {
		found[i] = o.complete(found[i])
	}
	return found, err
}

// ended reports whether an instance has ended.
func (i instance) ended() bool { return i.state == pool.MachineEnded }
