package dockerengine_test

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// oddAnswers are answers of a program that is not a Docker engine, or of a proxy in front of one.
var oddAnswers = map[string]struct {
	code int
	body string
}{
	"an empty object":    {200, `{}`},
	"null":               {200, `null`},
	"an empty list":      {200, `[]`},
	"a list of nothing":  {200, `[{}, null]`},
	"an ID alone":        {200, `{"Id":"c1","ID":"c1","Name":"/c1"}`},
	"null fields":        {200, `{"Id":"c1","Config":null,"State":null,"HostConfig":null,"Volumes":null}`},
	"an empty state":     {200, `{"Id":"c1","Config":{},"State":{}}`},
	"a cut answer":       {200, `{"Id":"c1","Config":{"Labels":{"berth.po`},
	"fields of no type":  {200, `{"Id":1,"ID":1,"Name":[],"Config":"a","State":[1],"Volumes":7,"Labels":7}`},
	"a list of no type":  {200, `[1,"a",[]]`},
	"nothing":            {200, ``},
	"a page":             {200, `<html><body>Sign in</body></html>`},
	"a page and a fault": {503, `<html><body>Service Unavailable</body></html>`},
}

// callsOfVerbs has the calls of an engine, as call returns them, and for each call the verbs of a host that must fail if the
// answer is odd.
var callsOfVerbs = map[string][]string{
	"GET /info":                   {"Connect", "Probe"},
	"GET /containers/json":        {"Probe", "List", "Purge"},
	"GET /containers/ID/json":     {"Probe", "Attach", "Remove", "RemoveResource helper", "Ensure known", "Purge"},
	"GET /volumes":                {"List", "Purge"},
	"GET /volumes/ID":             {"Remove", "RemoveMirror", "RemoveResource work", "Ensure new", "Purge"},
	"GET /networks":               {"List", "Purge", "Ensure known", "Ensure new"},
	"GET /networks/ID":            {"RemoveResource network", "Purge"},
	"GET /images/ID/json":         {"Prefetch"},
	"POST /containers/ID/exec":    {"Attach"},
	"POST /exec/ID/start":         {"Attach"},
	"POST /containers/create":     {"Ensure new"},
	"POST /networks/create":       {"Ensure new"},
	"GET /containers/ID/top":      nil,
	"GET /containers/ID/logs":     nil,
	"HEAD /containers/ID/archive": nil,
	"PUT /containers/ID/archive":  nil,
	"POST /containers/ID/start":   nil,
	"POST /images/create":         nil,
	"HEAD /_ping":                 nil,
}

// legitimate reports whether an engine may give an odd answer to a call.
func legitimate(call, answer string) bool {
	body := oddAnswers[answer].body
	switch call {
	case "GET /containers/json":
		return answer == "an empty list"
	case "GET /networks":
		return answer == "an empty list"
	case "GET /volumes":
		return strings.HasPrefix(body, "{}") || body == "null" || answer == "an ID alone" || answer == "null fields" || answer == "an empty state"
	case "GET /volumes/ID", "GET /networks/ID", "GET /images/ID/json", "POST /containers/ID/exec":
		return strings.Contains(body, `"Id":"c1"`) && answer != "a cut answer" // Docker's JSON does not distinguish Id from ID
	}
	return false
}

var apiCall = regexp.MustCompile(`^(?:/v[0-9.]+)?(/_ping|/info|/[a-z]+/json|/[a-z]+/create|/[a-z]+)(?:/(.+?))?(/json|/exec|/start|/top|/logs|/archive)?$`)

// call returns the call of a request, without the name of the thing that it is about.
func call(r *http.Request) string {
	m := apiCall.FindStringSubmatch(r.URL.Path)
	if m == nil {
		return r.Method + " " + r.URL.Path
	}
	id := ""
	if m[2] != "" {
		id = "/ID"
	}
	return r.Method + " " + m[1] + id + m[3]
}

// verbs calls every method of an engine and its hosts, and returns the errors. The engine has the pool's network from the
// beginning, except for an Ensure of a new container, which makes it.
func (s *stub) verbs(t *testing.T, odd func(call string) (code int, body string, ok bool)) map[string]error {
	t.Helper()
	errs := make(map[string]error)
	engine := dockerengine.New(dockerengine.Options{
		Dialer: s.dial, Logger: testLogger(t), CallTimeout: time.Second, StartTimeout: time.Second, PullTimeout: time.Second,
		Agent: func(string) ([]byte, error) { return []byte("agent"), nil },
	})
	oddly := false
	s.whole(func(call string) (int, string, bool) {
		if !oddly {
			return 0, "", false
		}
		return odd(call)
	})
	h, err := engine.Connect(t.Context(), s.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	s.set(func() { oddly = true })
	if again, err := engine.Connect(t.Context(), s.endpoint()); err != nil {
		errs["Connect"] = err
	} else {
		again.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	key, err := naming.ParseKey(stubKey)
	if err != nil {
		t.Fatal(err)
	}
	ensure := func(name string) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := h.Ensure(ctx, orchestrator.ContainerSpec{Name: name, Key: key, Image: "image"}, nil)
		return err
	}
	errs["Ensure new"] = ensure("c2")
	s.count("first")
	errs["Ensure known"] = ensure("c1")
	errs["Probe"] = h.Probe(ctx)
	_, errs["List"] = h.List(ctx)
	_, errs["Attach"] = h.Attach(ctx, "c1")
	errs["Remove"] = h.Remove(ctx, "c1", "c1")
	errs["RemoveMirror"] = h.RemoveMirror(ctx, "c1")
	for typ, kind := range map[string]string{"container": "helper", "volume": "work", "network": "network"} {
		errs["RemoveResource "+kind] = h.RemoveResource(ctx, orchestrator.Resource{Kind: kind, Type: typ, ID: kind})
	}
	errs["Prefetch"] = h.(orchestrator.Prefetcher).Prefetch(ctx, "image", func(string) {})
	errs["Prefetch absent"] = h.(orchestrator.Prefetcher).Prefetch(ctx, "absent", func(string) {})
	errs["Purge"] = h.Purge(ctx)
	return errs
}

// TestOddAnswers gives one odd answer after another to every call. A container must neither be reported as gone for that, nor
// be removed.
func TestOddAnswers(t *testing.T) {
	for oddCall, fail := range callsOfVerbs {
		for name, answer := range oddAnswers {
			t.Run(oddCall+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newStub(t)
					errs := s.verbs(t, func(call string) (int, string, bool) { return answer.code, answer.body, call == oddCall })
					if legitimate(oddCall, name) {
						return
					}
					for _, verb := range fail {
						if _, called := errs[verb]; called && errs[verb] == nil {
							t.Errorf("%s returned no error", verb)
						}
					}
					if err := errs["Attach"]; errors.Is(err, agent.ErrGone) {
						t.Errorf("Attach: %v; the container is there", err)
					}
					if n := s.times("DELETE /containers/ID"); oddCall == "GET /containers/ID/json" && n != 0 {
						t.Errorf("%d containers were removed that were not looked at", n)
					}
				})
			})
		}
	}
}

// TestEvenAnswers checks that the same engine works if it answers correctly.
func TestEvenAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStub(t)
		errs := s.verbs(t, func(string) (int, string, bool) { return 0, "", false })
		for verb, err := range errs {
			if noAgent := verb == "Attach" || strings.HasPrefix(verb, "Ensure"); (err != nil) != noAgent {
				t.Errorf("%s: %v", verb, err)
			}
		}
		if err := errs["Ensure new"]; err == nil || !strings.Contains(err.Error(), "exit code 7: fell") {
			t.Errorf("Ensure: %v; want the last words", err)
		}
		for call := range callsOfVerbs {
			if s.times(call) == 0 {
				t.Errorf("%s was not called: the test of odd answers says nothing about it", call)
			}
		}
	})
}

// FuzzAnswers checks that no answer of a server makes this process panic.
func FuzzAnswers(f *testing.F) {
	for _, answer := range oddAnswers {
		f.Add("", answer.code, answer.body)
	}
	f.Add("GET /containers/ID/json", 200, `{"Id":"c1","Config":{"Labels":null},"State":{"Status":"running","Running":true}}`)
	f.Add("GET /containers/json", 200, `[{"Id":"c1","Names":null,"Labels":null,"Mounts":[{}]}]`)
	f.Fuzz(func(t *testing.T, oddCall string, code int, body string) {
		if code < 200 || code > 599 {
			t.Skip("not the code of an answer")
		}
		synctest.Test(t, func(t *testing.T) {
			newStub(t).verbs(t, func(call string) (int, string, bool) { return code, body, oddCall == "" || call == oddCall })
		})
	})
}
