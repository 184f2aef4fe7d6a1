package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-go/berth/pool"
)

// Preflight finds everything that would keep the pool from launching. It starts nothing. Unless ctx has ended, its error is
// a *PreflightError with all problems, each with what to do about it.
//
// Preflight cannot check quotas and capacity, which show only at a launch. A policy that is scoped by tags can be checked
// only once there is an instance; until then, Preflight logs what it could not check. It repeats a call that fails for a
// transient reason for some seconds. If the call then still fails and berth can do without it, that is logged. An endpoint
// that is not EC2's own may ignore DryRun; Preflight ends at once what a dry run has launched there.
func (c *Cloud) Preflight(ctx context.Context) error {
	p := &preflight{Cloud: c, caller: "the credentials", patience: patience, imageOf: make(map[string]image)}
	if p.identity(ctx) {
		for _, check := range []func(context.Context){p.network, p.kinds, p.launches, p.rights} {
			if !p.silent { // otherwise each call would wait in vain
				check(ctx)
			}
		}
	}
	if ctx.Err() != nil {
		return translate(ctx, "", ctx.Err())
	}
	if len(p.problems) == 0 {
		return nil
	}
	return &PreflightError{Problems: p.problems}
}

// Check checks options as New and Preflight do, and joins all errors. If a field is invalid, the other options are checked as
// if that field were not set. If nothing is wrong, the Plan is that of the options. Its Networks are set whenever they are
// known.
func Check(ctx context.Context, opts Options) (Plan, error) {
	right, wrong := opts.withDefaults().validate()
	c, err := connect(ctx, right)
	if err != nil {
		return Plan{}, errors.Join(wrong, err)
	}
	err = c.Preflight(ctx)
	if e, _ := errors.AsType[*PreflightError](err); ctx.Err() != nil || e != nil && e.Retryable() {
		return Plan{Networks: c.Networks()}, errors.Join(wrong, err) // the same calls would fail again
	}
	plan, planErr := c.Plan(ctx)
	if err == nil {
		err = planErr // otherwise Preflight's error says more
	}
	plan.Networks = c.Networks()
	return plan, errors.Join(wrong, err)
}

// preflight is one run of Preflight.
type preflight struct {
	*Cloud
	caller   string        // its ARN
	denied   bool          // the problem that AWS does not accept the credentials was added
	dry      bool          // the endpoint heeds DryRun, so that dry runs may name real instances
	silent   bool          // EC2 does not answer
	patience time.Duration // how long it still waits for transient failures to go by
	where    []subnet
	groupIDs []string // the named security groups that exist
	archOf   map[string]string
	imageOf  map[string]image // by architecture
	problems []error
}

// How long Preflight waits for transient failures to go by: in all, and before the second try of a call.
const (
	patience   = 15 * time.Second
	firstPause = time.Second
)

// again repeats a call while it fails for a transient reason and patience lasts.
func again[T any](ctx context.Context, p *preflight, do func() (T, error)) (T, error) {
	for wait := firstPause; ; wait *= 2 {
		answer, err := do()
		if !transient(err) || p.patience < wait || pause(ctx, wait) != nil {
			return answer, err
		}
		p.patience -= wait
	}
}

// addf adds a problem, unless it was added before.
func (p *preflight) addf(format string, args ...any) { p.add(fmt.Errorf(format, args...)) }

// addTransientf adds a problem that goes by itself.
func (p *preflight) addTransientf(format string, args ...any) {
	p.add(transientError{fmt.Errorf(format, args...)})
}

func (p *preflight) add(err error) {
	if !slices.ContainsFunc(p.problems, func(known error) bool { return known.Error() == err.Error() }) {
		p.problems = append(p.problems, err)
	}
}

// works adds the problem that the error of a call shows, and reports whether the call's answer can be used.
func (p *preflight) works(err error) bool {
	var e *callError
	errors.As(err, &e)
	switch {
	case err == nil:
		return true
	case saysCode(err, "DryRunOperation"):
	case forbidden(err):
		p.addf("%s is not allowed for %s: add it to its IAM policy, as in docs/iam.md (%w)", e.action, p.caller, err)
	case errors.Is(err, pool.ErrAuth):
		if !p.denied {
			p.noCredentials(err)
		}
	case transient(err):
		p.addTransientf("a call fails for a reason that should go by: try again later; if that does not help, use an endpoint that serves the call (%w)", err)
	case unsupported(err):
		p.addf("this endpoint does not serve %s, which berth needs: use one that does (%w)", e.action, err)
	case errors.Is(err, pool.ErrPermanent):
		p.addf("a call is refused: correct the options, or use an endpoint that behaves like EC2 (%w)", err)
	case noAnswer(err):
		if !p.silent {
			p.silent = true
			p.addTransientf("EC2 does not answer: check the network, the region %s, and AWS_ENDPOINT_URL if that is set (%w)", p.region, err)
		}
	default:
		p.addTransientf("a call fails; try again: %w", err)
	}
	return false
}

// worksOrSkip is works for a call that only checks something, or that berth can do without. It only logs a failure, unless a
// permission is missing.
func (p *preflight) worksOrSkip(err error) bool {
	skip := answered(err) && !forbidden(err) && !errors.Is(err, pool.ErrAuth) && !saysCode(err, "DryRunOperation")
	if skip || transient(err) {
		p.log.Warn("something could not be checked", "error", err)
		return false
	}
	return p.works(err)
}

func (p *preflight) noCredentials(err error) {
	p.denied = true
	p.addf("AWS does not accept the credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID or the role of this machine, and check its clock (%w)", err)
}

// identity asks whose the credentials are. It reports whether other calls are of use: without credentials they are not, but
// without STS they are.
func (p *preflight) identity(ctx context.Context) bool {
	arn, err := call(ctx, p.limits.read, actGetCallerIdentity, p.sts.GetCallerIdentity, readCaller, &sts.GetCallerIdentityInput{})
	switch {
	case err == nil && arn != "":
		p.caller = arn
	case errors.Is(err, pool.ErrAuth):
		p.noCredentials(err)
		return false
	default:
		p.log.Warn("STS does not say whose the credentials are", "error", err)
	}
	return true
}
