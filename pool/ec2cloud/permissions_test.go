package ec2cloud_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-go/berth/pool/ec2cloud"
)

// TestCallsAreThoseThatAreListed makes the driver make every call that it can.
func TestCallsAreThoseThatAreListed(t *testing.T) {
	change := func(r *rig) {
		r.engineGroup()
		r.opts.Spot = ec2cloud.SpotFirst
	}
	inRig(t, quick, change, func(r *rig) {
		r.lacks()
		m := r.launch("launch-1")
		r.listed(m.CloudID)
		r.server.WriteConsole(m.CloudID, "it boots")
		if _, err := r.cloud.Explain(r.Context(), m.CloudID); err != nil {
			r.Error(err)
		}
		r.generation()
		r.end(m.CloudID)
		time.Sleep(time.Minute)
		called := make(map[string]bool)
		for _, q := range r.server.Requests("") {
			called[q.Action] = true
		}
		want := slices.Sorted(slices.Values(ec2cloud.CalledActions()))
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(called))); diff != "" {
			r.Error(diff)
		}
	})
}

// words is one string or several, as in IAM policies.
type words []string

func (w *words) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(w))
}

func TestPolicyInTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/iam.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	block, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no block of JSON")
	}
	var policy struct {
		Version   string
		Statement []struct {
			Sid, Effect      string
			Action, Resource words
			Condition        map[string]map[string]words
		}
	}
	dec := json.NewDecoder(strings.NewReader(block))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&policy); err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, s := range policy.Statement {
		if s.Effect != "Allow" || len(s.Resource) == 0 || !strings.Contains(string(page), "`"+s.Sid+"`") {
			t.Errorf("statement %q: %+v; is it explained?", s.Sid, s)
		}
		for _, a := range s.Action {
			actions = append(actions, a)
			reads := strings.Contains(a, ":Describe") || strings.Contains(a, ":Get")
			if !reads && slices.Contains(s.Resource, "*") && len(s.Condition) == 0 {
				t.Errorf("statement %q allows %s on everything", s.Sid, a)
			}
		}
	}
	want := slices.Sorted(slices.Values(slices.Concat(ec2cloud.CalledActions(), ec2cloud.ImpliedActions(), ec2cloud.PriceActions())))
	slices.Sort(actions)
	if diff := cmp.Diff(want, slices.Compact(actions)); diff != "" {
		t.Errorf("docs/iam.md allows other actions than the driver calls:\n%s", diff)
	}
}
