package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/internal/hostboot/hostboottest"
)

// machines are an EC2 whose instances are machines.
type machines struct {
	server *ec2test.Server
	out    *printer
	ctx    context.Context // of all boots

	mu   sync.Mutex                       // protects what follows
	byID map[string]*hostboottest.Machine // by the cloud's ID: all there ever were
	errs []error                          // what went wrong with machines
}

func newMachines(ctx context.Context, out *printer) *machines {
	m := &machines{out: out, ctx: ctx, byID: make(map[string]*hostboottest.Machine)}
	m.server = ec2test.New(ec2test.Options{
		Pending: 200 * time.Millisecond, Ending: 500 * time.Millisecond, Latency: 20 * time.Millisecond,
		LaunchLag: 100 * time.Millisecond, TagLag: 100 * time.Millisecond, EndLag: 100 * time.Millisecond, Boot: m.boot,
	})
	return m
}

// boot is ec2test.Options.Boot: the machine has the address that EC2 gave the instance, and what RunInstances was given.
func (m *machines) boot(i ec2test.Instance) (stop func()) {
	m.out.say("machine %s boots at %s", i.ID, i.PrivateIP)
	machine, err := start(m.ctx, i.PrivateIP, i.UserData)
	if err == nil && !machine.Booted() {
		err = errors.New("the user data failed" + machine.Log())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && m.ctx.Err() == nil {
		m.fail(i.ID, err)
	}
	if machine == nil {
		return nil
	}
	m.byID[i.ID] = machine // also when it came with an error: close looks what it has left
	return func() {
		if err := machine.Stop(); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.fail(i.ID, err)
		}
	}
}

// start boots a machine at an address.
func start(ctx context.Context, address string, userData []byte) (*hostboottest.Machine, error) {
	return hostboottest.Start(ctx, hostboottest.Options{
		UserData: userData, Engine: true, Address: address,
		Env: []string{"BERTH_IMDS=http://127.0.0.1:1"}, // nothing serves metadata
	})
}

// fail remembers an error. The caller holds mu.
func (m *machines) fail(id string, err error) {
	m.errs = append(m.errs, fmt.Errorf("machine %s: %w", id, err))
}

// trouble returns what went wrong with machines so far.
func (m *machines) trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.errs...)
}

// machine returns the machine of an instance.
func (m *machines) machine(id string) *hostboottest.Machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.byID[id]
}

// up returns the instances that cost money.
func (m *machines) up() (ids []string) {
	for _, i := range m.server.Instances() {
		if i.State == ec2test.Pending || i.State == ec2test.Running {
			ids = append(ids, i.ID)
		}
	}
	return ids
}

// close ends all machines, and returns what went wrong with any, and what is left of them.
func (m *machines) close() error {
	m.server.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	errs := m.errs
	for id, machine := range m.byID {
		for _, thing := range machine.Left() {
			errs = append(errs, fmt.Errorf("machine %s left %s", id, thing))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if len(m.byID) > 0 {
		m.out.say("nothing is left of the %d machines", len(m.byID))
	}
	return nil
}
