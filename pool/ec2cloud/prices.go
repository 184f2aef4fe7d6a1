package ec2cloud

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// Prices knows what EC2's instances cost. Spot prices are AWS's own, and may be an hour old. EC2's API does not tell the
// prices of other instances: these come from a table. Volumes, addresses and traffic are not in them. All methods are safe for
// concurrent use.
type Prices struct {
	cloud    *Cloud
	onDemand map[string]float64

	mu   sync.Mutex // protects the field below
	spot map[spotMarket]spotPrice
}

// spotMarket is where one spot price holds.
type spotMarket struct{ typ, zone string }

type spotPrice struct {
	usd   float64
	known bool
	asked time.Time // zero = AWS was not asked yet
	busy  bool      // AWS is being asked
}

const (
	spotPriceAge  = time.Hour       // for which a price counts
	spotPriceRest = 5 * time.Minute // between two questions, when the first one failed
	priceTimeout  = 5 * time.Second
)

// Prices returns the prices of the region. onDemand has those of instances that are not spot, in US dollars an hour by
// instance type. They depend on the region, and on what you have agreed with AWS: see https://aws.amazon.com/ec2/pricing/.
// The spot prices need the right ec2:DescribeSpotPriceHistory. Without it they are not known.
func (c *Cloud) Prices(onDemand map[string]float64) *Prices {
	return &Prices{cloud: c, onDemand: maps.Clone(onDemand), spot: make(map[spotMarket]spotPrice)}
}

// NewPrices is [Cloud.Prices] for a program that has no Cloud, such as one that calls berth.NewEC2SharedProvider. awsConfig is
// as Options.AWS.
func NewPrices(ctx context.Context, awsConfig *aws.Config, onDemand map[string]float64) (*Prices, error) {
	c, err := connect(ctx, Options{AWS: awsConfig, Pool: "prices"}.withDefaults())
	if err != nil {
		return nil, err
	}
	return c.Prices(onDemand), nil
}

// PerHour returns the price of a machine in US dollars an hour. It is made for berth's Config.PricePerHour. For a spot
// instance it may ask AWS, which takes at most 5 s. ok is false if the price is not known.
func (p *Prices) PerHour(m pool.Machine) (usd float64, ok bool) {
	if !m.Spot {
		usd, ok = p.onDemand[m.Type]
		return usd, ok
	}
	if m.Type == "" || m.Zone == "" {
		return 0, false
	}
	at := spotMarket{m.Type, m.Zone}
	p.mu.Lock()
	price := p.spot[at]
	age := time.Since(price.asked)
	fresh := !price.asked.IsZero() && (age < spotPriceRest || price.known && age < spotPriceAge)
	if !fresh && !price.busy {
		price.busy = true
		p.spot[at] = price
		p.mu.Unlock()
		price = p.ask(at, price)
		p.mu.Lock()
		p.spot[at] = price
	}
	p.mu.Unlock()
	return price.usd, price.known
}

// ask asks AWS for a price. If that fails, the last price holds.
func (p *Prices) ask(at spotMarket, last spotPrice) spotPrice {
	ctx, cancel := context.WithTimeout(context.Background(), priceTimeout)
	defer cancel()
	now := time.Now()
	c := p.cloud
	usd, err := call(ctx, c.limits.read, actDescribeSpotPriceHistory, c.ec2.DescribeSpotPriceHistory, readSpotPrice(at), &ec2.DescribeSpotPriceHistoryInput{
		AvailabilityZone: &at.zone, InstanceTypes: []types.InstanceType{types.InstanceType(at.typ)},
		ProductDescriptions: []string{"Linux/UNIX"}, StartTime: &now, // with this, the answer is the price in force
	})
	if err != nil {
		c.log.Warn("cannot learn a spot price", "type", at.typ, "zone", at.zone, "error", err)
		usd = 0
	}
	next := spotPrice{usd: usd, known: usd > 0, asked: now}
	if !next.known {
		next.usd, next.known = last.usd, last.known
		// A known price would hold for an hour. It is asked for again after the rest.
		next.asked = now.Add(spotPriceRest - spotPriceAge)
		if !next.known {
			next.asked = now
		}
	}
	return next
}
