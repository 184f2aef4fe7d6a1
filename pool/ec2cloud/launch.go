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
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/seal"
)

// profilePauses are those between tries while EC2 does not know the instance profile: IAM tells it late.
var profilePauses = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second}

// Launch implements pool.Cloud. When EC2 has started more than one instance, it returns the first; the others carry the
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
		return pool.Machine{}, tell(ctx, "", ctx.Err())
	}
	from, in, err := c.thaw(ctx, id, f)
	if err != nil {
		return pool.Machine{}, err
	}
	out, err := c.run(ctx, in)
	if err != nil {
		c.learn(from, aws.ToString(in.ImageId), err)
		if startedNothing(err) {
			c.subnets.give(from.Subnet)
		}
		if c.another(ctx, from, err) {
			err = fmt.Errorf("%w; %w", err, pool.ErrAnotherWay)
		}
		return pool.Machine{}, fmt.Errorf("%s: %w", from, err)
	}
	return c.launched(id, out.Instances)
}

func startedNothing(err error) bool {
	var e *callError
	return errors.As(err, &e) && e.means.is != nil
}

// thaw returns the request that Prepare has frozen.
func (c *Cloud) thaw(ctx context.Context, id string, f pool.Frozen) (candidate, *ec2.RunInstancesInput, error) {
	var was frozen
	if err := json.Unmarshal(f, &was); err != nil {
		return candidate{}, nil, fmt.Errorf("%w: the stored request: %w", pool.ErrPermanent, err)
	}
	switch {
	case was.Version != frozenVersion || was.Request == nil:
		return candidate{}, nil, fmt.Errorf("%w: the stored request has version %d, and this program knows %d", pool.ErrPermanent, was.Version, frozenVersion)
	case aws.ToString(was.Request.ClientToken) != id:
		return candidate{}, nil, fmt.Errorf("%w: the stored request is that of launch %q", pool.ErrPermanent, aws.ToString(was.Request.ClientToken))
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

// run calls RunInstances. The SDK repeats nothing, so that a refusal is that of the only try; run itself repeats only
// what has surely started nothing.
func (c *Cloud) run(ctx context.Context, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	once := func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} }
	for n := 0; ; n++ {
		out, err := call(ctx, c.limits.run, actRunInstances, c.ec2.RunInstances, in, once)
		if !lateProfile(err) || n == len(profilePauses) {
			return out, err
		}
		c.log.Info("EC2 does not know the instance profile yet", "profile", c.opts.InstanceProfile, "try", n+1)
		if err := pause(ctx, profilePauses[n]); err != nil {
			return nil, err
		}
	}
}

// pause waits, or returns why the context has ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return tell(ctx, "", ctx.Err())
	}
}

// launched returns the instance of a launch, among those that EC2 has started for it.
func (c *Cloud) launched(id string, all []types.Instance) (pool.Machine, error) {
	if len(all) == 0 {
		return pool.Machine{}, errors.New("EC2 accepted it and named no instance")
	}
	slices.SortFunc(all, func(a, b types.Instance) int {
		return cmp.Or(cmp.Compare(aws.ToInt32(a.AmiLaunchIndex), aws.ToInt32(b.AmiLaunchIndex)), cmp.Compare(aws.ToString(a.InstanceId), aws.ToString(b.InstanceId)))
	})
	if len(all) > 1 {
		c.log.Warn("EC2 has started more instances than one; List shows the others, too", "instance", id, "count", len(all))
	}
	for _, i := range all {
		c.started(aws.ToString(i.InstanceId))
	}
	m := c.machine(all[0])
	m.LaunchID = id
	if m.State == pool.MachineEnded || m.State == pool.MachineEnding {
		return pool.Machine{}, fmt.Errorf("%w: %s is %s: %s", pool.ErrLaunchOver, m.CloudID, m.State, cmp.Or(m.Reason, "for no reason that EC2 tells"))
	}
	return m, nil
}
