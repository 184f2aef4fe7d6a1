package main

import (
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// board is docs/grafana.json, with what Grafana needs of it. Fields that it does not have are refused.
type board struct {
	Title, UID, Refresh, Timezone        string
	Tags                                 []string
	Editable                             bool
	GraphTooltip, SchemaVersion, Version int
	Time                                 struct{ From, To string }
	Templating                           struct{ List []variable }
	Annotations                          struct{ List []any }
	Links                                []any
	Panels                               []panel
}

type variable struct {
	Name, Label, Type, Definition string
	Datasource                    *datasource
	Query                         any
	Refresh, Sort, Hide           int
}

type datasource struct{ Type, UID string }

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               *datasource
	GridPos                  struct{ H, W, X, Y int }
	Options                  map[string]any
	Collapsed                *bool
	Panels                   []panel
	FieldConfig              struct {
		Defaults  map[string]any
		Overrides []any
	}
	Targets []struct {
		RefID              string
		Datasource         *datasource
		Expr, LegendFormat string
	}
}

var (
	variableUse = regexp.MustCompile(`\$\{?([A-Za-z_]+)\}?`)
	legendLabel = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
	// builtIn are variables that Grafana sets.
	builtIn = []string{"__rate_interval", "__interval", "__range"}
	units   = []string{"short", "s", "Bps", "reqps", "bytes", "percentunit"}
)

// TestGrafanaIsWhole: what Grafana would show wrong, or not at all, without an error. TestPrometheus asks a real Prometheus each query.
func TestGrafanaIsWhole(t *testing.T) {
	var b board
	in := json.NewDecoder(strings.NewReader(read(t, "grafana.json")))
	in.DisallowUnknownFields()
	if err := in.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if in.More() || b.Title == "" || b.UID == "" || len(b.UID) > 40 || b.SchemaVersion < 36 || b.Time.From == "" || b.Time.To == "" {
		t.Errorf("more than a board, or a title, an identity, a schema or a time is missing: %+v", b)
	}
	if _, err := in.Token(); err != io.EOF {
		t.Errorf("something follows the board: %v", err)
	}
	known := slices.Clone(builtIn)
	for _, v := range b.Templating.List {
		if v.Type == "query" {
			v.Datasource.check(t, "variable "+v.Name, known)
		}
		known = append(known, v.Name) // a variable may use those before it
	}
	type cell struct{ x, y int }
	taken := make(map[cell]string)
	for _, p := range b.Panels {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[cell{x, y}]; other != "" {
					t.Fatalf("the panels %s and %s overlap", other, p.Title)
				}
				taken[cell{x, y}] = p.Title
			}
		}
		p.check(t, known)
	}
}

// check holds one panel to what Grafana needs.
func (p *panel) check(t *testing.T, known []string) {
	t.Helper()
	if p.Title == "" || p.ID <= 0 {
		t.Errorf("the panel %d has the title %q", p.ID, p.Title)
	}
	switch p.Type {
	case "row":
		if p.Collapsed == nil || len(p.Panels)+len(p.Targets) > 0 {
			t.Errorf("the row %s has content, or does not say whether it is collapsed", p.Title)
		}
		return
	case "stat", "timeseries":
	default:
		t.Errorf("the panel %s is a %s", p.Title, p.Type)
	}
	p.Datasource.check(t, p.Title, known)
	if unit, _ := p.FieldConfig.Defaults["unit"].(string); !slices.Contains(units, unit) {
		t.Errorf("the panel %s has the unit %q", p.Title, unit)
	}
	ids := make(map[string]bool)
	for _, q := range p.Targets {
		q.Datasource.check(t, p.Title, known)
		if ids[q.RefID] || !regexp.MustCompile(`^[A-Z]+$`).MatchString(q.RefID) {
			t.Errorf("%s: a query has the name %q, or two have", p.Title, q.RefID)
		}
		ids[q.RefID] = true
		for _, use := range variableUse.FindAllStringSubmatch(q.Expr+q.LegendFormat, -1) {
			if !slices.Contains(known, use[1]) {
				t.Errorf("%s: there is no variable %s", p.Title, use[1])
			}
		}
		var labels []string // that the result has
		for _, by := range grouping.FindAllStringSubmatch(q.Expr, -1) {
			for _, label := range strings.Split(by[1], ",") {
				labels = append(labels, strings.TrimSpace(label))
			}
		}
		for _, use := range legendLabel.FindAllStringSubmatch(q.LegendFormat, -1) {
			if !slices.Contains(labels, use[1]) {
				t.Errorf("%s: the legend %q has a label that %s does not give", p.Title, q.LegendFormat, q.Expr)
			}
		}
		for _, open := range []string{"()", "{}", "[]"} {
			if strings.Count(q.Expr, open[:1]) != strings.Count(q.Expr, open[1:]) {
				t.Errorf("%s: %s is not balanced", p.Title, q.Expr)
			}
		}
	}
}

// check holds a data source to be one that the viewer chooses.
func (d *datasource) check(t *testing.T, where string, known []string) {
	t.Helper()
	if d == nil || d.Type != "prometheus" {
		t.Errorf("%s: the data source is %+v", where, d)
		return
	}
	if use := variableUse.FindStringSubmatch(d.UID); use == nil || !slices.Contains(known, use[1]) {
		t.Errorf("%s: the data source %q is that of one installation", where, d.UID)
	}
}
