package testenv

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/moby/moby/client"
)

func TestPoolNameIsUniqueAndFitsDocker(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	for _, test := range []string{"TestX", "TestLong/with_subtest/and more of it", "", "TestÜmläut"} {
		a, b := poolName(test), poolName(test)
		if a == b {
			t.Errorf("two names of test %q are both %s", test, a)
		}
		if !valid.MatchString(a) {
			t.Errorf("poolName(%q) = %q, which is no short lower-case name", test, a)
		}
	}
}

// recorder is a test that keeps its errors to itself.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestPoolLeftoversFailTheTestAndAreRemoved(t *testing.T) {
	docker := Docker(t)
	pool := poolName(t.Name())
	volume, err := docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: pool, Labels: map[string]string{poolLabel: pool}})
	if err != nil {
		t.Fatal(err)
	}
	first := &recorder{TB: t}
	checkPool(first, pool)
	if got := strings.Join(first.errors, "\n"); !strings.Contains(got, "volume "+volume.Volume.Name) {
		t.Errorf("a volume was left, and the check says %q", got)
	}
	second := &recorder{TB: t}
	checkPool(second, pool)
	if len(second.errors) > 0 {
		t.Errorf("the check did not remove what it found: %v", second.errors)
	}
}

func TestImageIsMadeOnce(t *testing.T) {
	first := Image(t)
	if second := Image(t); first != second {
		t.Errorf("Image is %s, then %s", first, second)
	}
}
