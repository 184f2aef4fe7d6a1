package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/berth-go/berth/pool"
)

const (
	enginePort = 2376
	pageSize   = 1000 // the largest page of DescribeInstances
)

// errPages says that an answer in pages has no end.
var errPages = errors.New("its pages have no end")

// maxPages is how many pages an answer may have: a hundred thousand instances.
const maxPages = 100

// pages reads all pages of an answer. get returns the page that a token names, "" for the first.
func pages[T any](action string, get func(token string) (page[T], error)) (all []T, err error) {
	seen := make(map[string]bool)
	token := ""
	for range maxPages {
		p, err := get(token)
		if err != nil {
			return nil, err
		}
		all = append(all, p.items...)
		if p.next == "" {
			return all, nil
		}
		if token = p.next; seen[token] {
			break
		}
		seen[token] = true
	}
	return nil, fmt.Errorf("%s: %w", action, errPages)
}

// List implements pool.Cloud. The outlook of a machine may be two minutes old; see the package's comment.
func (c *Cloud) List(ctx context.Context) ([]pool.Machine, error) {
	found, err := c.ours.list(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing instances: %w", err)
	}
	c.note(found)
	outlooks := c.outlooks.of(ctx, found)
	machines := make([]pool.Machine, 0, len(found))
	for _, i := range found {
		m := c.machine(i)
		if o, there := outlooks[m.CloudID]; there && m.State == pool.MachineRunning {
			m.Outlook, m.Reason = o.outlook, o.reason
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// note remembers the pool's instances, and learns from those that have ended: EC2 may accept a launch and find later that it
// has no room, and it takes spot instances back where capacity is short.
func (c *Cloud) note(found []instance) {
	for _, i := range found {
		if before := c.ours.shown(i, i.code != ""); before || i.code == "" {
			continue
		}
		if m := meaningOf(i.code, ""); m.closes != nothing {
			c.chooser.learn(candidateOf(i), i.image, &callError{action: i.id, code: i.code, text: i.reason, means: m, causes: []error{m.err}})
		}
	}
	c.ours.forgetOld()
}

// candidateOf returns the way by which an instance was got.
func candidateOf(i instance) candidate {
	from := candidate{Market: onDemand, Type: i.typ, Arch: i.arch, Subnet: i.subnet, Zone: i.zone}
	if i.spot {
		from.Market = spot
	}
	return from
}

// machine translates an instance.
func (c *Cloud) machine(i instance) pool.Machine {
	m := pool.Machine{
		LaunchID: i.launch, PoolUID: i.uid, CloudID: i.id, Launched: i.launched, State: i.state,
		Type: i.typ, Zone: i.zone, Spot: i.spot,
	}
	if !i.hasUID {
		m.PoolUID = unknownUID
	}
	address := i.private
	if c.opts.PublicAddress {
		address = i.public // an instance gets it late
	}
	if address != "" {
		m.Address = "tcp://" + net.JoinHostPort(address, strconv.Itoa(enginePort))
	}
	if m.State != pool.MachinePending && m.State != pool.MachineRunning {
		m.Reason = i.reason
		m.Ended = billEnd(i)
	}
	return m
}

// leastBilled is the least time for which EC2 bills an instance.
const leastBilled = time.Minute

// billEnd returns until when EC2 bills an instance that runs no more: until it was asked to stop or to terminate it. Zero =
// EC2 does not say so.
func billEnd(i instance) time.Time {
	if i.changed.IsZero() || i.launched.IsZero() {
		return time.Time{}
	}
	if least := i.launched.Add(leastBilled); i.changed.Before(least) {
		return least
	}
	return i.changed
}
