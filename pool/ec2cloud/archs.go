package ec2cloud

import (
	"context"
	"fmt"
	"maps"
	"regexp"
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
	if unserved(err) {
		c.log.Warn("what the instance types are made of is not known here; their names have to do", "types", ask, "error", err)
		out, err = &ec2.DescribeInstanceTypesOutput{}, nil
		for _, name := range ask {
			known[name] = archByName(name)
		}
	}
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

// graviton are the names of instance types with ARM processors: a1, and those with a g after the number.
var graviton = regexp.MustCompile(`^(a1|[a-z]+[0-9]+g[a-z]*)\.`)

func archByName(name string) string {
	if graviton.MatchString(name) {
		return string(types.ArchitectureValuesArm64)
	}
	return string(types.ArchitectureValuesX8664)
}

func (c *Cloud) noType(name string) error {
	return fmt.Errorf("%w: there is no instance type %q in %s", pool.ErrPermanent, name, c.region)
}
