package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-go/berth/pool"
)

// Cloud is a pool.Cloud of EC2 instances. It has no goroutine of its own, and need not be closed.
type Cloud struct {
	opts   Options
	log    *slog.Logger
	region string
	ec2    *ec2.Client
	ssm    *ssm.Client
	sts    *sts.Client

	limits   limits
	images   images
	subnets  subnets
	archs    archs
	blocks   blocks
	outlooks outlooks

	mu       sync.Mutex          // protects what follows
	ours     map[string]instance // those that EC2 has shown to be of this pool, by cloud ID
	networks []netip.Prefix      // see Networks
}

// instance is what a Cloud remembers of one.
type instance struct {
	launched time.Time // zero once a Describe call has shown it
	seen     time.Time // when it was shown last
	learned  bool      // why it has ended has been looked at
}

var (
	_ pool.Cloud     = (*Cloud)(nil)
	_ pool.Versioned = (*Cloud)(nil)
	_ pool.Explainer = (*Cloud)(nil)
	_ pool.Pinned    = (*Cloud)(nil)
)

// New returns the Cloud of a pool. It reads the configuration of AWS but does not call AWS; see Preflight.
func New(ctx context.Context, opts Options) (*Cloud, error) {
	opts = opts.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	var cfg aws.Config
	if opts.AWS != nil {
		cfg = opts.AWS.Copy()
	} else {
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx); err != nil {
			return nil, fmt.Errorf("ec2cloud: the configuration of AWS: %w", tell(ctx, "", err))
		}
	}
	if cfg.Region == "" {
		return nil, errors.New("ec2cloud: no region: set AWS_REGION, or Region in Options.AWS")
	}
	cfg.Credentials = telling(cfg.Credentials)
	return &Cloud{
		opts: opts, log: opts.Logger.With("pool", opts.Pool), region: cfg.Region,
		ec2: ec2.NewFromConfig(cfg, func(o *ec2.Options) { o.HTTPClient, o.Retryer = readBodies{o.HTTPClient}, newRetryer() }),
		ssm: ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.HTTPClient, o.Retryer = readBodies{o.HTTPClient}, newRetryer() }),
		sts: sts.NewFromConfig(cfg, func(o *sts.Options) { o.HTTPClient, o.Retryer = readBodies{o.HTTPClient}, newRetryer() }),

		limits:   newLimits(opts.RateShare),
		images:   images{gate: newGate(), pinned: make(map[string]pin)},
		subnets:  subnets{gate: newGate(), used: make(map[string]int)},
		archs:    archs{of: make(map[string]string)},
		blocks:   blocks{until: make(map[block]refusal)},
		outlooks: outlooks{gate: newGate()},
		ours:     make(map[string]instance),
	}, nil
}

// types returns the instance types that will do.
func (c *Cloud) types(asked string) []string {
	switch {
	case len(c.opts.Types) > 0:
		return c.opts.Types
	case asked != "":
		return []string{asked}
	}
	return []string{defaultType}
}
