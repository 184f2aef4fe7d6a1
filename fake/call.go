package fake

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A Verb names a method of a driver.
type Verb string

// The verbs of Cloud and of Engine, in the order of the interfaces. Those of Snapshots are beside it.
const (
	Prepare      Verb = "cloud.Prepare"
	Launch       Verb = "cloud.Launch"
	ListMachines Verb = "cloud.List"
	Terminate    Verb = "cloud.Terminate"
	Generation   Verb = "cloud.Generation"
	Explain      Verb = "cloud.Explain"

	Connect        Verb = "engine.Connect"
	Probe          Verb = "host.Probe"
	Ensure         Verb = "host.Ensure"
	List           Verb = "host.List"
	Remove         Verb = "host.Remove"
	RemoveMirror   Verb = "host.RemoveMirror"
	RemoveResource Verb = "host.RemoveResource"
	Purge          Verb = "host.Purge"
	Attach         Verb = "host.Attach"
	Fetch          Verb = "inside.Fetch"
	Open           Verb = "inside.Open"
	CloseSession   Verb = "inside.CloseSession"
	Sessions       Verb = "inside.Sessions"
	Idle           Verb = "inside.Idle"
	Renew          Verb = "inside.Renew"
	FillCaches     Verb = "inside.FillCaches"
	PrepareLayer   Verb = "inside.Prepare"
	KeepWork       Verb = "inside.KeepWork"
	BringWork      Verb = "inside.BringWork"
	PromoteLayer   Verb = "inside.Promote"
	ReadLayer      Verb = "inside.Layer"
	WriteLayer     Verb = "inside.PutLayer"
	Start          Verb = "inside.Start"
	Commands       Verb = "inside.Commands"
	Dial           Verb = "inside.Dial"
	Ports          Verb = "inside.Ports"
	AnswerQuestion Verb = "inside.AnswerQuestion"
	Kill           Verb = "process.Kill"
	Signal         Verb = "process.Signal"
	Resize         Verb = "process.Resize"
	Deliver        Verb = "process.Deliver" // of a chunk of output; an error is a connection that breaks, and is made again
)

// Call is a call of a driver that is about to be made. Its fields do not depend on how goroutines are scheduled, unless
// the caller's own calls do. So a simulation may decide each fault from a hash of its seed and the Call, and dropping
// one caller changes nothing for the others.
type Call struct {
	Actor     string // the caller's name: see Cloud.As and Engine.As
	Verb      Verb
	Host      string // the launch ID; for Terminate the cloud IDs, for a host without a Cloud its address
	Container string // its name; of a call of Snapshots, the kind and key of the snapshot
	Session   string // its ID
	N         int    // counts the calls like this one, from 1
	Bounded   bool   // its context has a deadline
}

// apart returns a time below a millisecond that depends on the call alone.
func (c Call) apart() time.Duration {
	sum := sha256.Sum256(fmt.Appendf(nil, "%v", c))
	return 1 + time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(time.Millisecond))
}

// errCut ends a call that waits for something that is gone.
var errCut = errors.New("fake: cut off")

// sleep waits for d, until ctx ends or until cut is closed.
func sleep(ctx context.Context, d time.Duration, cut <-chan struct{}) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-cut:
		if ctx.Err() == nil {
			return errCut
		}
	}
	return context.Cause(ctx)
}

// hang waits until ctx ends or cut is closed.
func hang(ctx context.Context, cut <-chan struct{}) error {
	select {
	case <-ctx.Done():
	case <-cut:
		if ctx.Err() == nil {
			return errCut
		}
	}
	return context.Cause(ctx)
}

// latency returns a documented default for 0, and 0 for a negative d.
func latency(d, standard time.Duration) time.Duration {
	switch {
	case d == 0:
		return standard
	case d < 0:
		return 0
	}
	return d
}
