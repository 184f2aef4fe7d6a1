package ec2cloud

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// archs remembers the architecture of instance types, which never changes.
type archs struct {
	mu sync.Mutex // protects of
	of map[string]string
}

// architectures returns those of some instance types, at least. A type that does not exist is missing.
func (c *Cloud) architectures(ctx context.Context, names []string) (map[string]string, error) {
	c.archs.mu.Lock()
	known := maps.Clone(c.archs.of)
	c.archs.mu.Unlock()
	ask := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] != "" })
	if len(ask) == 0 {
		return known, nil
	}
	out, err := call(ctx, c.limits.read, actDescribeInstanceTypes, c.ec2.DescribeInstanceTypes,
		&ec2.DescribeInstanceTypesInput{Filters: []types.Filter{filter("instance-type", ask...)}})
	if err != nil {
		return nil, err
	}
	for _, t := range out.InstanceTypes {
		arch := string(types.ArchitectureValuesX8664)
		if t.ProcessorInfo != nil && slices.Contains(t.ProcessorInfo.SupportedArchitectures, types.ArchitectureTypeArm64) {
			arch = string(types.ArchitectureValuesArm64)
		}
		known[string(t.InstanceType)] = arch
	}
	c.archs.mu.Lock()
	maps.Copy(c.archs.of, known)
	c.archs.mu.Unlock()
	return known, nil
}

func (c *Cloud) noType(name string) error {
	return fmt.Errorf("%w: there is no instance type %q in %s", pool.ErrPermanent, name, c.region)
}
