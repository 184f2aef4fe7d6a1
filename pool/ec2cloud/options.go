package ec2cloud

import (
	"cmp"
	"context"
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
	// AWS says how to reach AWS; its settings for retries are not used. nil = the SDK's default chain: environment, shared
	// files, the role of the machine.
	AWS  *aws.Config
	Pool string // the pool's name. Required
	// PoolUID is the identity of the pool's store; see pool.Spec. Calls that only ask or clean up, such as those for the
	// status of instances, name only instances with this identity. Default: that of the first launch which this Cloud
	// prepares or repeats; until then such calls name none.
	PoolUID string
	// Sealer seals user data in stored requests. Required.
	Sealer seal.Sealer

	// Types are the acceptable instance types, the preferred one first. Default: the type that the pool asks for. Preflight,
	// Plan and Generation do not know that type, and take t3.large instead.
	Types []string
	// Subnets are where instances may go. Default: the default subnets of the account's default VPC.
	Subnets []string
	// SecurityGroups are the security groups of the instances. Default: the default group of the subnet's VPC.
	SecurityGroups []string
	Spot           Spot // default: SpotNever
	// PublicAddress gives each instance a public address, at which it is reached. false: it is reached at its private
	// address, and its subnet decides whether it also has a public one.
	PublicAddress bool
	// ImageID is the image of the instances, and ImageParameter the name of an SSM parameter that names it; at most one
	// of them is set. Default: Amazon's image for ECS with Amazon Linux 2023, of the architecture of the instance type.
	ImageID, ImageParameter string
	Volume                  Volume
	// Tags are tags of instances, volumes, network interfaces and spot requests, beside berth's own. Keys must not begin with
	// "berth:" or "aws:".
	Tags map[string]string
	// InstanceProfile is the name or the ARN of an instance profile. Default: none. Every program on an instance may act as
	// its role.
	InstanceProfile string

	// RateShare is the share of EC2's rate limits for the account that this process may use. Default 0.5.
	RateShare float64
	Logger    *slog.Logger // nil = discard
	// FieldName returns the name of a field of Options in errors, for a program whose users set it by another name. nil =
	// "Options." and the field's name.
	FieldName func(field string) string
	// FieldError makes the error of an invalid field, for a program that has its own type for such errors. field is as
	// FieldName returns it. nil = an error of this package
	FieldError func(field, reason string) error
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

// The tags of berth, on everything that it makes in EC2.
const (
	tagPool    = "berth:pool"
	tagPoolUID = "berth:pool-uid"
	tagLaunch  = "berth:launch"
	tagName    = "Name" // the console shows it; a tag of the user may replace it
)

// The limits of EC2 for tags.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	ourTags     = 4
)

// maxListed is how many types, subnets or groups there may be: one page of an answer must hold them.
const maxListed = 50

// defaultType is berth's default instance type.
const defaultType = "t3.large"

func (o Options) withDefaults() Options {
	o.Volume.GiB = cmp.Or(o.Volume.GiB, 50)
	o.Volume.Type = cmp.Or(o.Volume.Type, string(types.VolumeTypeGp3))
	o.RateShare = cmp.Or(o.RateShare, 0.5)
	if o.FieldName == nil {
		o.FieldName = func(field string) string { return "Options." + field }
	}
	if o.FieldError == nil {
		o.FieldError = func(field, reason string) error { return fmt.Errorf("ec2cloud: %s: %s", field, reason) }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// poolName allows no character that is a wildcard in a filter of EC2.
var poolName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

// validate joins the errors of all invalid fields. right are the options as if those fields were not set.
func (o Options) validate() (right Options, err error) {
	right = o
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, o.FieldError(o.FieldName(field), fmt.Sprintf(format, args...)))
		right = right.without(field)
	}
	if !poolName.MatchString(o.Pool) {
		wrong("Pool", "%q is not a name: use at most 128 letters, digits and ._/-", o.Pool)
	}
	if o.Sealer == nil {
		wrong("Sealer", "is required: user data holds a private key, and is in the store until the launch is over")
	}
	if !slices.Contains([]Spot{SpotNever, SpotFirst, SpotOnly}, o.Spot) {
		wrong("Spot", `%q is not one of "", "first" and "only"`, o.Spot)
	}
	if o.ImageID != "" && o.ImageParameter != "" {
		wrong("ImageID", "is set, and so is ImageParameter")
	}
	if o.ImageID != "" && !strings.HasPrefix(o.ImageID, "ami-") {
		wrong("ImageID", "%q is not the ID of an image; the name of an SSM parameter goes into ImageParameter", o.ImageID)
	}
	if o.Volume.GiB < 0 {
		wrong("Volume.GiB", "%d is negative", o.Volume.GiB)
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
	return right, errors.Join(errs...)
}

// types returns the acceptable instance types. asked is the one that the pool asks for; "" = it is not known.
func (o Options) types(asked string) []string {
	switch {
	case len(o.Types) > 0:
		return o.Types
	case asked != "":
		return []string{asked}
	}
	return []string{defaultType}
}

// unnamedPool stands for an invalid name of a pool while the other options are checked.
const unnamedPool = "unnamed"

// without returns the options as if a field were not set.
func (o Options) without(field string) Options {
	switch field {
	case "Pool":
		o.Pool = unnamedPool
	case "Sealer":
		o.Sealer = noSealer{}
	case "Spot":
		o.Spot = SpotNever
	case "ImageID":
		o.ImageID = ""
	case "Volume.GiB":
		o.Volume.GiB = 0
	case "RateShare":
		o.RateShare = 0
	case "Types":
		o.Types = nil
	case "Subnets":
		o.Subnets = nil
	case "SecurityGroups":
		o.SecurityGroups = nil
	case "Tags":
		o.Tags = nil
	}
	return o.withDefaults()
}

// noSealer seals nothing. It stands for a missing Sealer while the other options are checked.
type noSealer struct{}

func (noSealer) Seal(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func (noSealer) Open(context.Context, []byte, []byte) ([]byte, error) {
	return nil, errors.ErrUnsupported
}

func checkTag(key, value string) error {
	lower := strings.ToLower(key)
	switch {
	case strings.HasPrefix(lower, "berth:"), strings.HasPrefix(lower, "aws:"):
		return fmt.Errorf("%q begins with a prefix that is reserved", key)
	case key == "" || len(key) > maxTagKey:
		return fmt.Errorf("the key %q must have 1 to %d bytes", key, maxTagKey)
	case len(value) > maxTagValue:
		return fmt.Errorf("the value of %q has more than %d bytes", key, maxTagValue)
	}
	return nil
}
