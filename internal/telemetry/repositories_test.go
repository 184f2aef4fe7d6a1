package telemetry

import (
	"fmt"
	"testing"

	"github.com/berth-go/berth/naming"
)

func repo(n int) naming.Repository {
	return naming.Repository{Host: "git.example", Path: fmt.Sprintf("team/r%d", n)}
}

// TestRepositoriesAreBounded: however many repositories there are, few get a name.
func TestRepositoriesAreBounded(t *testing.T) {
	r := newRepositories(3)
	names := make(map[string]bool)
	for round := range 50 {
		for n := range 1000 {
			for range 1 + (n+round*20)%7 {
				names[r.name(repo(n), true)] = true
			}
		}
	}
	if len(names) > 3*changesPerName+1 || !names[otherRepositories] {
		t.Errorf("%d names", len(names))
	}
	if len(r.named) > 3 || len(r.starts) > 3*changesPerName {
		t.Errorf("%d have a name, %d are counted", len(r.named), len(r.starts))
	}
}

// TestBusyRepositoriesGetNames: one that is started much more often takes the name of another.
func TestBusyRepositoriesGetNames(t *testing.T) {
	r := newRepositories(2)
	for n := range 10 {
		r.name(repo(n), true)
	}
	for range 100 {
		r.name(repo(9), true)
	}
	for range 2 {
		if got := r.name(repo(9), false); got != "git.example/team/r9" {
			t.Errorf("the busiest is %q", got)
		}
	}
	if got := r.name(repo(5), false); got != otherRepositories {
		t.Errorf("a quiet one is %q", got)
	}
}

func TestNoRepositoryByDefault(t *testing.T) {
	if got := newRepositories(0).name(repo(1), true); got != "" {
		t.Errorf("the name is %q", got)
	}
}
