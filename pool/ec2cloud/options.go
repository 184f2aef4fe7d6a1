package ec2cloud

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/seal"
)

// Options describes the instances of a pool. The zero value of a field is the default that its comment gives.
type Options struct {
	// AWS is how to reach AWS; what it says of retries is not used. nil = the SDK's default chain: environment, shared
	// files, the role of the machine.
	AWS  *aws.Config
	Pool string // the pool's name. Required
	// Sealer seals user data in stored requests. Required.
	Sealer seal.Sealer

	// Types are the instance types that will do, the preferred one first. Default: the one that the pool asks for, of
	// which Preflight, Plan and Generation know nothing: they take t3.large for it.
	Types []string
	// Subnets are where instances may go. Default: the default subnets of the account's default VPC.
	Subnets []string
	// SecurityGroups are those of the instances. Default: the default one of the subnet's VPC.
	SecurityGroups []string
	Spot           Spot // default: SpotNever
	// PublicAddress gives each instance a public address and reaches it there. false: it is reached at its private
	// address, and its subnet decides whether it has a public one, too.
	PublicAddress bool
	// ImageID is the image of the instances, and ImageParameter the name of an SSM parameter that names it; at most one
	// of them is set. Default: Amazon's image for ECS with Amazon Linux 2023, of the architecture of the instance type.
	ImageID, ImageParameter string
	Volume                  Volume
	// Tags are those of instances, volumes, network interfaces and spot requests, beside berth's own. Keys that begin
	// with "berth:" or "aws:" are refused.
	Tags map[string]string
	// InstanceProfile is the name or the ARN of an instance profile. Default: none. Whatever runs on an instance may act
	// as its role.
	InstanceProfile string

	// RateShare is how much of EC2's rate limits for the account this process may use. Default 0.5.
	RateShare float64
	Logger    *slog.Logger // nil = discard
}

// Volume describes the root volume of an instance. It is encrypted, and deleted with the instance.
type Volume struct {
	GiB  int    // default 50, or the size of the image's snapshot if that is larger
	Type string // default gp3
}

// Spot says how instances are paid for.
type Spot string

// The ways to pay. AWS may take a spot instance back two minutes after it has said so.
const (
	SpotNever Spot = ""      // on demand
	SpotFirst Spot = "first" // spot, and on demand while no type has spot capacity in any subnet
	SpotOnly  Spot = "only"
)

// The tags of berth, on whatever it makes in EC2.
const (
	tagPool    = "berth:pool"
	tagPoolUID = "berth:pool-uid"
	tagLaunch  = "berth:launch"
	tagName    = "Name" // what the console shows; a tag of the user may replace it
)

// What EC2 allows of tags.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	ourTags     = 4
)

// maxListed is how many types, subnets or groups there may be, so that one page of an answer holds them.
const maxListed = 50

// defaultType is berth's.
const defaultType = "t3.large"

func (o Options) withDefaults() Options {
	o.Volume.GiB = cmp.Or(o.Volume.GiB, 50)
	o.Volume.Type = cmp.Or(o.Volume.Type, string(types.VolumeTypeGp3))
	o.RateShare = cmp.Or(o.RateShare, 0.5)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// poolName has no character that is a wildcard in a filter of EC2.
var poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

// validate joins all that is wrong.
func (o Options) validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("ec2cloud: %s: %s", field, fmt.Sprintf(format, args...)))
	}
	if !poolName.MatchString(o.Pool) {
		wrong("Pool", "%q is no name: letters, digits and ._/-, at most 128", o.Pool)
	}
	if o.Sealer == nil {
		wrong("Sealer", "is required: user data holds a private key, and lies in the store until the launch is over")
	}
	if !slices.Contains([]Spot{SpotNever, SpotFirst, SpotOnly}, o.Spot) {
		wrong("Spot", "%q is none of SpotNever, SpotFirst, SpotOnly", o.Spot)
	}
	if o.ImageID != "" && o.ImageParameter != "" {
		wrong("ImageID", "is set, and ImageParameter too")
	}
	if o.ImageID != "" && !strings.HasPrefix(o.ImageID, "ami-") {
		wrong("ImageID", "%q is not the ID of an image; the name of an SSM parameter goes into ImageParameter", o.ImageID)
	}
	if o.Volume.GiB < 0 {
		wrong("Volume.GiB", "%d is less than none", o.Volume.GiB)
	}
	if o.RateShare < 0 || o.RateShare > 1 {
		wrong("RateShare", "%v is not between 0 and 1", o.RateShare)
	}
	for field, list := range map[string][]string{"Types": o.Types, "Subnets": o.Subnets, "SecurityGroups": o.SecurityGroups} {
		if slices.Contains(list, "") {
			wrong(field, "one of them is empty")
		}
		if len(list) > maxListed {
			wrong(field, "%d of them; at most %d", len(list), maxListed)
		}
	}
	for key, value := range o.Tags {
		if err := checkTag(key, value); err != nil {
			wrong("Tags", "%v", err)
		}
	}
	if len(o.Tags) > maxTags-ourTags {
		wrong("Tags", "%d of them; EC2 allows %d, and berth needs %d", len(o.Tags), maxTags, ourTags)
	}
	return errors.Join(errs...)
}

func checkTag(key, value string) error {
	lower := strings.ToLower(key)
	switch {
	case strings.HasPrefix(lower, "berth:"), strings.HasPrefix(lower, "aws:"):
		return fmt.Errorf("%q begins with a prefix that is reserved", key)
	case key == "" || len(key) > maxTagKey:
		return fmt.Errorf("the key %q has not between 1 and %d bytes", key, maxTagKey)
	case len(value) > maxTagValue:
		return fmt.Errorf("the value of %q has more than %d bytes", key, maxTagValue)
	}
	return nil
}
