package ec2cloud

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/seal"
)

// profilePauses are the pauses between tries while EC2 does not know the instance profile, which takes IAM a while.
var profilePauses = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}

// Launch implements pool.Cloud. If EC2 has started more than one instance, it returns the first. The others carry the
// launch ID too, and List shows them.
func (c *Cloud) Launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	m, err := c.launch(ctx, id, f)
	if err != nil {
		return pool.Machine{}, fmt.Errorf("launch %s: %w", id, err)
	}
	return m, nil
}

func (c *Cloud) launch(ctx context.Context, id string, f pool.Frozen) (pool.Machine, error) {
	if ctx.Err() != nil {
		return pool.Machine{}, translate(ctx, "", ctx.Err())
	}
	from, in, err := c.thaw(ctx, id, f)
	if err != nil {
		return pool.Machine{}, err
	}
	c.ours.learnUID(uidOf(in))
	all, err := c.run(ctx, in)
	if err != nil {
		c.chooser.learn(from, imageOf(in), err)
		if startedNothing(err) {
			c.subnets.give(from.Subnet)
		}
		if c.chooser.hasOpenWay(ctx, from, err) {
			err = fmt.Errorf("%w; %w", err, pool.ErrAnotherWay)
		}
		return pool.Machine{}, fmt.Errorf("%s: %w", from, err)
	}
	return c.launched(id, uidOf(in), all)
}

func startedNothing(err error) bool {
	var e *callError
	return errors.As(err, &e) && e.means.err != nil
}

// thaw returns the request that Prepare has stored, and the way to get an instance that it has chosen.
func (c *Cloud) thaw(ctx context.Context, id string, f pool.Frozen) (candidate, *ec2.RunInstancesInput, error) {
	var was frozen
	if err := json.Unmarshal(f, &was); err != nil {
		return candidate{}, nil, fmt.Errorf("%w: the stored request: %w", pool.ErrPermanent, err)
	}
	switch {
	case was.Version != frozenVersion || was.Request == nil:
		return candidate{}, nil, fmt.Errorf("%w: the stored request has version %d, and this program knows %d", pool.ErrPermanent, was.Version, frozenVersion)
	case tokenOf(was.Request) != id:
		return candidate{}, nil, fmt.Errorf("%w: the stored request is that of launch %q", pool.ErrPermanent, tokenOf(was.Request))
	case len(was.UserData) == 0:
		return was.Candidate, was.Request, nil
	}
	data, err := c.opts.Sealer.Open(ctx, was.UserData, []byte(id))
	if errors.Is(err, seal.ErrUnsealable) {
		err = fmt.Errorf("%w: %w", pool.ErrPermanent, err)
	}
	if err != nil {
		return candidate{}, nil, fmt.Errorf("opening the user data: %w", err)
	}
	was.Request.UserData = aws.String(base64.StdEncoding.EncodeToString(data))
	return was.Candidate, was.Request, nil
}

// run calls RunInstances. The SDK does not repeat the call, so that a refusal is that of the only try. run itself repeats
// only calls that have certainly started nothing.
func (c *Cloud) run(ctx context.Context, in *ec2.RunInstancesInput) ([]instance, error) {
	once := func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} }
	for n := 0; ; n++ {
		all, err := call(ctx, c.limits.run, actRunInstances, c.ec2.RunInstances, readLaunched, in, once)
		if !profileMissing(err) || n == len(profilePauses) {
			return all, err
		}
		c.log.Info("EC2 does not know the instance profile yet", "profile", c.opts.InstanceProfile, "try", n+1)
		if err := pause(ctx, profilePauses[n]); err != nil {
			return nil, err
		}
	}
}

// differs reports whether an answer shows a value other than the expected one. "" = it shows none
func differs(shown, expected string) bool { return shown != "" && shown != expected }

// launched returns the instance of a launch, the first one of those that EC2 has named. An answer may belong to another
// call: an instance that shows another launch's token or tags is neither used nor ended.
func (c *Cloud) launched(id, uid string, all []instance) (pool.Machine, error) {
	all = slices.DeleteFunc(all, func(i instance) bool {
		return differs(i.token, id) || differs(i.launch, id) || differs(i.pool, c.opts.Pool) || differs(i.uid, uid)
	})
	if len(all) == 0 {
		return pool.Machine{}, fmt.Errorf("%s: the instance that EC2 names is of another launch: %w", actRunInstances, errIncomplete)
	}
	slices.SortFunc(all, func(a, b instance) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.id, b.id))
	})
	if len(all) > 1 {
		c.log.Warn("EC2 has started several instances for one launch; List shows the others too", "instance", id, "count", len(all))
	}
	for _, i := range all {
		c.ours.remember(i.id, uid, id)
	}
	m := c.machine(all[0])
	m.LaunchID, m.PoolUID = id, uid
	if m.State == pool.MachineEnded || m.State == pool.MachineEnding {
		return pool.Machine{}, fmt.Errorf("%w: %s is %s: %s", pool.ErrLaunchOver, m.CloudID, m.State, cmp.Or(m.Reason, "EC2 gives no reason"))
	}
	return m, nil
}
