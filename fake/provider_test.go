package fake_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// TestEngineKnowsTheCloud: else a machine that is lost would leave its containers running, and a test would pass that
// ought to fail.
func TestEngineKnowsTheCloud(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud, other := fake.NewCloud(fake.CloudOptions{}), fake.NewCloud(fake.CloudOptions{})
		without, with := fake.NewEngine(fake.EngineOptions{}), fake.NewEngine(fake.EngineOptions{Cloud: cloud})
		for name, c := range map[string]struct {
			opts fake.Options
			fit  bool
		}{
			"neither":                       {fake.Options{}, true},
			"a Cloud":                       {fake.Options{Cloud: cloud}, true},
			"an Engine without one":         {fake.Options{Engine: without}, true},
			"an Engine with its own":        {fake.Options{Engine: with}, true},
			"both":                          {fake.Options{Cloud: cloud, Engine: with}, true},
			"both, in the Config":           {fake.Options{Config: berth.Config{Cloud: cloud.As("a"), Engine: with.As("a")}}, true},
			"without the Cloud":             {fake.Options{Cloud: cloud, Engine: without}, false},
			"with another":                  {fake.Options{Cloud: other, Engine: with}, false},
			"without the Config's Cloud":    {fake.Options{Config: berth.Config{Cloud: cloud}, Engine: without}, false},
			"the Config's has another":      {fake.Options{Cloud: other, Config: berth.Config{Engine: with}}, false},
			"another, as one caller has it": {fake.Options{Config: berth.Config{Cloud: other.As("a"), Engine: with.As("a")}}, false},
		} {
			p, err := fake.NewProvider(c.opts)
			switch {
			case err == nil && !c.fit:
				t.Errorf("%s: no error", name)
			case err != nil && c.fit:
				t.Errorf("%s: %v", name, err)
			case err != nil && !strings.Contains(err.Error(), "EngineOptions.Cloud"):
				t.Errorf("%s: %v does not say what to do", name, err)
			}
			if p != nil {
				p.Close()
			}
		}
	})
}

// TestEngineIsMadeForTheCloud: also for one in the Config, and a Cloud is taken from the Engine.
func TestEngineIsMadeForTheCloud(t *testing.T) {
	for name, options := range map[string]func(cloud *fake.Cloud) fake.Options{
		"the Config's Cloud": func(cloud *fake.Cloud) fake.Options { return fake.Options{Config: berth.Config{Cloud: cloud}} },
		"the Engine's Cloud": func(cloud *fake.Cloud) fake.Options {
			return fake.Options{Engine: fake.NewEngine(fake.EngineOptions{Cloud: cloud})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud := fake.NewCloud(fake.CloudOptions{})
				p, err := fake.NewProvider(options(cloud))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: "https://github.com/acme/shop"})
				if err != nil {
					t.Fatal(err)
				}
				cloud.Interrupt(s.Info().Instance.ID)
				<-s.Done() // else the test deadlocks
			})
		})
	}
}
