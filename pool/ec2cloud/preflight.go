package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-go/berth/pool"
)

// Preflight finds everything that would keep the pool from launching, and says it in one error, each with what to do. It
// starts nothing. Quotas and capacity only show at a launch. What a policy that is scoped by tags allows shows once there
// is an instance; until then, Preflight logs what it could not check.
func (c *Cloud) Preflight(ctx context.Context) error {
	p := &preflight{Cloud: c, caller: "the credentials"}
	if p.identity(ctx) {
		p.network(ctx)
		p.kinds(ctx)
		p.launches(ctx)
		p.rights(ctx)
	}
	if ctx.Err() != nil {
		return tell(ctx, "", ctx.Err())
	}
	if len(p.problems) == 0 {
		return nil
	}
	return &PreflightError{Problems: p.problems}
}

// PreflightError is what keeps a pool from launching.
type PreflightError struct {
	Problems []error // each says what to do
}

// Error lists the problems, a line each.
func (e *PreflightError) Error() string {
	lines := []string{fmt.Sprintf("ec2cloud: no instance can be launched before these are settled (%d):", len(e.Problems))}
	for _, p := range e.Problems {
		lines = append(lines, "- "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (e *PreflightError) Unwrap() []error { return e.Problems }

// preflight is one Preflight as it goes on.
type preflight struct {
	*Cloud
	caller   string // its ARN
	where    []subnet
	archOf   map[string]string
	problems []error
}

// addf adds a problem, unless it has been told.
func (p *preflight) addf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	if !slices.ContainsFunc(p.problems, func(known error) bool { return known.Error() == err.Error() }) {
		p.problems = append(p.problems, err)
	}
}

// refused reports whether an error is that an action is not allowed.
func refused(err error) bool {
	return saysCode(err, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
}

// works looks at the error of a call, and reports whether its answer can be used.
func (p *preflight) works(err error) bool {
	switch {
	case err == nil:
		return true
	case saysCode(err, "DryRunOperation"):
	case refused(err):
		var e *callError
		errors.As(err, &e)
		p.addf("%s is not allowed for %s: add it to its IAM policy, as docs/iam.md has it (%w)", e.action, p.caller, err)
	default:
		p.addf("a call fails; try again: %w", err)
	}
	return false
}

// identity asks who calls. Without credentials there is no use in asking for anything else.
func (p *preflight) identity(ctx context.Context) bool {
	out, err := call(ctx, p.limits.read, actGetCallerIdentity, p.sts.GetCallerIdentity, &sts.GetCallerIdentityInput{})
	switch {
	case err == nil:
		p.caller = aws.ToString(out.Arn)
	case errors.Is(err, pool.ErrAuth):
		p.addf("AWS does not accept the credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID or the role of this machine, and check its clock (%w)", err)
		return false
	default:
		p.addf("STS does not answer: check the network and the region %s (%w)", p.region, err)
	}
	return true
}

// kinds checks types and images.
func (p *preflight) kinds(ctx context.Context) {
	names := p.types("")
	var err error
	if p.archOf, err = p.architectures(ctx, names); !p.works(err) {
		return
	}
	seen := make(map[string]bool)
	for _, typ := range names {
		arch := p.archOf[typ]
		if arch == "" {
			p.addf("%w: correct Options.Types", p.noType(typ))
			continue
		}
		if seen[arch] {
			continue
		}
		seen[arch] = true
		if _, err := p.image(ctx, arch); refused(err) {
			p.works(err)
		} else if err != nil {
			p.addf("no image for the instances: correct Options.ImageID or Options.ImageParameter (%w)", err)
		}
	}
	p.offered(ctx, names)
}

// offered checks that each type is to be had in a zone of one of the subnets.
func (p *preflight) offered(ctx context.Context, names []string) {
	out, err := call(ctx, p.limits.read, actDescribeInstanceTypeOfferings, p.ec2.DescribeInstanceTypeOfferings, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{filter("instance-type", names...)},
	})
	if !p.works(err) || len(p.where) == 0 {
		return
	}
	for _, typ := range names {
		var zones []string
		for _, o := range out.InstanceTypeOfferings {
			if string(o.InstanceType) == typ {
				zones = append(zones, aws.ToString(o.Location))
			}
		}
		if p.archOf[typ] != "" && !slices.ContainsFunc(p.where, func(s subnet) bool { return slices.Contains(zones, s.Zone) }) {
			p.addf("no zone of the subnets has %s: use another type, or a subnet in one of %s", typ, strings.Join(zones, ", "))
		}
	}
}

// launches makes dry runs of a launch. They check the rights to launch, to tag and to pass the role, and the request.
func (p *preflight) launches(ctx context.Context) {
	ways, err := p.candidates(ctx, "")
	if err != nil {
		return // why has been told
	}
	for _, m := range p.markets() {
		i := slices.IndexFunc(ways, func(c candidate) bool { return c.Market == m })
		img, err := p.image(ctx, ways[i].Arch)
		if err != nil {
			return
		}
		in := p.request(pool.Spec{PoolUID: "preflight", LaunchID: "preflight"}, ways[i], img)
		in.ClientToken, in.DryRun = nil, aws.Bool(true)
		switch _, err := call(ctx, p.limits.run, actRunInstances, p.ec2.RunInstances, in); {
		case errors.Is(err, pool.ErrCapacity), errors.Is(err, pool.ErrQuota): // the next type or subnet may do
		case lateProfile(err):
			p.addf("the instance profile %q does not exist: make it, or correct Options.InstanceProfile (%w)", p.opts.InstanceProfile, err)
		case errors.Is(err, pool.ErrPermanent):
			p.addf("EC2 refuses the request for %s: correct the options (%w)", ways[i], err)
		default:
			p.works(err)
		}
	}
}
