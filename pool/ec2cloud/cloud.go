package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/berth-go/berth/pool"
)

// Cloud is a pool.Cloud of EC2 instances. It has no goroutine of its own, and need not be closed.
type Cloud struct {
	*client
	archs    *archs
	subnets  *subnets
	images   *images
	chooser  *chooser
	ours     *ours
	requests *spotRequests
	outlooks *outlooks

	mu       sync.Mutex     // protects networks
	networks []netip.Prefix // see Networks
}

// client is what a call of AWS needs. All parts of a Cloud share it.
type client struct {
	opts   Options
	log    *slog.Logger
	region string
	ec2    *ec2.Client
	ssm    ssmClient
	sts    *sts.Client
	limits limits
}

var (
	_ pool.Cloud     = (*Cloud)(nil)
	_ pool.Versioned = (*Cloud)(nil)
	_ pool.Explainer = (*Cloud)(nil)
	_ pool.Pinned    = (*Cloud)(nil)
)

// New returns the Cloud of a pool. It reads the configuration of AWS, and does not call AWS; see Preflight.
func New(ctx context.Context, opts Options) (*Cloud, error) {
	opts = opts.withDefaults()
	if _, err := opts.validate(); err != nil {
		return nil, err
	}
	return connect(ctx, opts)
}

// connect is New for options that were checked.
func connect(ctx context.Context, opts Options) (*Cloud, error) {
	var cfg aws.Config
	if opts.AWS != nil {
		cfg = opts.AWS.Copy()
	} else {
		var err error
		if cfg, err = config.LoadDefaultConfig(ctx); err != nil {
			return nil, fmt.Errorf("ec2cloud: the configuration of AWS: %w", translate(ctx, "", err))
		}
	}
	if cfg.Region == "" {
		return nil, errors.New("ec2cloud: no region: set AWS_REGION, or Region in " + opts.FieldName("AWS"))
	}
	cfg.Credentials = markFailures(cfg.Credentials)
	cl := &client{
		opts: opts, log: opts.Logger.With("pool", opts.Pool), region: cfg.Region,
		ec2:    ec2.NewFromConfig(cfg, func(o *ec2.Options) { o.HTTPClient, o.Retryer = wire{o.HTTPClient, wholeXML}, newRetryer() }),
		ssm:    newSSMClient(cfg),
		sts:    sts.NewFromConfig(cfg, func(o *sts.Options) { o.HTTPClient, o.Retryer = wire{o.HTTPClient, wholeXML}, newRetryer() }),
		limits: newLimits(opts.RateShare),
	}
	c := &Cloud{
		client:  cl,
		archs:   &archs{client: cl, byType: make(map[string]string)},
		subnets: &subnets{client: cl, gate: newGate(), used: make(map[string]int)},
		ours:    &ours{client: cl, byID: make(map[string]remembered), uid: opts.PoolUID},
	}
	c.images = &images{client: cl, archs: c.archs, gate: newGate(), pinned: make(map[string]pin)}
	c.chooser = &chooser{client: cl, archs: c.archs, subnets: c.subnets, images: c.images, blocks: blocks{until: make(map[block]refusal)}}
	c.requests = &spotRequests{client: cl, ours: c.ours}
	c.outlooks = &outlooks{client: cl, ours: c.ours, requests: c.requests, gate: newGate()}
	return c, nil
}
