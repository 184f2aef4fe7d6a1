package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/hostboottest"
)

// machines are the machines behind the instances of an EC2.
type machines struct {
	server *ec2test.Server
	out    *narrate.Printer
	ctx    context.Context // of all boots

	systemd bool           // they boot systemd and cloud-init, as an image of EC2 does
	shared  string         // a directory that such machines see
	watches sync.WaitGroup // of power buttons

	mu   sync.Mutex                       // protects the fields below
	byID map[string]*hostboottest.Machine // by the cloud's ID, with those that have ended
	errs []error                          // the faults of machines so far
}

func newMachines(ctx context.Context, out *narrate.Printer, systemd bool, shared string) *machines {
	m := &machines{out: out, ctx: ctx, systemd: systemd, shared: shared, byID: make(map[string]*hostboottest.Machine)}
	m.server = ec2test.New(ec2test.Options{
		Pending: 200 * time.Millisecond, Ending: 500 * time.Millisecond, Latency: 20 * time.Millisecond,
		LaunchLag: 100 * time.Millisecond, TagLag: 100 * time.Millisecond, EndLag: 100 * time.Millisecond, Boot: m.boot,
		Notice: notice,
	})
	return m
}

// boot is ec2test.Options.Boot. The machine has the address of the instance, and the user data of the RunInstances call.
func (m *machines) boot(i ec2test.Instance) (stop func()) {
	m.out.Say("machine %s boots at %s", i.ID, i.PrivateIP)
	machine, err := m.start(i)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil && m.ctx.Err() == nil {
		m.fail(i.ID, err)
	}
	if machine == nil {
		return nil
	}
	if err == nil && m.systemd {
		m.watches.Go(func() { m.watch(i.ID, machine) })
	}
	m.byID[i.ID] = machine // also after an error, because close looks for what it has left
	return func() {
		if err := machine.Stop(); err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.fail(i.ID, err)
		}
	}
}

// start boots the machine of an instance. A machine with systemd goes on booting after start returns.
func (m *machines) start(i ec2test.Instance) (*hostboottest.Machine, error) {
	if m.systemd {
		return hostboottest.Start(m.ctx, hostboottest.Options{Metadata: m.server.Metadata(i.ID), Address: i.PrivateIP, Shared: m.shared})
	}
	machine, err := start(m.ctx, i.PrivateIP, i.UserData)
	if err == nil && !machine.Booted() {
		err = errors.New("the user data failed" + machine.Log())
	}
	return machine, err
}

// watch tells EC2 when a machine has powered itself off.
func (m *machines) watch(id string, machine *hostboottest.Machine) {
	<-machine.Ended()
	if machine.PoweredOff() {
		m.out.Say("machine %s has powered itself off", id)
		m.server.Shutdown(id)
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

// trouble returns the faults of machines so far.
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

// close ends all machines. Its error has the faults of machines, and what is left of them.
func (m *machines) close() error {
	m.server.Close()
	m.watches.Wait()
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
		m.out.Say("nothing is left of the %d machines", len(m.byID))
	}
	return nil
}
