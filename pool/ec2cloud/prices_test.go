package ec2cloud_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

const spotPrices = "ec2:DescribeSpotPriceHistory"

func TestPrices(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		p, err := ec2cloud.NewPrices(r.Context(), r.opts.AWS, map[string]float64{"m7i.large": 0.1008})
		if err != nil {
			r.Fatal(err)
		}
		ask := func(m pool.Machine, want float64) {
			r.Helper()
			usd, ok := p.PerHour(m)
			if usd != want || ok != (want > 0) {
				r.Errorf("%s in %q, spot: %v, costs %v, %v, not %v", m.Type, m.Zone, m.Spot, usd, ok, want)
			}
		}
		asked := func(want int) {
			r.Helper()
			if n := r.server.Calls(spotPrices); n != want {
				r.Errorf("AWS was asked %d times, not %d", n, want)
			}
		}
		ask(pool.Machine{Type: "m7i.large"}, 0.1008)
		ask(pool.Machine{Type: "t3.large"}, 0)
		ask(pool.Machine{Type: "t3.large", Spot: true}, 0) // in no zone
		asked(0)

		a, b := pool.Machine{Type: "t3.large", Zone: "us-east-1a", Spot: true}, pool.Machine{Type: "t3.large", Zone: "us-east-1b", Spot: true}
		ask(a, 0.025)
		ask(b, 0.025)
		ask(pool.Machine{Type: "x9.huge", Zone: "us-east-1a", Spot: true}, 0)
		asked(3)
		r.server.SetSpotPrice("t3.large", "us-east-1b", 0.031)
		time.Sleep(59 * time.Minute)
		ask(a, 0.025)
		ask(b, 0.025)
		asked(3)
		time.Sleep(2 * time.Minute)
		ask(a, 0.025)
		ask(b, 0.031)
		asked(5)

		// A price that AWS does not tell any more holds until it does, and so does one that is not known.
		time.Sleep(2 * time.Hour)
		r.server.SetSpotPrice("t3.large", "us-east-1b", 0.04)
		r.server.Fail(spotPrices, 1, "UnauthorizedOperation")
		ask(b, 0.031)
		ask(b, 0.031)
		asked(6)
		time.Sleep(6 * time.Minute)
		ask(b, 0.04)
		asked(7)
	})
}

// TestWhenEC2CeasesToBill: the driver says so where EC2 does, and no machine costs less than a minute.
func TestWhenEC2CeasesToBill(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		short, long := r.launch("launch-1"), r.launch("launch-2")
		time.Sleep(20 * time.Second)
		r.end(short.CloudID)
		time.Sleep(10 * time.Minute)
		asked := time.Now()
		r.end(long.CloudID)
		time.Sleep(time.Minute)
		for _, c := range []struct {
			m    pool.Machine
			want time.Time
		}{{short, short.Launched.Add(time.Minute)}, {long, asked}} {
			m := r.listed(c.m.CloudID)
			if off := m.Ended.Sub(c.want); off < -2*time.Second || off > 2*time.Second || m.Type != "t3.large" || m.Zone == "" {
				r.Errorf("%+v, want its end at %v", m, c.want)
			}
		}
	})
}
