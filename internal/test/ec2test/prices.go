package ec2test

import (
	"slices"
	"strconv"
	"time"
)

// spotProduct is the only product whose prices the server knows.
const spotProduct = "Linux/UNIX"

// spotPrice is the price of an instance type in a zone since a time.
type spotPrice struct {
	usd   float64
	since time.Time
}

// SetSpotPrice changes the price of spot instances of a type in a zone, in dollars an hour. Until then, every zone has the
// lowest price for which the type is sold.
func (s *Server) SetSpotPrice(instanceType, zone string, usd float64) {
	now := s.lock()
	defer s.mu.Unlock()
	s.catalog.spot[offering{zone, instanceType}] = spotPrice{usd, now}
}

type xmlSpotPrice struct {
	Type    string `xml:"instanceType"`
	Product string `xml:"productDescription"`
	Price   string `xml:"spotPrice"`
	Since   string `xml:"timestamp"`
	Zone    string `xml:"availabilityZone"`
}

// describeSpotPriceHistory shows the prices that are in force. It keeps no history, so that a call must begin now.
func (s *Server) describeSpotPriceHistory(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "none", 1000)
	zone, names, products := p.str("AvailabilityZone"), p.list("InstanceType"), p.list("ProductDescription")
	start, err := time.Parse(time.RFC3339, p.required("StartTime"))
	if err := p.done(); err != nil {
		return nil, err
	}
	if err != nil || start.Before(now.Add(-time.Minute)) {
		return nil, fail("InvalidParameterValue", "ec2test: StartTime must be now, not %v", start)
	}
	var all []xmlSpotPrice
	for _, z := range s.Zones() {
		for _, t := range types {
			wanted := (zone == "" || zone == z) && (len(names) == 0 || slices.Contains(names, t.name)) &&
				(len(products) == 0 || slices.Contains(products, spotProduct))
			if !wanted || !slices.Contains(s.offered(t.name), z) {
				continue
			}
			price, changed := s.catalog.spot[offering{z, t.name}]
			if !changed {
				price = spotPrice{t.spotPrice, now.Add(-24 * time.Hour)}
			}
			all = append(all, xmlSpotPrice{t.name, spotProduct, strconv.FormatFloat(price.usd, 'f', 6, 64), stamp(price.since), z})
		}
	}
	found, next, err := find(d, all, kind[xmlSpotPrice]{id: func(x xmlSpotPrice) string { return x.Zone + " " + x.Type }})
	return &struct {
		head
		Next   string         `xml:"nextToken,omitempty"`
		Prices []xmlSpotPrice `xml:"spotPriceHistorySet>item"`
	}{Next: next, Prices: found}, err
}
