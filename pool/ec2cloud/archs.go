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
	*client

	mu     sync.Mutex // protects byType
	byType map[string]string
}

// of returns the architectures by instance type, of the named types at least. A type that does not exist is missing.
func (a *archs) of(ctx context.Context, names []string) (map[string]string, error) {
	a.mu.Lock()
	known := maps.Clone(a.byType)
	a.mu.Unlock()
	ask := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] != "" })
	if len(ask) == 0 {
		return known, nil
	}
	found, err := call(ctx, a.limits.read, actDescribeInstanceTypes, a.ec2.DescribeInstanceTypes, readTypes,
		&ec2.DescribeInstanceTypesInput{Filters: []types.Filter{filter("instance-type", ask...)}})
	if unsupported(err) || transient(err) && ctx.Err() == nil {
		a.log.Warn("cannot learn the architectures of the instance types; they are taken from the types' names", "types", ask, "error", err)
		for _, name := range ask {
			known[name] = archByName(name)
		}
		if transient(err) {
			return known, nil // the next call asks again
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	maps.Copy(known, found)
	a.mu.Lock()
	maps.Copy(a.byType, known)
	a.mu.Unlock()
	return known, nil
}

// graviton matches the names of instance types with ARM processors: a1, and those with a g after the number.
var graviton = regexp.MustCompile(`^(a1|[a-z]+[0-9]+g[a-z]*)\.`)

func archByName(name string) string {
	if graviton.MatchString(name) {
		return string(types.ArchitectureValuesArm64)
	}
	return string(types.ArchitectureValuesX8664)
}

func (a *archs) noType(name string) error {
	return fmt.Errorf("%w: there is no instance type %q in %s", pool.ErrPermanent, name, a.region)
}
