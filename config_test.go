package berth_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// fieldsOf returns the fields that the FieldErrors in an error name.
func fieldsOf(err error) map[string]bool {
	fields := make(map[string]bool)
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case *berth.FieldError:
			fields[e.Field] = true
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	return fields
}

func TestConfigFaultsAreNamedAllAtOnce(t *testing.T) {
	bad := map[string]func(c *berth.Config){
		"Name":                       func(c *berth.Config) { c.Name = "no blanks" },
		"MinInstances":               func(c *berth.Config) { c.MinInstances = 2 },
		"MaxInstances":               func(c *berth.Config) { c.MaxInstances = -1 },
		"MaxTasksPerInstance":        func(c *berth.Config) { c.MaxTasksPerInstance = 50002 },
		"SpareSlots":                 func(c *berth.Config) { c.SpareSlots = -1 },
		"MaxContainersPerRepository": func(c *berth.Config) { c.MaxContainersPerRepository = -1 },
		"InstanceIdleTimeout":        func(c *berth.Config) { c.InstanceIdleTimeout = -2 },
		"BootTimeout":                func(c *berth.Config) { c.BootTimeout = -1 },
		"MaxInstanceAge":             func(c *berth.Config) { c.MaxInstanceAge = -2 },
		"LaunchRate":                 func(c *berth.Config) { c.LaunchRate = -2 },
		"SessionIdleTimeout":         func(c *berth.Config) { c.SessionIdleTimeout = -time.Second },
		"QueueTimeout":               func(c *berth.Config) { c.QueueTimeout = -1 },
		"SessionRetention":           func(c *berth.Config) { c.SessionRetention = -1 },
		"MirrorMaxAge":               func(c *berth.Config) { c.MirrorMaxAge = -2 },
		"FetchTimeout":               func(c *berth.Config) { c.FetchTimeout = -1 },
		"CredentialHosts":            func(c *berth.Config) { c.CredentialHosts = []string{"LFS.example/x"} },
		"KnownHosts":                 func(c *berth.Config) { c.KnownHosts = "git.example ssh-ed25519" },
		"MirrorBudget":               func(c *berth.Config) { c.MirrorBudget = -2 },
		"Limits.ShmBytes":            func(c *berth.Config) { c.Limits.MemoryBytes, c.Limits.ShmBytes = 1<<20, 2<<20 },
		"UserLimits":                 func(c *berth.Config) { c.UserLimits.Queued = -2 },
		"Limits.CPUs":                func(c *berth.Config) { c.Limits.CPUs = math.NaN() },
		"Limits.PIDs":                func(c *berth.Config) { c.Limits.PIDs = -2 },
		"Limits.Session.MemoryBytes": func(c *berth.Config) { c.Limits.MemoryBytes, c.Limits.Session.MemoryBytes = 1<<20, 2<<20 },
		"Limits.Session.CPUWeight":   func(c *berth.Config) { c.Limits.Session.CPUWeight = 10001 },
		"Limits.Session.PTYs":        func(c *berth.Config) { c.Limits.Session.PTYs = -2 },
		"Image":                      func(c *berth.Config) { c.RequireImageDigest = true },
		"Caches[1]": func(c *berth.Config) {
			c.Caches = []orchestrator.Cache{orchestrator.GoModules(), {Name: "go", Dir: "go", Files: []string{"f"}, Fill: []string{"f"}}}
		},
		"Egress.Allow[1]": func(c *berth.Config) { c.Egress.Allow = []string{"10.0.0.0/8", "git.corp.example"} },
		"Env":             func(c *berth.Config) { c.Env = map[string]string{"a=b": "s3cret"} },
		"Cloud":           func(c *berth.Config) { c.Cloud = nil },
		"Engine":          func(c *berth.Config) { c.Engine = nil },
	}
	fit := func() berth.Config {
		return berth.Config{Cloud: fake.NewCloud(fake.CloudOptions{}), Engine: fake.NewEngine(fake.EngineOptions{})}
	}
	all := fit()
	for field, spoil := range bad {
		cfg := fit()
		spoil(&cfg)
		spoil(&all)
		_, err := berth.New(t.Context(), cfg)
		if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) != 1 || !fields["Config."+field] {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := berth.New(t.Context(), all)
	if fields := fieldsOf(err); len(fields) != len(bad) {
		t.Errorf("the error names %d faults of %d: %v", len(fields), len(bad), err)
	}
}

func TestConfigOffValues(t *testing.T) {
	off := berth.Config{InstanceIdleTimeout: -1, SessionIdleTimeout: -1, MirrorMaxAge: -1, MirrorBudget: -1}
	world.Run(t, world.Setup{Config: off}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		time.Sleep(2 * time.Hour)
		w.Create("t2", world.RepoA)
		if n := w.Engine.Fetches(s.Info().Container.Name); n != 1 {
			t.Errorf("%d fetches, though MirrorMaxAge is off", n)
		}
	})
}

func TestRequestFaultsAreNamedAllAtOnce(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		bad := map[string]func(r *berth.SessionRequest){
			"TaskID":      func(r *berth.SessionRequest) { r.TaskID = "" },
			"UserID":      func(r *berth.SessionRequest) { r.UserID = strings.Repeat("u", 257) },
			"Repository":  func(r *berth.SessionRequest) { r.Repository = "" },
			"Branch":      func(r *berth.SessionRequest) { r.Branch = "-B" },
			"Env":         func(r *berth.SessionRequest) { r.Env = map[string]string{"A=B": world.Secret} },
			"Labels":      func(r *berth.SessionRequest) { r.Labels = map[string]string{"": ""} },
			"Author":      func(r *berth.SessionRequest) { r.Author.Name = "<evil>" },
			"IdleTimeout": func(r *berth.SessionRequest) { r.IdleTimeout = -2 },
		}
		all := world.Request("t", world.RepoA)
		for field, spoil := range bad {
			r := world.Request("t", world.RepoA)
			spoil(&r)
			spoil(&all)
			_, err := w.CreateSession(t.Context(), r)
			if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) != 1 || !fields["SessionRequest."+field] {
				t.Errorf("%s: %v", field, err)
			}
			w.NoSecret(err)
		}
		_, err := w.CreateSession(t.Context(), all)
		if fields := fieldsOf(err); len(fields) != len(bad) {
			t.Errorf("the error names %d faults of %d: %v", len(fields), len(bad), err)
		}
		nothingStarted(w)
	})
}

// TestHostileRequests checks that dangerous values are refused with the field's name, and start nothing.
func TestHostileRequests(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		labels := 0
		for kind, values := range hostile(t) {
			for _, value := range values {
				r, field := world.Request("t", world.RepoA), ""
				switch kind {
				case "repo":
					r.Repository, field = value, "Repository"
				case "branch":
					r.Branch, field = value, "Branch"
				case "task":
					r.TaskID, field = value, "TaskID"
				case "name/label":
					if naming.ValidateLabel(value, "v") == nil {
						continue // it is only dangerous as the name of a container, which no user chooses
					}
					r.Labels, field = map[string]string{value: "v"}, "Labels"
					labels++
				default:
					continue // no field of a request
				}
				_, err := w.CreateSession(t.Context(), r)
				if !errors.Is(err, berth.ErrInvalid) || !fieldsOf(err)["SessionRequest."+field] {
					t.Errorf("%s %q: %v", kind, value, err)
				}
			}
		}
		if labels < 4 {
			t.Errorf("only %d labels were tried", labels)
		}
		nothingStarted(w)
	})
}

func TestOverlongAndEmptyFieldsAreRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, spoil := range map[string]func(r *berth.SessionRequest){
		"TaskID":      func(r *berth.SessionRequest) { r.TaskID = long(129) },
		"UserID":      func(r *berth.SessionRequest) { r.UserID = "" },
		"Repository":  func(r *berth.SessionRequest) { r.Repository = world.RepoA + "/" + long(5000) },
		"Branch":      func(r *berth.SessionRequest) { r.Branch = long(5000) },
		"Author":      func(r *berth.SessionRequest) { r.Author.Email = long(5000) },
		"Labels":      func(r *berth.SessionRequest) { r.Labels = map[string]string{"k": long(257)} },
		"Labels many": func(r *berth.SessionRequest) { r.Labels = numbered(65) },
		"Env":         func(r *berth.SessionRequest) { r.Env = map[string]string{"K": long(4 << 20)} },
		"Env in all": func(r *berth.SessionRequest) {
			r.Env = numbered(100)
			for k := range r.Env {
				r.Env[k] = long(100_000)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				r := world.Request("t", world.RepoA)
				spoil(&r)
				_, err := w.CreateSession(t.Context(), r)
				field, _, _ := strings.Cut(name, " ")
				if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) != 1 || !fields["SessionRequest."+field] {
					t.Errorf("%.200v", err)
				}
				if len(fmt.Sprint(err)) > 1000 {
					t.Errorf("the error has %d bytes", len(fmt.Sprint(err)))
				}
				nothingStarted(w)
			})
		})
	}
}

// numbered returns n pairs, each of which is valid by itself.
func numbered(n int) map[string]string {
	pairs := make(map[string]string)
	for i := range n {
		pairs[fmt.Sprint("k", i)] = "v"
	}
	return pairs
}

func nothingStarted(w *world.World) {
	w.T.Helper()
	if w.Cloud.Launches() > 0 || len(w.OpenSessions()) > 0 || len(w.Engine.Containers()) > 0 {
		w.T.Errorf("%d launches, %d sessions, %d containers", w.Cloud.Launches(), len(w.OpenSessions()), len(w.Engine.Containers()))
	}
}

// hostile returns the values that naming's table of hostile input says to refuse, by their kind.
func hostile(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("naming/testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := make(map[string][]string)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		var value string
		if len(columns) < 4 || strings.Contains(columns[2], "--branch=accepts") || json.Unmarshal([]byte(columns[1]), &value) != nil {
			continue
		}
		if value == "" && columns[0] == "branch" || value == "task" {
			continue // the default branch; and a task ID that is only dangerous as a file name
		}
		values[columns[0]] = append(values[columns[0]], value)
	}
	if lines.Err() != nil || len(values["repo"]) < 20 || len(values["branch"]) < 5 {
		t.Fatalf("the table: %v, %d repositories", lines.Err(), len(values["repo"]))
	}
	return values
}

// TestEndlessDurationsAreRefused: adding the longest Duration to the present time overflows, so such a lease would end
// before it begins.
func TestEndlessDurationsAreRefused(t *testing.T) {
	const endless = time.Duration(math.MaxInt64)
	_, err := berth.New(t.Context(), berth.Config{
		Cloud: fake.NewCloud(fake.CloudOptions{}), Engine: fake.NewEngine(fake.EngineOptions{}), SessionIdleTimeout: endless,
	})
	if !fieldsOf(err)["Config.SessionIdleTimeout"] {
		t.Errorf("New: %v", err)
	}
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.IdleTimeout = endless
		if _, err := w.CreateSession(t.Context(), r); !fieldsOf(err)["SessionRequest.IdleTimeout"] {
			t.Errorf("CreateSession: %v", err)
		}
	})
}

// TestEgressOfEachKey checks that a remote's address is judged by the egress of its sharing key, and that the error says what
// to set.
func TestEgressOfEachKey(t *testing.T) {
	const named, literal, link = "https://git.corp.example/org/r", "http://10.0.0.5/org/r", "http://127.0.0.1/org/r"
	setup := world.Setup{
		Engine: fake.EngineOptions{Repositories: map[string]fake.Repo{named: {Address: "192.168.1.7"}}},
		Config: berth.Config{
			Egress: orchestrator.Egress{Allow: []string{"10.0.0.0/8"}},
			EgressFor: func(k naming.Key) (e orchestrator.Egress) {
				switch k.Repository.Host {
				case "git.corp.example":
					e.Mode = orchestrator.EgressOpen // without exceptions
				case "10.0.9.9":
					e.Mode, e.Remotes = orchestrator.EgressNone, []string{"10.0.9.9"}
				case "faulty.example":
					e.Remotes = []string{"git.corp.example", "https://git.corp.example"}
				case "broken.example":
					e.Mode = "closed"
				}
				return e
			},
		},
	}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		w.Create("t1", literal)
		w.Create("t4", "http://10.0.9.9/org/r")
		w.Create("t2", world.RepoA)
		for remote, want := range map[string]string{
			named:                          `the address 192.168.1.7 of git.corp.example is refused: it is private. Config.Egress.Remotes with "192.168.1.7/32" allows it to fetches`,
			link:                           `the address 127.0.0.1 is refused: it is loopback. Config.Egress.Remotes with "127.0.0.1/32" allows it to fetches`,
			"https://broken.example/org/r": `Config.EgressFor(broken.example/org/r).Mode: must be "open"`,
			"https://faulty.example/org/r": `Config.EgressFor(faulty.example/org/r).Remotes[1]: "https://git.corp.example": is no CIDR`,
		} {
			_, err := w.CreateSession(t.Context(), world.Request("t3", remote))
			failed, ok := errors.AsType[*berth.StartError](err)
			if !ok || berth.Retryable(err) && !strings.Contains(want, "EgressFor") || !strings.Contains(failed.Error(), want) {
				t.Errorf("%s: %v", remote, err)
			}
		}
	})
}
