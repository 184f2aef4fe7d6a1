package warden

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

// maxRooms bounds the rooms of a container.
const maxRooms = 900

// A container is one whose agent asks for rooms.
type container struct {
	*peer
	hidden []string // directories that rooms see empty
	init   []string // the command of a room's init
	self   bool     // it is the warden's own, for a trial

	// ready says whether rooms can be opened here. profile and groups are set if it returns nil.
	ready   func() error
	profile *os.File
	groups  cgroups
	filters int // that a room has and the container has not

	quotas func() bool // whether the file system bounds directories

	// gone is called when the container has ended and no connection uses it. It does its work once.
	gone func()

	helperPID atomic.Int64 // of the helper, or of the last one

	walls enclosure // of its network

	note    atomic.Pointer[string] // why a cache is not shared, for the next answer
	sharing sync.Mutex             // held while the container's part of the CPU is set

	opening sync.Mutex  // held while Enter makes a room; protects what follows
	helper  *helper     // nil = none runs
	idle    *time.Timer // ends the helper

	mu    sync.Mutex       // protects what follows
	conns int              // that are served
	rooms map[string]*lock // by ID, also those that are being opened or closed
}

// A lock is held while a room is opened or closed. It is a channel with one place.
type lock struct {
	held  chan struct{}
	spare int // a pidfd of the init of a room that no session has taken; 0 = it is none. The container's mu protects it
}

func newContainer(p *peer, o Options) *container {
	c := &container{peer: p, hidden: o.Hidden, init: o.Init, rooms: make(map[string]*lock)}
	c.gone = sync.OnceFunc(c.cleanUp)
	c.ready = sync.OnceValue(c.prepare)
	c.quotas = sync.OnceValue(c.findQuotas)
	c.idle = time.AfterFunc(time.Hour, c.retire)
	c.idle.Stop()
	return c
}

// prepare reads what rooms need of the container.
func (c *container) prepare() error {
	p, err := readProfile(c.pid)
	if err != nil {
		return err
	}
	if err := p.checkCaps(); err != nil {
		return err
	}
	return c.prepareWith(p)
}

func (c *container) prepareWith(p *profile) error {
	own := []filter{narrow()}
	if c.quotas() {
		own = append(own, keepProjects())
	}
	p.Filters, c.filters = append(own, p.Filters...), len(own)
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if c.groups, err = openCgroups(cgroupRoot, c.pid); err != nil {
		return err
	}
	c.profile, err = memfd("berth-room", text)
	return err
}

// isolation describes the walls between the container's rooms.
func (c *container) isolation() room.Isolation {
	if err := c.ready(); err != nil {
		return room.Isolation{Reason: err.Error()}
	}
	i := room.Isolation{
		Rooms: true, Cgroup: c.groups.version(), Network: c.haveWalls(),
		Memory: c.groups.has("memory"), CPU: c.groups.has("cpu"), PIDs: c.groups.has("pids"),
		DiskQuota: c.quotas(),
	}
	var missing []string
	for _, name := range own {
		if !c.groups.has(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		i.Reason = "the container has no cgroup controller " + strings.Join(missing, ", ")
	}
	return i
}

// acquire lets one caller at a time open or close a room. known reports whether the room was there before. release forgets
// a room that is gone.
func (c *container) acquire(ctx context.Context, id string) (release func(gone bool), known bool, err error) {
	if !validID(id) {
		return nil, false, fmt.Errorf("bad ID %q of a room", id)
	}
	for {
		l, known, err := c.lockOf(id)
		if err != nil {
			return nil, false, err
		}
		select {
		case l.held <- struct{}{}:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
		c.mu.Lock()
		current := c.rooms[id] == l
		c.mu.Unlock()
		if current {
			return func(gone bool) { c.release(id, l, gone) }, known, nil
		}
		<-l.held
	}
}

// lockOf returns the lock of a room. It makes one if the room is not known.
func (c *container) lockOf(id string) (l *lock, known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.rooms[id]; l != nil {
		return l, true, nil
	}
	if len(c.rooms) >= maxRooms {
		return nil, false, fmt.Errorf("the container has %d rooms already", maxRooms)
	}
	l = &lock{held: make(chan struct{}, 1)}
	c.rooms[id] = l
	return l, false, nil
}

func (c *container) release(id string, l *lock, gone bool) {
	c.mu.Lock()
	if gone {
		delete(c.rooms, id)
		l.disown()
	}
	c.mu.Unlock()
	<-l.held
	c.share()
}

// share gives the container the part of the CPU that its rooms have. It is best effort: without it the CPU is less fair between
// containers.
func (c *container) share() {
	c.sharing.Lock()
	defer c.sharing.Unlock()
	c.mu.Lock()
	n := 0
	for _, l := range c.rooms {
		if l.spare == 0 { // a spare room has no part of the CPU
			n++
		}
	}
	c.mu.Unlock()
	c.groups.share(n)
}

// open opens a room.
func (c *container) open(ctx context.Context, s room.Spec) (control *os.File, pid int, err error) {
	if err := c.ready(); err != nil {
		return nil, 0, err
	}
	release, known, err := c.acquire(ctx, s.ID)
	if err != nil {
		return nil, 0, err
	}
	if known {
		release(false)
		return nil, 0, errors.New("the room is open already")
	}
	defer func() { release(err != nil) }()
	if err := c.groups.make(s.ID, s.Limits); err != nil {
		return nil, 0, err
	}
	control, pid, init, err := c.start(s)
	if err != nil {
		return nil, 0, errors.Join(err, c.clear(s.ID))
	}
	c.keepSpare(s, init)
	return control, pid, nil
}

// closeRoom ends a room and removes its cgroup.
func (c *container) closeRoom(ctx context.Context, id string) (err error) {
	if err := c.ready(); err != nil {
		return err
	}
	release, _, err := c.acquire(ctx, id)
	if err != nil {
		return err
	}
	defer func() { release(err == nil) }()
	return c.clear(id)
}

// clear kills what is in the cgroup of a room and removes it.
func (c *container) clear(id string) error {
	for deadline := time.Now().Add(cgroupGrace); ; time.Sleep(time.Millisecond) {
		pids := c.inside(id)
		for _, pid := range pids {
			killIn(pid, func() bool { return slices.Contains(c.inside(id), pid) })
		}
		if len(pids) == 0 || time.Now().After(deadline) {
			return c.groups.remove(id)
		}
	}
}

// inside returns the processes in a room. The helper is none of them, though the thread that made the room was there and may still
// be about to end.
func (c *container) inside(id string) []int {
	return slices.DeleteFunc(c.groups.procs(id), func(pid int) bool { return pid == int(c.helperPID.Load()) })
}

// killIn kills a process if it is still the one that is meant.
func killIn(pid int, meant func() bool) {
	fd, err := pidfdOpen(pid)
	if err != nil {
		return
	}
	defer syscall.Close(fd)
	if meant() {
		pidfdKill(fd)
	}
}

// sync removes what is left of rooms that are neither wanted nor open by this warden. It returns when they are gone.
func (c *container) sync(ctx context.Context, wanted []string) error {
	if err := c.ready(); err != nil {
		return err
	}
	var failed []error
	for _, id := range c.groups.rooms() {
		c.mu.Lock()
		_, known := c.rooms[id]
		if keep := slices.Contains(wanted, id); keep && !known && len(c.rooms) < maxRooms {
			c.rooms[id] = &lock{held: make(chan struct{}, 1)}
			known = true
		}
		c.mu.Unlock()
		if !known {
			failed = append(failed, c.closeRoom(ctx, id))
		}
	}
	return errors.Join(failed...)
}

// cleanUp removes what is left of the rooms of a container that has ended.
func (c *container) cleanUp() {
	if c.ready() == nil {
		for _, id := range c.groups.rooms() {
			c.clear(id)
		}
		c.profile.Close()
	}
	c.disownAll()
	c.idle.Stop()
	c.retire()
	c.close()
}
