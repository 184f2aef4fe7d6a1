package ec2cloud_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// next is another process, which has resolved the newest image by itself before it gets the pins of the last one.
func (r *rig) next(pins []byte, change func(o *ec2cloud.Options)) {
	r.Helper()
	if change != nil {
		change(&r.opts)
	}
	r.cloud = r.connect()
	r.generation()
	if err := r.cloud.Pin(pins); err != nil {
		r.Fatal(err)
	}
}

func TestFault38NextProcessTakesThePinnedImage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(o *ec2cloud.Options)
		passed time.Duration
		gone   bool
		newest bool
	}{
		"the same options":     {},
		"hours later":          {passed: 23 * time.Hour},
		"a day later":          {passed: 25 * time.Hour, newest: true},
		"the image is gone":    {gone: true, newest: true},
		"other types":          {change: func(o *ec2cloud.Options) { o.Types = []string{"m5.large"} }, newest: true},
		"another volume":       {change: func(o *ec2cloud.Options) { o.Volume.GiB = 80 }, newest: true},
		"the same by its name": {change: func(o *ec2cloud.Options) { o.ImageParameter = ec2test.ECSAmd64 }, newest: true},
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, nil, func(r *rig) {
				if pins := r.cloud.Pins(); len(pins) != 0 {
					r.Errorf("before anything is resolved: %s", pins)
				}
				was, first, pins := r.generation(), r.server.Image(ec2test.ECSAmd64), r.cloud.Pins()
				newest := r.server.ReleaseImage(ec2test.ECSAmd64)
				if c.gone {
					r.server.Deregister(first)
				}
				time.Sleep(c.passed)
				r.next(pins, c.change)
				if c.gone {
					if _, err := r.try("launch-1"); err == nil {
						r.Error("launched from an image that is gone")
					}
				}
				want := first
				if c.newest {
					want = newest
				}
				r.launch("launch-2")
				if got := r.sent()["ImageId"]; got != want {
					r.Errorf("launched from %s; the first was %s, the newest is %s", got, first, newest)
				}
				if same := r.generation() == was; same == c.newest {
					r.Errorf("that it is the same generation is %t", same)
				}
				if again := string(r.cloud.Pins()); c.newest == (again == string(pins)) {
					r.Errorf("the pins are %s, and were %s", again, pins)
				}
				r.noSecret("the pins", string(pins))
			})
		})
	}
}

func TestPinsThatCannotBeRead(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		was := r.generation()
		if err := r.cloud.Pin([]byte("?")); err == nil {
			r.Error("no error")
		}
		if err := r.cloud.Pin([]byte(`{"Options":"of another version"}`)); err != nil {
			r.Error(err)
		}
		if is := r.generation(); is != was {
			r.Errorf("the generation was %s, and is %s", was, is)
		}
	})
}
