package dashboard_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

const (
	repoA = "https://git.example/team/alpha.git"
	repoB = "https://git.example/team/beta.git"
)

// site is a pool over fakes with its dashboard on a server.
type site struct {
	*berth.Provider
	t      testing.TB
	cloud  *fake.Cloud
	engine *fake.Engine
	store  *memstore.Store
	server *httptest.Server
	prefix string
}

// open makes a pool and serves its dashboard below /berth/.
func open(t testing.TB, cfg berth.Config, opts dashboard.Options) *site {
	t.Helper()
	s := &site{t: t, cloud: fake.NewCloud(fake.CloudOptions{Instant: true}), store: memstore.New(), prefix: "/berth/"}
	s.engine = fake.NewEngine(fake.EngineOptions{Cloud: s.cloud, Instant: true, Run: program})
	cfg.Store = s.store
	if cfg.MaxInstances == 0 {
		cfg.MaxInstances = 3
	}
	p, err := fake.NewProvider(fake.Options{Config: cfg, Cloud: s.cloud, Engine: s.engine, Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Provider = p
	mux := http.NewServeMux()
	mux.Handle("/berth/", http.StripPrefix("/berth", dashboard.Handler(p, opts)))
	s.server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		p.Close()
		s.server.Close()
		s.engine.Close()
	})
	return s
}

// program is what commands do: "serve" goes on until it is killed, "fails" fails.
func program(ctx context.Context, c fake.Command) int {
	switch path.Base(c.Args[0]) {
	case "serve":
		_, _ = io.WriteString(c.Stdout, "serving\n") // it is killed meanwhile
		<-ctx.Done()
		return -9
	case "fails":
		return 3
	}
	return 0
}

// start starts a command, which ends with its session.
func (s *site) start(session *berth.Session, args ...string) *berth.Cmd {
	s.t.Helper()
	cmd := session.Command(context.Background(), args[0], args[1:]...)
	cmd.Stdout = io.Discard
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return cmd
}

// create makes a session.
func (s *site) create(task, user, repository string, change ...func(*berth.SessionRequest)) *berth.Session {
	s.t.Helper()
	req := berth.SessionRequest{TaskID: task, UserID: user, Repository: repository}
	for _, c := range change {
		c(&req)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	session, err := s.CreateSession(ctx, req)
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// do asks for a path below the prefix.
func (s *site) do(method, path string, body io.Reader, change ...func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, s.server.URL+s.prefix+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, strings.ReplaceAll(string(content), "<wbr>", "")
}

// get returns a page, which must be there.
func (s *site) get(path string, change ...func(*http.Request)) string {
	s.t.Helper()
	resp, body := s.do(http.MethodGet, path, nil, change...)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s\n%s", path, resp.Status, body)
	}
	return body
}

// data reads JSON below api/.
func (s *site) data(path string, into any, change ...func(*http.Request)) {
	s.t.Helper()
	body := s.get("api/"+path, change...)
	if err := json.Unmarshal([]byte(body), into); err != nil {
		s.t.Fatalf("GET api/%s: %v\n%s", path, err, body)
	}
}

// shows returns when a page shows a text, or does not if not is true.
func (s *site) shows(path, text string, not bool) {
	s.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		body := s.get(path)
		if strings.Contains(body, text) != not {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("GET %s: %q (absent: %v) in\n%s", path, text, not, body)
		}
		time.Sleep(50 * time.Millisecond) // the next try; the time between two readings of the store
	}
}

// put writes records as another process would.
func (s *site) put(records ...store.Record) {
	s.t.Helper()
	err := s.store.Update(context.Background(), nil, func(tx store.Tx) error {
		for _, r := range records {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// contains checks that a page has texts.
func contains(t testing.TB, what, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("%s does not have %q", what, text)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func label(name, value string) func(*berth.SessionRequest) {
	return func(r *berth.SessionRequest) {
		if r.Labels == nil {
			r.Labels = map[string]string{}
		}
		r.Labels[name] = value
	}
}

func user(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("User", name) }
}
