package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/pool"
)

// market is how an instance is paid for.
type market string

const (
	onDemand market = "on-demand"
	spot     market = "spot"
)

// candidate is one way to get an instance.
type candidate struct {
	Market market
	Type   string
	Arch   string
	Subnet string
	Zone   string
}

// String describes the candidate for people.
func (c candidate) String() string {
	return fmt.Sprintf("%s %s in %s (%s)", c.Market, c.Type, c.Subnet, c.Zone)
}

// block says which candidates are closed. An empty field stands for all.
type block struct {
	market            market
	typ, zone, subnet string
}

// refusal says why candidates are closed, and until when.
type refusal struct {
	until time.Time
	err   error
}

// blocks remembers what EC2 has recently refused.
type blocks struct {
	mu    sync.Mutex // protects until
	until map[block]refusal
}

func (b *blocks) close(what block, pause time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	until := time.Now().Add(pause)
	if known, there := b.until[what]; !there || known.until.Before(until) {
		b.until[what] = refusal{until, err}
	}
}

// on returns why a candidate is closed; nil = it is open.
func (b *blocks) on(c candidate) *refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, what := range []block{{market: c.Market}, {subnet: c.Subnet}, {market: c.Market, typ: c.Type, zone: c.Zone}} {
		r, there := b.until[what]
		if there && now.Before(r.until) {
			return &r
		}
		delete(b.until, what)
	}
	return nil
}

// chooser chooses how the pool gets its instances.
type chooser struct {
	*client
	archs   *archs
	subnets *subnets
	images  *images
	blocks  blocks
}

// learn closes the candidates that a refusal concerns.
func (c *chooser) learn(from candidate, imageID string, err error) {
	var e *callError
	if !errors.As(err, &e) {
		return
	}
	switch m := e.means; m.closes {
	case theOffering:
		c.blocks.close(block{market: from.Market, typ: from.Type, zone: from.Zone}, m.pause, err)
	case theMarket:
		c.blocks.close(block{market: from.Market}, m.pause, err)
	case bothMarkets:
		c.blocks.close(block{market: onDemand}, m.pause, err)
		c.blocks.close(block{market: spot}, m.pause, err)
	case theSubnet:
		c.blocks.close(block{subnet: from.Subnet}, m.pause, err)
	case theImage:
		c.images.lost(imageID)
	}
}

// hasOpenWay reports whether a refusal has closed the way of a launch, and another one is open.
func (c *chooser) hasOpenWay(ctx context.Context, from candidate, err error) bool {
	var e *callError
	if !errors.As(err, &e) || e.means.pause == 0 || c.blocks.on(from) == nil {
		return false
	}
	_, err = c.choose(ctx, from.Type)
	return err == nil
}

// markets are the ways to pay, the preferred one first.
func (o Options) markets() []market {
	switch o.Spot {
	case SpotFirst:
		return []market{spot, onDemand}
	case SpotOnly:
		return []market{spot}
	}
	return []market{onDemand}
}

// candidates returns all ways to get an instance, the preferred one first. The market matters most, then the type, then
// the number of addresses that a subnet has left.
func (c *chooser) candidates(ctx context.Context, asked string) ([]candidate, error) {
	names := c.opts.types(asked)
	archOf, err := c.archs.of(ctx, names)
	if err != nil {
		return nil, err
	}
	where, err := c.subnets.open(ctx)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, m := range c.opts.markets() {
		for _, typ := range names {
			if archOf[typ] == "" {
				return nil, c.archs.noType(typ)
			}
			for _, s := range where {
				if s.Free <= 0 {
					c.blocks.close(block{subnet: s.ID}, capacityPause, fmt.Errorf("%w: subnet %s has no free address", pool.ErrCapacity, s.ID))
				}
				all = append(all, candidate{Market: m, Type: typ, Arch: archOf[typ], Subnet: s.ID, Zone: s.Zone})
			}
		}
	}
	return all, nil
}

// choose returns the first candidate that is open.
func (c *chooser) choose(ctx context.Context, asked string) (candidate, error) {
	all, err := c.candidates(ctx, asked)
	if err != nil {
		return candidate{}, err
	}
	var soonest *refusal
	for _, one := range all {
		r := c.blocks.on(one)
		if r == nil {
			return one, nil
		}
		if soonest == nil || r.until.Before(soonest.until) {
			soonest = r
		}
	}
	return candidate{}, fmt.Errorf("all %d ways to get an instance were recently refused; the next try may begin in %v: %w",
		len(all), time.Until(soonest.until).Round(time.Second), soonest.err)
}
