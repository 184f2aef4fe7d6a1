package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// isolate returns what a container that is made now gives its sessions. It makes the warden, if the runtime allows rooms.
func (e *ensuring) isolate(ctx context.Context) (found orchestrator.Isolation, err error) {
	if err := e.checkRuntime(ctx); err != nil {
		return found, err
	}
	found, known := e.warden.known()
	switch {
	case !e.runtimeHasRooms():
		found = roomless(fmt.Sprintf("with the runtime %s the warden cannot open rooms", e.opts.Runtime))
	case !known:
		image, err := e.images.bring(ctx, e.spec.Image, e.say)
		if err != nil {
			return found, err
		}
		if found, err = e.warden.ensure(ctx, image); err != nil {
			return found, err
		}
	}
	if e.spec.RequireIsolation && found.Level != store.IsolationRooms {
		return found, &orchestrator.IsolationError{Reason: found.Reason}
	}
	return found, nil
}

// checkRooms asks the agent of a container that was just started whether its sessions get rooms, and share checkouts. If there are no rooms, the warden may have
// been removed from outside since this host last saw it: it is made again, with another container. If that does not help,
// containers are made without rooms.
func (e *ensuring) checkRooms(ctx context.Context, in *inside) error {
	if e.isolation.Level != store.IsolationRooms {
		return nil
	}
	said, err := in.Isolation(ctx)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, agent.ErrGone):
		return againError{err}
	case err != nil: // the agent cannot reach the warden
		said.Reason = err.Error()
	case said.Rooms && said.Network:
		e.isolation.SharedCheckouts, e.isolation.CheckoutReason = said.Checkouts, said.Copies
		return nil
	}
	return e.withoutRooms(said.Reason)
}

// withoutRooms notes why the agent of a container gets no rooms or no walls, and asks for another container.
func (e *ensuring) withoutRooms(reason string) error {
	if e.roomless {
		e.warden.note(roomless("the agent of a container gets no rooms from the warden: "+reason), wardenAgain)
	} else {
		e.warden.forget()
	}
	e.roomless = true
	return againError{errors.New("its agent gets no rooms: " + reason)}
}

// unfit returns why a running container of this pool cannot be adopted: it was made with another setting. "" = it can.
func (e *ensuring) unfit(found container.InspectResponse) string {
	if e.spec.RequireIsolation && found.Config.Labels[labelRooms] != string(store.IsolationRooms) {
		return "it was made without rooms, which are required"
	}
	if r := e.opts.Runtime; r != "" && found.HostConfig != nil && found.HostConfig.Runtime != r {
		return fmt.Sprintf("it has the runtime %s, not %s", found.HostConfig.Runtime, r)
	}
	return ""
}

// roomRuntimes are the runtimes whose containers are processes of the machine's kernel, so that the warden can enter them.
var roomRuntimes = []string{"", "runc", "crun", "io.containerd.runc.v2"}

func (d *daemon) runtimeHasRooms() bool { return slices.Contains(roomRuntimes, d.opts.Runtime) }

// checkRuntime returns an error unless the engine has the runtime that it is to use.
func (d *daemon) checkRuntime(ctx context.Context) error {
	if d.opts.Runtime == "" || slices.Contains(d.machine.runtimes, d.opts.Runtime) {
		return nil
	}
	ctx, cancel := d.bound(ctx)
	defer cancel()
	now, err := d.docker.Info(ctx, client.InfoOptions{}) // it may have been restarted with another configuration
	if err != nil {
		return err
	}
	var has []string
	for name := range now.Info.Runtimes {
		has = append(has, name)
	}
	if slices.Contains(has, d.opts.Runtime) {
		return nil
	}
	slices.Sort(has)
	return fmt.Errorf("%w: the Docker engine at %s does not have the runtime %q, only %s. Add it to the engine's daemon.json, or change "+
		"Config.Runtime", orchestrator.ErrRuntime, d.at.Address, d.opts.Runtime, strings.Join(has, ", "))
}
