package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/need"
)

// TestRules: promtool accepts the rules, and they fire in the cases of testdata/alerts_test.yml.
func TestRules(t *testing.T) {
	promtool := need.Program(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "../../docs/alerts.yml"},
		{"test", "rules", "testdata/alerts_test.yml"},
	} {
		if out, err := exec.CommandContext(t.Context(), promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

// shorten makes a copy of the rules in which all times are a few seconds.
func shorten(t *testing.T, rules string) string {
	t.Helper()
	for old, short := range map[string]string{`for: \d+m`: "for: 1s", `\[\d+m\]`: "[10s]"} {
		pattern := regexp.MustCompile(old)
		if len(pattern.FindAllString(rules, -1)) < 5 {
			t.Fatalf("the rules have few %s", old)
		}
		rules = pattern.ReplaceAllString(rules, short)
	}
	return rules
}

const prometheusConfig = `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: acme-pool
    static_configs: [{targets: [%q]}]
`

// A scraper is a Prometheus that scrapes the program.
type scraper struct {
	*testing.T
	url string
}

// startPrometheus starts one. It ends with the test.
func startPrometheus(t *testing.T, target, rules string) scraper {
	t.Helper()
	program, dir := need.Program(t, "prometheus"), t.TempDir()
	for name, text := range map[string]string{"rules.yml": rules, "prometheus.yml": fmt.Sprintf(prometheusConfig, target)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0") // it cannot be told to choose a port and to say which
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait(), log.Close()); err != nil {
			t.Errorf("the end of Prometheus: %v", err)
		}
		if text, err := os.ReadFile(log.Name()); t.Failed() && err == nil {
			t.Logf("the log of Prometheus:\n%s", text)
		}
	})
	p := scraper{t, "http://" + address}
	eventually(t, "Prometheus is ready", func() bool {
		status, _ := get(t, p.url+"/-/ready")
		return status == http.StatusOK
	})
	return p
}

// ask calls the API, and decodes what it answers.
func (p scraper) ask(path string, into any) error {
	p.Helper()
	_, body := get(p.T, p.url+"/api/v1/"+path)
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// series returns how many series an expression gives.
func (p scraper) series(expr string) (int, error) {
	p.Helper()
	var answer struct{ Result []any }
	err := p.ask("query?query="+url.QueryEscape(expr), &answer)
	return len(answer.Result), err
}

// firing returns the names of the alerts that fire.
func (p scraper) firing() (names []string) {
	p.Helper()
	var answer struct {
		Alerts []struct {
			State       string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
	if err := p.ask("alerts", &answer); err != nil {
		p.Fatal(err)
	}
	for _, a := range answer.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
			if text := a.Annotations["summary"]; !strings.Contains(text, "acme-pool") {
				p.Errorf("the summary of %s does not name the job: %s", a.Labels["alertname"], text)
			}
		}
	}
	return names
}

// TestPrometheus: the real one scrapes the program. Two alerts fire when something goes wrong, and clear when that is over.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	need.Program(t, "prometheus")
	at, st, stop := begin(t, options{listen: "127.0.0.1:0", fake: true, users: 12, task: time.Second, pool: "scraped"})
	p := startPrometheus(t, strings.TrimPrefix(at, "http://"), shorten(t, read(t, "alerts.yml")))
	begun := time.Now()
	lap := func(what string) { t.Logf("%4.1f s: %s", time.Since(begun).Seconds(), what) }

	eventually(t, "starts of each kind and commands were scraped", func() bool {
		n, err := p.series(`sum by (berth_session_start_kind) (rate(berth_session_start_duration_seconds_count{job="acme-pool"}[10s])) > 0`)
		ended, _ := p.series(`rate(berth_session_ended_total[10s]) > 0`)
		return err == nil && n >= 2 && ended > 0
	})
	lap("scraped")
	p.checkNames()
	p.checkQueries()
	eventually(t, "no alert fires", func() bool { return len(p.firing()) == 0 })
	lap("all is well")

	fires := func(name string) bool { return slices.Contains(p.firing(), name) }
	kill := func() bool {
		for _, c := range st.engine.Containers() {
			if len(c.Sessions) > 0 && st.engine.KillContainer(c.Name) {
				return true
			}
		}
		return false
	}
	eventually(t, "a container with sessions was killed", kill)
	eventually(t, "the loss of a container is told", func() bool { return fires("BerthContainersLost") })
	lap("BerthContainersLost fires")
	st.engine.Fail(fake.Open, 100_000, errors.New("no space left on device"))
	eventually(t, "failing starts are told", func() bool { return fires("BerthStartsFail") })
	lap("BerthStartsFail fires")
	st.engine.Heal()
	eventually(t, "nothing is told any more", func() bool { return len(p.firing()) == 0 })
	lap("all alerts are clear")
	stop()
	lap("the pool is destroyed")
}

// checkNames holds what was scraped to docs/metrics.md, names and labels.
func (p scraper) checkNames() {
	p.Helper()
	d := readDocumented(p.T)
	var all []map[string]string
	if err := p.ask("series?match[]="+url.QueryEscape(`{__name__=~"berth_.*"}`), &all); err != nil {
		p.Fatal(err)
	}
	if len(all) < 100 {
		p.Errorf("only %d series were scraped", len(all))
	}
	told := make(map[string]bool)
	for _, one := range all {
		name := one["__name__"]
		labels, ok := d.labels[name]
		if !ok && !told[name] {
			p.Errorf("%s was scraped, and docs/metrics.md does not have it so", name)
		}
		for label := range one {
			known := label == "__name__" || strings.HasPrefix(label, "otel_scope_") || slices.Contains(anyOf, label) || slices.Contains(labels, label)
			if !known && !told[name] {
				p.Errorf("%s has the label %s, which is not documented", name, label)
			}
		}
		told[name] = true
	}
}

// checkQueries runs every query of docs/grafana.json. Those of what happens in every pool have a result.
func (p scraper) checkQueries() {
	p.Helper()
	empty := 0
	queries := slices.DeleteFunc(readGrafana(p.T), func(q query) bool { return strings.HasPrefix(q.panel, "variable ") })
	for _, q := range queries {
		n, err := p.series(strings.NewReplacer("$job", "acme-pool", "$__rate_interval", "10s").Replace(q.expr))
		if err != nil {
			p.Errorf("%s: %v", q.panel, err)
		}
		if n == 0 {
			empty++
			if !strings.Contains(q.expr, `error_type!=""`) && !strings.Contains(q.expr, "endangered") {
				p.Errorf("%s: %s gives nothing", q.panel, q.expr)
			}
		}
	}
	if empty > len(queries)/3 {
		p.Errorf("%d of %d queries give nothing", empty, len(queries))
	}
}
