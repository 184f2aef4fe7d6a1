package ec2cloud

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-go/berth/pool"
)

// kinds checks types and images.
func (p *preflight) kinds(ctx context.Context) {
	names := p.opts.types("")
	var err error
	if p.archOf, err = again(ctx, p, func() (map[string]string, error) { return p.archs.of(ctx, names) }); !p.works(err) {
		return
	}
	seen := make(map[string]bool)
	for _, typ := range names {
		arch := p.archOf[typ]
		if arch == "" {
			p.addf("%w: correct %s", p.archs.noType(typ), p.opts.FieldName("Types"))
			continue
		}
		if seen[arch] {
			continue
		}
		seen[arch] = true
		i, err := again(ctx, p, func() (image, error) { return p.images.of(ctx, arch) })
		if err == nil {
			p.imageOf[arch] = i
		} else {
			p.noImage(err)
		}
	}
	p.offered(ctx, names)
}

// noImage adds the problem that there is no image.
func (p *preflight) noImage(err error) {
	id, parameter := p.opts.FieldName("ImageID"), p.opts.FieldName("ImageParameter")
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	switch {
	case forbidden(err), errors.Is(err, pool.ErrAuth):
		p.works(err)
	case transient(err):
		p.addTransientf("the image of the instances cannot be looked up at present: try again later, or name one in %s (%w)", id, err)
	case unsent || errors.Is(err, context.DeadlineExceeded):
		p.addTransientf("nothing answers the question for the image of the instances: check the network and the region %s, or name one in %s (%w)", p.region, id, err)
	case unsupported(err):
		p.addf("the image of the instances cannot be looked up at this endpoint: name one in %s (%w)", id, err)
	default:
		p.addf("no image for the instances: correct %s or %s (%w)", id, parameter, err)
	}
}

// offered checks that each type is offered in the zone of some subnet.
func (p *preflight) offered(ctx context.Context, names []string) {
	zonesOf, err := call(ctx, p.limits.read, actDescribeInstanceTypeOfferings, p.ec2.DescribeInstanceTypeOfferings, readOfferings, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{filter("instance-type", names...)},
	})
	if !p.worksOrSkip(err) || len(p.where) == 0 || len(zonesOf) == 0 {
		return
	}
	for _, typ := range names {
		zones := zonesOf[typ]
		if p.archOf[typ] != "" && !slices.ContainsFunc(p.where, func(s subnet) bool { return slices.Contains(zones, s.Zone) }) {
			p.addf("no zone of the subnets has %s: use another type, or a subnet in one of %s", typ, strings.Join(zones, ", "))
		}
	}
}

// ways returns a way to get an instance on each market. It uses options that were found to be right, so that a dry run shows
// other problems.
func (p *preflight) ways() (all []candidate) {
	types := slices.DeleteFunc(slices.Clone(p.opts.types("")), func(typ string) bool { return p.imageOf[p.archOf[typ]].ID == "" })
	if len(types) == 0 || len(p.where) == 0 {
		return nil
	}
	for _, m := range p.opts.markets() {
		all = append(all, candidate{Market: m, Type: types[0], Arch: p.archOf[types[0]], Subnet: p.where[0].ID, Zone: p.where[0].Zone})
	}
	return all
}

// launches makes dry runs of a launch. They check the request, and the permissions to launch, to tag and to pass the role.
func (p *preflight) launches(ctx context.Context) {
	for _, way := range p.ways() {
		in := p.opts.request(pool.Spec{PoolUID: p.preflightUID(), LaunchID: preflightID}, way, p.imageOf[way.Arch])
		in.ClientToken, in.DryRun, in.NetworkInterfaces[0].Groups = nil, aws.Bool(true), p.groupIDs
		launched, err := again(ctx, p, func() ([]instance, error) {
			return call(ctx, p.limits.run, actRunInstances, p.ec2.RunInstances, readLaunched, in)
		})
		switch {
		case err == nil:
			p.undo(ctx, launched)
			return // the next would launch, too
		case saysCode(err, "DryRunOperation"):
			p.dry = true
		case noDryRun(err):
			p.log.Warn("this endpoint knows no dry runs: only a real launch shows whether it succeeds", "error", err)
		case errors.Is(err, pool.ErrCapacity), errors.Is(err, pool.ErrQuota): // the next type or subnet may do
		case profileMissing(err):
			p.addf("the instance profile %q does not exist: make it, or correct %s (%w)", p.opts.InstanceProfile, p.opts.FieldName("InstanceProfile"), err)
		case errors.Is(err, pool.ErrPermanent):
			p.addf("EC2 refuses the request for %s: correct the options (%w)", way, err)
		default:
			p.works(err)
		}
	}
}

// preflightID stands for the launch ID in dry runs, and for the pool's UID where that is not known.
const preflightID = "preflight"

// preflightUID returns the UID in the tags of dry runs. If an endpoint ignores DryRun and the answer is lost, the pool or a
// later Preflight finds the instance by it and ends it.
func (p *preflight) preflightUID() string {
	return cmp.Or(p.ours.poolUID(), preflightID)
}

// undo ends the instances that dry runs have launched at an endpoint that ignores DryRun.
func (p *preflight) undo(ctx context.Context, launched []instance) {
	var ids []string
	for _, i := range launched {
		if differs(i.pool, p.opts.Pool) || differs(i.launch, preflightID) || differs(i.uid, p.preflightUID()) {
			continue // the answer belongs to another call
		}
		if i.launch != "" { // otherwise Terminate asks for its tags
			p.ours.remember(i.id, p.preflightUID(), preflightID)
		}
		ids = append(ids, i.id)
	}
	if len(ids) == 0 {
		return
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
	p.log.Warn("this endpoint ignores DryRun: the instances that a dry run has launched were ended at once", "instances", ids)
}
