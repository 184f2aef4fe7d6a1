package warden

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

// spareSpec is the spec of a spare room with the limits of spec.
func spareSpec(id string) room.Spec {
	s := spec(id, 0)
	s.Dir, s.Spare = "", true
	return s
}

// TestASpareRoomHasTheSameWalls: a session that takes a spare room is where it would be in a room of its own.
func TestASpareRoomHasTheSameWalls(t *testing.T) {
	b := newGround(t).box(t)
	b.open(spec("b", 10002))
	b.background("b", 10002, "/berth/bin/berth-agent queue; echo secret > /tmp/f; echo secret > /sessions/b/f; exec sleep 1000")
	b.open(spareSpec("spare"))
	if d := b.run("spare", 0, "ls -A /sessions; touch /sessions/x 2>&1 | grep -c Read-only"); d.Output != "1" {
		t.Errorf("before it is taken: %+v", d)
	}
	b.share(1)
	s := spec("a", 10001)
	s.ID = "spare"
	var took time.Duration
	if err := b.rpc.Call("Agent.Take", s, &took); err != nil {
		t.Fatal(err)
	}
	for _, c := range walls {
		if d := b.run("spare", 10001, c.script); d.Output != c.want {
			t.Errorf("%s: got %q, want %q", c.rule, d.Output, c.want)
		}
	}
	b.share(2)
	for _, id := range []string{"spare", "b", "none"} { // what is taken, was never a spare one, or does not exist
		s.ID = id
		if err := b.rpc.Call("Agent.Take", s, &took); err == nil || !strings.Contains(err.Error(), "not a spare one") {
			t.Errorf("taking %s: %v", id, err)
		}
	}
	b.close("spare")
	b.close("b")
	if left := b.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}

// TestASpareRoomThatEndedCannotBeTaken: and another one can be opened.
func TestASpareRoomThatEndedCannotBeTaken(t *testing.T) {
	b := newGround(t).box(t)
	b.open(spareSpec("spare"))
	var took time.Duration
	if err := b.rpc.Call("Agent.Kill", "spare", &took); err != nil {
		t.Fatal(err)
	}
	s := spec("a", 10001)
	s.ID = "spare"
	if err := b.rpc.Call("Agent.Take", s, &took); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("taking it: %v", err)
	}
	if err := b.rpc.Call("Agent.Close", "spare", &took); err != nil {
		t.Error(err)
	}
	b.open(spec("a", 10001))
	if d := b.run("a", 10001, "echo x > /sessions/a/f; cat /sessions/a/f"); d.Output != "x" {
		t.Errorf("%+v", d)
	}
}
