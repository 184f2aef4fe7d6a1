package main

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented are the metrics of docs/metrics.md as Prometheus spells them, each with its labels.
type documented struct {
	labels     map[string][]string
	instrument map[string]string // that a metric belongs to
	values     map[string]bool   // words that the document has as values of labels
}

var (
	instrumentRow = regexp.MustCompile("(?m)^\\| `(berth\\.[a-z._]+)` \\| `([^`]+)` \\| (\\w+) \\|([^|]*)\\|")
	quoted        = regexp.MustCompile("`([^`]+)`")
	underscores   = strings.NewReplacer(".", "_")
)

// readDocumented reads docs/metrics.md.
func readDocumented(t *testing.T) *documented {
	t.Helper()
	text := read(t, "metrics.md")
	d := &documented{labels: make(map[string][]string), instrument: make(map[string]string), values: make(map[string]bool)}
	for _, row := range instrumentRow.FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, key := range quoted.FindAllStringSubmatch(row[4], -1) {
			labels = append(labels, underscores.Replace(key[1]))
		}
		for _, name := range spellings(row[1], row[2], row[3]) {
			d.labels[name], d.instrument[name] = labels, row[1]
		}
	}
	for _, word := range quoted.FindAllStringSubmatch(text, -1) {
		d.values[word[1]] = true
	}
	if len(d.labels) < 30 {
		t.Fatalf("docs/metrics.md has only %d metrics", len(d.labels))
	}
	return d
}

// spellings returns the names of an instrument in Prometheus.
func spellings(name, unit, kind string) []string {
	name = underscores.Replace(name)
	switch unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	case "1":
		name += "_ratio"
	}
	switch kind {
	case "counter":
		return []string{name + "_total"}
	case "histogram":
		return []string{name + "_bucket", name + "_sum", name + "_count"}
	}
	return []string{name}
}

var (
	metricName = regexp.MustCompile(`\bberth_[a-z_]+\b`)
	selector   = regexp.MustCompile(`\b(berth_[a-z_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	anyOf      = []string{"job", "instance", "le"} // labels of Prometheus
)

// check holds an expression to the document, and returns the instruments that it uses.
func (d *documented) check(t testing.TB, where, expr string) (instruments []string) {
	t.Helper()
	var known []string // labels of all metrics of the expression
	rest := matcher.ReplaceAllString(grouping.ReplaceAllString(expr, ""), "")
	for _, name := range metricName.FindAllString(rest, -1) {
		labels, ok := d.labels[name]
		if !ok {
			t.Errorf("%s: docs/metrics.md has no %s", where, name)
		}
		known = append(known, labels...)
		instruments = append(instruments, d.instrument[name])
	}
	if len(instruments) == 0 {
		t.Errorf("%s: %s has no metric", where, expr)
	}
	for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, label := range strings.Split(by[1], ",") {
			if label = strings.TrimSpace(label); !slices.Contains(anyOf, label) && !slices.Contains(known, label) {
				t.Errorf("%s: none of the metrics has the label %s", where, label)
			}
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if slices.Contains(anyOf, m[1]) {
				continue
			}
			if !slices.Contains(d.labels[s[1]], m[1]) {
				t.Errorf("%s: %s has no label %s", where, s[1], m[1])
			}
			for _, value := range strings.Split(m[3], "|") {
				if value != "" && !d.values[value] {
					t.Errorf("%s: docs/metrics.md has no value %q of %s", where, value, m[1])
				}
			}
		}
	}
	return instruments
}

// An alert is a rule of docs/alerts.yml.
type alert struct {
	name, expr, severity, summary, action string
}

var alertLine = regexp.MustCompile(`^ +(?:- )?(alert|expr|for|labels|annotations|summary|action): ?(.*)$`)

// readAlerts reads the rules, each key of which is on one line. promtool checks the rest of their syntax.
func readAlerts(t *testing.T) (all []alert) {
	t.Helper()
	for line := range strings.Lines(read(t, "alerts.yml")) {
		found := alertLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if found == nil {
			continue
		}
		if found[1] == "alert" {
			all = append(all, alert{name: found[2]})
			continue
		}
		a := &all[len(all)-1]
		switch found[1] {
		case "expr":
			a.expr = found[2]
		case "labels":
			a.severity = strings.TrimSuffix(strings.TrimPrefix(found[2], "{severity: "), "}")
		case "summary":
			a.summary = found[2]
		case "action":
			a.action = found[2]
		}
	}
	if len(all) < 10 {
		t.Fatalf("docs/alerts.yml has only %d alerts", len(all))
	}
	return all
}

// TestAlertsUseDocumentedNames: each alert says what is wrong and what to do, and is tested.
func TestAlertsUseDocumentedNames(t *testing.T) {
	d := readDocumented(t)
	tests, err := os.ReadFile("testdata/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range readAlerts(t) {
		d.check(t, a.name, a.expr)
		if len(a.summary) < 20 || len(a.action) < 20 {
			t.Errorf("%s has the summary %q and the action %q", a.name, a.summary, a.action)
		}
		if a.severity != "critical" && a.severity != "warning" {
			t.Errorf("%s has the severity %q", a.name, a.severity)
		}
		if !strings.Contains(string(tests), `alertname="`+a.name+`"`) {
			t.Errorf("testdata/alerts_test.yml does not test %s", a.name)
		}
	}
}

// A query is one of docs/grafana.json.
type query struct{ panel, expr string }

func readGrafana(t *testing.T) (all []query) {
	t.Helper()
	var board struct {
		Title      string
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			ID          int
			Title, Type string
			Targets     []struct{ Expr, LegendFormat string }
			GridPos     struct{ H, W, X, Y int }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &board); err != nil {
		t.Fatal(err)
	}
	ids := make(map[int]string)
	for _, p := range board.Panels {
		if other, taken := ids[p.ID]; taken {
			t.Errorf("the panels %s and %s have the same ID", other, p.Title)
		}
		ids[p.ID] = p.Title
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("the panel %s does not fit: %+v", p.Title, p.GridPos)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("the panel %s shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			all = append(all, query{p.Title, q.Expr})
		}
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			all = append(all, query{"variable " + v.Name, v.Definition})
		}
	}
	return all
}

// TestGrafanaUsesDocumentedNames: and shows every instrument.
func TestGrafanaUsesDocumentedNames(t *testing.T) {
	d := readDocumented(t)
	shown := make(map[string]bool)
	for _, q := range readGrafana(t) {
		for _, instrument := range d.check(t, q.panel, q.expr) {
			shown[instrument] = true
		}
		if strings.Contains(q.expr, "{") && strings.Count(q.expr, `job="$job"`) != strings.Count(q.expr, "{") {
			t.Errorf("%s: %s is not of one pool", q.panel, q.expr)
		}
	}
	for _, instrument := range d.instrument {
		if !shown[instrument] {
			t.Errorf("no panel shows %s", instrument)
		}
	}
}

// TestNamesAreChecked: what the document does not have is found.
func TestNamesAreChecked(t *testing.T) {
	d := readDocumented(t)
	for _, expr := range []string{
		`berth_queue_size`, `sum by (berth_user) (berth_session_count)`, `berth_session_count{berth_kind="active"}`,
		`berth_session_count{berth_state="sleeping"}`, `rate(berth_session_start_duration_count[5m])`, `vector(1)`,
	} {
		record := &recorder{TB: t}
		d.check(record, "a test", expr)
		if !record.failed {
			t.Errorf("%s passes", expr)
		}
	}
}

// recorder is a test whose errors are expected.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }

// read returns the text of a file in docs.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
