package admission

import (
	"reflect"
	"testing"

	"github.com/berth-go/berth/store"
)

func TestChoose(t *testing.T) {
	instance := func(id string, state store.InstanceState, free int) *store.Instance {
		return &store.Instance{ID: id, State: state, Slots: 3, Sessions: 3 - free}
	}
	container := func(id string, state store.ContainerState, superseded bool) *store.Container {
		return &store.Container{ID: id, State: state, Superseded: superseded}
	}
	var (
		roomy    = instance("i-roomy", store.InstanceReady, 1)
		full     = instance("i-full", store.InstanceReady, 0)
		cordoned = instance("i-cordoned", store.InstanceCordoned, 1)
		lost     = instance("i-lost", store.InstanceLost, 1)

		ready      = container("ready", store.ContainerReady, false)
		starting   = container("starting", store.ContainerStarting, false)
		stopping   = container("stopping", store.ContainerStopping, false)
		superseded = container("superseded", store.ContainerReady, true)
		held       = container("held", store.ContainerReady, false)
	)
	held.Sessions = 1
	type want struct {
		join      string
		create    bool
		instances []string
		supersede []string
		giveUp    []string
	}
	for _, row := range []struct {
		name       string
		containers []existing
		candidates []string
		limit      int
		want       want
	}{
		{"the first container", nil, []string{"i-1", "i-2"}, 1, want{create: true, instances: []string{"i-1", "i-2"}}},
		{"the first container, and no candidates yet", nil, nil, 1, want{create: true}},
		{"one that is ready", []existing{{ready, roomy, false}}, []string{"i-1"}, 1, want{join: "ready"}},
		{"one that is starting", []existing{{starting, roomy, false}}, nil, 1, want{join: "starting"}},
		{"one on a full instance", []existing{{ready, full, false}}, []string{"i-1"}, 1, want{}},
		{"one on a full instance, of two", []existing{{ready, full, false}}, []string{"i-full", "i-1"}, 2,
			want{create: true, instances: []string{"i-1"}}},
		{"the second has room", []existing{{ready, full, false}, {starting, roomy, false}}, nil, 2, want{join: "starting"}},
		{"one that is being removed", []existing{{stopping, roomy, false}}, []string{"i-1"}, 2, want{}},
		{"one that is being removed with a lost instance", []existing{{stopping, lost, false}}, []string{"i-1"}, 1,
			want{create: true, instances: []string{"i-1"}}},
		{"one on an instance that takes no sessions", []existing{{ready, cordoned, false}}, []string{"i-cordoned", "i-1"}, 1,
			want{create: true, instances: []string{"i-1"}, supersede: []string{"ready"}}},
		{"one that was superseded and is the last", []existing{{superseded, roomy, false}}, []string{"i-1"}, 1, want{join: "superseded"}},
		{"one that was superseded, on a full instance", []existing{{superseded, full, false}}, []string{"i-1"}, 1,
			want{create: true, instances: []string{"i-1"}}},
		{"one that was superseded, beside one that runs", []existing{{superseded, roomy, false}, {ready, cordoned, false}}, nil, 1,
			want{join: "superseded", supersede: []string{"ready"}}},
		{"one that was superseded, beside one with room", []existing{{superseded, roomy, false}, {ready, roomy, false}}, nil, 1, want{join: "ready"}},
		{"an empty one with other settings", []existing{{ready, roomy, true}}, []string{"i-1"}, 2, want{giveUp: []string{"ready"}}},
		{"one with other settings and a session", []existing{{held, roomy, true}}, nil, 1, want{join: "held"}},
		{"an empty one with other settings, beside one with room", []existing{{ready, roomy, true}, {held, roomy, false}}, nil, 2,
			want{join: "held", giveUp: []string{"ready"}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := choose(row.containers, row.candidates, row.limit)
			got := want{create: d.create}
			if d.join != nil {
				got.join = d.join.ID
			}
			got.instances = append(got.instances, d.instances...)
			for _, c := range d.supersede {
				got.supersede = append(got.supersede, c.ID)
			}
			for _, c := range d.giveUp {
				got.giveUp = append(got.giveUp, c.ID)
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("%+v, want %+v", got, row.want)
			}
		})
	}
}
