package ec2cloud_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

func (r *rig) generation() string {
	r.Helper()
	g, err := r.cloud.Generation(r.Context())
	if err != nil || g == "" {
		r.Fatalf("Generation = %q, %v", g, err)
	}
	return g
}

func TestFault37ImageIsGone(t *testing.T) {
	for name, lose := range map[string]func(*ec2test.Server, string){"deregistered": (*ec2test.Server).Deregister, "not shared": (*ec2test.Server).Unshare} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, nil, func(r *rig) {
				before := r.generation()
				old := r.server.Image(ec2test.ECSAmd64)
				lose(r.server, old)
				_, err := r.try("launch-1")
				r.want(err, pool.ErrPermanent)
				if _, err := r.try("launch-2"); err == nil {
					r.Error("there is no image, and it was launched")
				} else {
					r.want(err, pool.ErrPermanent)
				}
				fresh := r.server.ReleaseImage(ec2test.ECSAmd64)
				r.launch("launch-3")
				if got := r.sent()["ImageId"]; got != fresh {
					r.Errorf("launched from %s, not %s", got, fresh)
				}
				if r.generation() == before {
					r.Error("another image is no other generation")
				}
			})
		})
	}
}

func TestFault37LastGoodImageStays(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		before, old := r.generation(), r.server.Image(ec2test.ECSAmd64)
		gone := r.server.ReleaseImage(ec2test.ECSAmd64) // and withdrawn at once
		r.server.Deregister(gone)
		time.Sleep(25 * time.Hour)
		r.launch("launch-1")
		if got := r.sent()["ImageId"]; got != old || r.generation() != before {
			r.Errorf("launched from %s, not %s", got, old)
		}
		r.server.Deny(getParam)
		time.Sleep(time.Hour)
		r.launch("launch-2")
		if !strings.Contains(r.log.String(), "the last one stays") {
			r.Error("it was not told")
		}
		r.server.Allow(getParam)
		fresh := r.server.ReleaseImage(ec2test.ECSAmd64)
		time.Sleep(time.Hour)
		r.launch("launch-3")
		if got := r.sent()["ImageId"]; got != fresh {
			r.Errorf("launched from %s, not %s", got, fresh)
		}
	})
}

func TestFault38ImageIsPinned(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		before, old := r.generation(), r.server.Image(ec2test.ECSAmd64)
		fresh := r.server.ReleaseImage(ec2test.ECSAmd64)
		time.Sleep(23 * time.Hour)
		r.launch("launch-1")
		if got := r.sent()["ImageId"]; got != old || r.generation() != before {
			r.Errorf("launched from %s, not %s", got, old)
		}
		time.Sleep(2 * time.Hour)
		after := r.generation()
		r.launch("launch-2")
		if got := r.sent()["ImageId"]; got != fresh || after == before {
			r.Errorf("launched from %s, not %s", got, fresh)
		}
		if n := r.server.Calls(getParam); n != 2 {
			r.Errorf("the parameter was read %d times", n)
		}
	})
}

func TestImageOfTheUser(t *testing.T) {
	t.Run("parameter", func(t *testing.T) {
		inRig(t, quick, func(r *rig) { r.opts.ImageParameter = ec2test.UbuntuAmd64 }, func(r *rig) {
			r.launch("launch-1")
			if form := r.sent(); form["ImageId"] != r.server.Image(ec2test.UbuntuAmd64) || form["BlockDeviceMapping.1.DeviceName"] != "/dev/sda1" {
				r.Errorf("%v", form)
			}
		})
	})
	t.Run("ID", func(t *testing.T) {
		inRig(t, quick, func(r *rig) { r.opts.ImageID = r.server.Image(ec2test.AL2023Amd64) }, func(r *rig) {
			r.launch("launch-1")
			if got := r.sent()["ImageId"]; got != r.opts.ImageID || r.server.Calls(getParam) != 0 {
				r.Errorf("launched from %s", got)
			}
		})
	})
	t.Run("other architecture", func(t *testing.T) {
		inRig(t, quick, func(r *rig) { r.opts.ImageID = r.server.Image(ec2test.AL2023Arm64) }, func(r *rig) {
			_, err := r.try("launch-1")
			r.want(err, pool.ErrPermanent)
		})
	})
	t.Run("unknown parameter", func(t *testing.T) {
		inRig(t, quick, func(r *rig) { r.opts.ImageParameter = "/no/such" }, func(r *rig) {
			_, err := r.try("launch-1")
			r.want(err, pool.ErrPermanent)
		})
	})
	t.Run("unknown type", func(t *testing.T) {
		inRig(t, quick, func(r *rig) { r.opts.Types = []string{"t9.large"} }, func(r *rig) {
			_, err := r.try("launch-1")
			r.want(err, pool.ErrPermanent)
		})
	})
}

// TestGeneration: the generation is the same in every process, and changes with every option that a launch depends on.
func TestGeneration(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		first := r.generation()
		for name, change := range map[string]func(*ec2cloud.Options){
			"":                func(o *ec2cloud.Options) { o.RateShare = 0.1 },
			"Types":           func(o *ec2cloud.Options) { o.Types = []string{"m5.large"} },
			"Subnets":         func(o *ec2cloud.Options) { o.Subnets = o.Subnets[1:] },
			"SecurityGroups":  func(o *ec2cloud.Options) { o.SecurityGroups = []string{ec2test.SecurityGroup} },
			"Spot":            func(o *ec2cloud.Options) { o.Spot = ec2cloud.SpotOnly },
			"PublicAddress":   func(o *ec2cloud.Options) { o.PublicAddress = true },
			"ImageParameter":  func(o *ec2cloud.Options) { o.ImageParameter = ec2test.UbuntuAmd64 },
			"Volume":          func(o *ec2cloud.Options) { o.Volume.GiB = 51 },
			"Tags":            func(o *ec2cloud.Options) { o.Tags = map[string]string{"a": "b"} },
			"InstanceProfile": func(o *ec2cloud.Options) { o.InstanceProfile = "host" },
		} {
			was := r.opts
			change(&r.opts)
			r.cloud = r.connect()
			if again := r.generation(); (again == first) != (name == "") {
				r.Errorf("with another %q: %s, first it was %s", name, again, first)
			}
			r.opts = was
		}
	})
}
