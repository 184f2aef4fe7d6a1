package localport

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
)

// A ground has sockets that take all ports together.
type ground struct {
	made  map[uint32]int // by uid, as the kernel tells
	held  map[string]int // by session
	ended []string
}

// left reports whether those that held the ports have ended.
func (g *ground) left() bool {
	for _, n := range g.held {
		if n > 0 {
			return false
		}
	}
	return true
}

func (g *ground) guard() *Guard {
	guard := NewGuard(func() (map[uint32]int, error) { return g.made, nil }, func() (all []Session) {
		uids := map[string]int{"a": 1, "b": 2, "c": 3}
		for _, id := range slices.Sorted(maps.Keys(uids)) {
			all = append(all, Session{
				ID: id, UID: uids[id],
				Sockets: func(context.Context) (int, error) { return g.held[id], nil },
				End: func(_ context.Context, reason string) error {
					g.ended = append(g.ended, id)
					delete(g.held, id)
					return errors.New(cmp.Or(reason, "none"))
				},
			})
		}
		return all
	}, slog.New(slog.DiscardHandler))
	guard.Left = g.left
	return guard
}

func TestTheGuiltyAreEnded(t *testing.T) {
	for name, c := range map[string]struct {
		made map[uint32]int
		held map[string]int
		want []string
	}{
		"nobody":                           {nil, nil, nil},
		"who made most":                    {map[uint32]int{1: 5000, 2: 999}, map[string]int{"a": 1}, []string{"a"}},
		"who holds most":                   {nil, map[string]int{"b": 5000}, []string{"b"}},
		"who made them, then who has them": {map[uint32]int{1: 5000}, map[string]int{"c": 3000}, []string{"a", "c"}},
		"two, and the greater first":       {map[uint32]int{1: 5000, 2: 9000}, map[string]int{"a": 5000, "b": 5000}, []string{"b", "a"}},
		"nobody who has few":               {map[uint32]int{1: 999}, map[string]int{"b": 999}, nil},
		"nobody who is no session":         {map[uint32]int{0: 9999}, map[string]int{"?": 1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &ground{made: c.made, held: c.held}
				g.guard().Free(t.Context())
				if !slices.Equal(g.ended, c.want) {
					t.Errorf("%q are ended, want %q", g.ended, c.want)
				}
			})
		})
	}
}

// TestTheGuardLooksAgain every second, and less often if nobody has many.
func TestTheGuardLooksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &ground{held: map[string]int{"a": 1}}
		guard := g.guard()
		looks := 0
		guard.Ports = func() (map[uint32]int, error) { looks++; return g.made, nil }
		ctx, end := context.WithTimeout(t.Context(), 40*lookAgain)
		defer end()
		guard.Run(ctx)
		if looks < 4 || looks > 9 || len(g.ended) > 0 {
			t.Errorf("%d looks, and %q ended", looks, g.ended)
		}
		g.made = map[uint32]int{1: Few}
		ctx, end = context.WithTimeout(t.Context(), 2*maxQuiet)
		defer end()
		guard.Run(ctx)
		if len(g.ended) != 1 {
			t.Errorf("%q ended", g.ended)
		}
	})
}
