package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/examples/internal/narrate"
	"github.com/berth-go/berth/internal/test/testenv"
)

// asProgram is set in processes that are the program, and not its test.
const asProgram = "BERTH_EXAMPLE_DASHBOARD"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience keeps a test from hanging.
const patience = 2 * time.Minute

// eventually waits until something holds of another program.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}

// get returns the status and the body of a page; 0 = there is no answer.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// begin runs the program within the test until stop is called, which checks its end. It returns when the server answers.
func begin(t *testing.T, o options) (url string, st *stage, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	begun, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- run(ctx, o, narrate.NewPrinter(t.Output()), func(at string, on *stage) {
			url, st = at, on
			close(begun)
		})
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("the program has ended: %v", err)
	}
	stopped := false
	stop = func() {
		t.Helper()
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return url, st, stop
}

var sample = regexp.MustCompile(`(?m)^(berth_\w+)(?:\{(.*)\})? `)

// watched checks what the server shows while users work.
func watched(t *testing.T, url string) {
	t.Helper()
	eventually(t, "all is well and commands have run", func() bool {
		status, _ := get(t, url+"/healthz")
		_, metrics := get(t, url+"/metrics")
		return status == http.StatusOK && regexp.MustCompile(`(?m)^berth_command_duration_seconds_count(\{.*\})? [1-9]`).MatchString(metrics)
	})
	_, metrics := get(t, url+"/metrics")
	documented := readDocumented(t)
	for _, series := range sample.FindAllStringSubmatch(metrics, -1) {
		labels, ok := documented.labels[series[1]]
		if !ok {
			t.Errorf("docs/metrics.md has no %s", series[1])
		}
		for _, m := range matcher.FindAllStringSubmatch(series[2], -1) {
			if !strings.HasPrefix(m[1], "otel_scope_") && m[1] != "le" && !slices.Contains(labels, m[1]) {
				t.Errorf("docs/metrics.md has no label %s of %s", m[1], series[1])
			}
		}
	}
	if status, page := get(t, url+"/"); status != http.StatusOK || !strings.Contains(page, "<title>") {
		t.Errorf("the dashboard answers %d: %s", status, page)
	}
}

// TestOnTheEngine: PoolName checks that nothing is left.
func TestOnTheEngine(t *testing.T) {
	t.Parallel()
	testenv.Image(t)
	url, st, stop := begin(t, options{listen: "127.0.0.1:0", users: 2, task: time.Second, pool: testenv.PoolName(t)})
	watched(t, url)
	if st.cloud != nil {
		t.Error("the pool is made of fakes")
	}
	stop()
	if status, _ := get(t, url+"/healthz"); status != 0 {
		t.Errorf("after the end, the server answers %d", status)
	}
}

// programOf runs the program as a process of its own, sends it a signal when ready returns, and returns what it has said. It must
// succeed.
func programOf(t *testing.T, signal syscall.Signal, env string, args []string, ready func(url string)) (said string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "-listen", "127.0.0.1:0", "-task", "1s")...)
	cmd.Env = append(os.Environ(), asProgram+"=1", env)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		said += lines.Text() + "\n"
		if url := regexp.MustCompile(`Health: (http://127\.0\.0\.1:\d+)/healthz`).FindStringSubmatch(lines.Text()); url != nil {
			ready(url[1])
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(said, "nothing of it is left") {
		t.Errorf("%v: %s", err, said)
	}
	return said
}

// TestWithoutAnEngine: the pool is made of fakes. While users work, SIGTERM makes the program destroy it.
func TestWithoutAnEngine(t *testing.T) {
	t.Parallel()
	said := programOf(t, syscall.SIGTERM, "DOCKER_HOST=tcp://127.0.0.1:1", nil, func(url string) { watched(t, url) })
	if !strings.Contains(said, "No Docker engine answers (") || !strings.Contains(said, "127.0.0.1:1") {
		t.Errorf("it says %s", said)
	}
}

// TestInterruptAtOnce: before the first instance has booted.
func TestInterruptAtOnce(t *testing.T) {
	t.Parallel()
	programOf(t, syscall.SIGINT, "DOCKER_HOST=", []string{"-fake"}, func(url string) {
		eventually(t, "the program serves", func() bool { status, _ := get(t, url+"/healthz"); return status != 0 })
	})
}

func TestAnAddressThatIsTaken(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	err := run(t.Context(), options{listen: server.Listener.Addr().String(), fake: true}, narrate.NewPrinter(io.Discard), nil)
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("run = %v", err)
	}
}

// TestHealthz: the answer says all that is wrong.
func TestHealthz(t *testing.T) {
	o := options{pool: "healthz"}
	st, err := newFakeStage(config(o, narrate.NewPrinter(io.Discard)))
	if err != nil {
		t.Fatal(err)
	}
	_, registry, err := newMetrics()
	if err != nil {
		t.Fatal(err)
	}
	h := handler(st.provider, registry, dashboard.Options{})
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		return w
	}
	eventually(t, "the new pool is well", func() bool { return ask().Code == http.StatusOK })
	if err := st.clear(narrate.NewPrinter(io.Discard)); err != nil {
		t.Fatal(err)
	}
	if w := ask(); w.Code != http.StatusServiceUnavailable || w.Body.String() != "berth: closed\n" {
		t.Errorf("after the end: %d, %q", w.Code, w.Body)
	}
}
