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
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-go/berth/pool"
)

// Preflight finds everything that would keep the pool from launching, and says it in one error, each with what to do. It
// starts nothing. Quotas and capacity only show at a launch. What a policy that is scoped by tags allows shows once there
// is an instance; until then, Preflight logs what it could not check. At an endpoint that is not EC2's own and ignores
// DryRun, what a dry run has launched is ended at once.
func (c *Cloud) Preflight(ctx context.Context) error {
	p := &preflight{Cloud: c, caller: "the credentials"}
	if p.identity(ctx) {
		for _, check := range []func(context.Context){p.network, p.kinds, p.launches, p.rights} {
			if !p.silent { // else each call would wait in vain
				check(ctx)
			}
		}
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
	denied   bool   // that the credentials are not accepted was told
	dry      bool   // a dry run was one: that of a call which ends something may name what there is
	silent   bool   // EC2 does not answer
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

// noAnswer reports whether an error is that nothing has answered.
func noAnswer(err error) bool {
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	return unsent || errors.Is(err, context.DeadlineExceeded)
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
	case errors.Is(err, pool.ErrAuth):
		if !p.denied {
			p.noCredentials(err)
		}
	case unserved(err):
		var e *callError
		errors.As(err, &e)
		p.addf("%s is not served at this endpoint, and berth cannot do without it: use one that serves it (%w)", e.action, err)
	case errors.Is(err, pool.ErrPermanent):
		p.addf("a call is refused: correct the options, or use an endpoint that does what EC2 does (%w)", err)
	case noAnswer(err):
		if !p.silent {
			p.silent = true
			p.addf("EC2 does not answer: check the network, the region %s, and AWS_ENDPOINT_URL if that is set (%w)", p.region, err)
		}
	default:
		p.addf("a call fails; try again: %w", err)
	}
	return false
}

// checks is works for a call that does nothing but check, or that berth can do without: a failure of it is only told, if
// it is not a right that is missing.
func (p *preflight) checks(err error) bool {
	if answered(err) && !refused(err) && !errors.Is(err, pool.ErrAuth) && !saysCode(err, "DryRunOperation") {
		p.log.Warn("something could not be checked", "error", err)
		return false
	}
	return p.works(err)
}

func (p *preflight) noCredentials(err error) {
	p.denied = true
	p.addf("AWS does not accept the credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID or the role of this machine, and check its clock (%w)", err)
}

// identity asks who calls. Without credentials there is no use in asking for anything else.
func (p *preflight) identity(ctx context.Context) bool {
	out, err := call(ctx, p.limits.read, actGetCallerIdentity, p.sts.GetCallerIdentity, &sts.GetCallerIdentityInput{})
	switch {
	case err == nil:
		p.caller = aws.ToString(out.Arn)
	case errors.Is(err, pool.ErrAuth):
		p.noCredentials(err)
		return false
	case answered(err):
		p.log.Warn("STS does not say whose the credentials are", "error", err)
	default:
		p.addf("STS does not answer: check the network, the region %s, and AWS_ENDPOINT_URL if that is set (%w)", p.region, err)
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
	if !p.checks(err) || len(p.where) == 0 || len(out.InstanceTypeOfferings) == 0 {
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
		in := p.request(pool.Spec{PoolUID: preflightID, LaunchID: preflightID}, ways[i], img)
		in.ClientToken, in.DryRun = nil, aws.Bool(true)
		switch out, err := call(ctx, p.limits.run, actRunInstances, p.ec2.RunInstances, in); {
		case err == nil:
			p.undo(ctx, out.Instances)
			return // the next would launch, too
		case saysCode(err, "DryRunOperation"):
			p.dry = true
		case noDryRun(err):
			p.log.Warn("this endpoint knows no dry runs: whether a launch would succeed shows when there is one", "error", err)
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

// preflightID stands for the launch ID and for the pool's UID in dry runs.
const preflightID = "preflight"

// undo ends what dry runs have launched, at an endpoint that ignores DryRun.
func (p *preflight) undo(ctx context.Context, launched []types.Instance) {
	var ids []string
	for _, i := range launched {
		id := aws.ToString(i.InstanceId)
		p.started(id)
		ids = append(ids, id)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	failed, err := p.Terminate(ctx, ids...)
	for _, one := range failed {
		err = errors.Join(err, one)
	}
	if err != nil {
		p.addf("this endpoint ignores DryRun: it has launched %s, which cannot be ended: end it by hand (%w)", strings.Join(ids, ", "), err)
		return
	}
	p.log.Warn("this endpoint ignores DryRun: what a dry run has launched was ended at once", "instances", ids)
}
