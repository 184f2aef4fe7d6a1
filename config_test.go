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
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// fieldsOf returns the fields that an error names.
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
		"MirrorBudget":               func(c *berth.Config) { c.MirrorBudget = -2 },
		"Limits":                     func(c *berth.Config) { c.Limits = orchestrator.Limits{CPUs: -1} },
		"Cloud":                      func(c *berth.Config) { c.Cloud = nil },
		"Engine":                     func(c *berth.Config) { c.Engine = nil },
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
		if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) > 2 || !fields["Config."+field] {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := berth.New(t.Context(), all)
	if fields := fieldsOf(err); len(fields) != len(bad) {
		t.Errorf("%d faults are named of %d: %v", len(fields), len(bad), err)
	}
}

func TestConfigOffValues(t *testing.T) {
	off := berth.Config{InstanceIdleTimeout: -1, SessionIdleTimeout: -1, MirrorMaxAge: -1, MirrorBudget: -1}
	inWorld(t, setup{Config: off}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		time.Sleep(2 * time.Hour)
		w.create("t2", repoA)
		if n := w.engine.Fetches(s.Info().Container.Name); n != 1 {
			t.Errorf("%d fetches, though any age of the mirror will do", n)
		}
	})
}

func TestRequestFaultsAreNamedAllAtOnce(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		bad := map[string]func(r *berth.SessionRequest){
			"TaskID":      func(r *berth.SessionRequest) { r.TaskID = "" },
			"UserID":      func(r *berth.SessionRequest) { r.UserID = strings.Repeat("u", 257) },
			"Repository":  func(r *berth.SessionRequest) { r.Repository = "" },
			"Branch":      func(r *berth.SessionRequest) { r.Branch = "-B" },
			"Env":         func(r *berth.SessionRequest) { r.Env = map[string]string{"A=B": secret} },
			"Labels":      func(r *berth.SessionRequest) { r.Labels = map[string]string{"": ""} },
			"Author":      func(r *berth.SessionRequest) { r.Author.Name = "<evil>" },
			"IdleTimeout": func(r *berth.SessionRequest) { r.IdleTimeout = -2 },
		}
		all := asking("t", repoA)
		for field, spoil := range bad {
			r := asking("t", repoA)
			spoil(&r)
			spoil(&all)
			_, err := w.CreateSession(t.Context(), r)
			if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) != 1 || !fields["SessionRequest."+field] {
				t.Errorf("%s: %v", field, err)
			}
			w.noSecret(err)
		}
		_, err := w.CreateSession(t.Context(), all)
		if fields := fieldsOf(err); len(fields) != len(bad) {
			t.Errorf("%d faults are named of %d: %v", len(fields), len(bad), err)
		}
		w.nothingStarted()
	})
}

// TestHostileRequests holds that what is dangerous is refused, with the field's name, and starts nothing.
func TestHostileRequests(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		labels := 0
		for kind, values := range hostile(t) {
			for _, value := range values {
				r, field := asking("t", repoA), ""
				switch kind {
				case "repo":
					r.Repository, field = value, "Repository"
				case "branch":
					r.Branch, field = value, "Branch"
				case "task":
					r.TaskID, field = value, "TaskID"
				case "name/label":
					if naming.ValidateLabel(value, "v") == nil {
						continue // it is only dangerous as the name of a container, which is never a user's words
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
			t.Errorf("%d labels were tried", labels)
		}
		w.nothingStarted()
	})
}

func TestOverlongAndEmptyFieldsAreRefused(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, spoil := range map[string]func(r *berth.SessionRequest){
		"TaskID":      func(r *berth.SessionRequest) { r.TaskID = long(129) },
		"UserID":      func(r *berth.SessionRequest) { r.UserID = "" },
		"Repository":  func(r *berth.SessionRequest) { r.Repository = repoA + "/" + long(5000) },
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
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				r := asking("t", repoA)
				spoil(&r)
				_, err := w.CreateSession(t.Context(), r)
				field, _, _ := strings.Cut(name, " ")
				if fields := fieldsOf(err); !errors.Is(err, berth.ErrInvalid) || len(fields) != 1 || !fields["SessionRequest."+field] {
					t.Errorf("%.200v", err)
				}
				if len(fmt.Sprint(err)) > 1000 {
					t.Errorf("the error has %d bytes", len(fmt.Sprint(err)))
				}
				w.nothingStarted()
			})
		})
	}
}

// numbered returns n pairs that are fit by themselves.
func numbered(n int) map[string]string {
	pairs := make(map[string]string)
	for i := range n {
		pairs[fmt.Sprint("k", i)] = "v"
	}
	return pairs
}

func (w *world) nothingStarted() {
	w.t.Helper()
	if w.cloud.Launches() > 0 || len(w.alive()) > 0 || len(w.engine.Containers()) > 0 {
		w.t.Errorf("%d launches, %d sessions, %d containers", w.cloud.Launches(), len(w.alive()), len(w.engine.Containers()))
	}
}

// hostile returns the values of naming's table that are to be refused, by their kind.
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

// TestEndlessDurationsAreRefused: a lease of the longest time that there is would end before it began.
func TestEndlessDurationsAreRefused(t *testing.T) {
	const endless = time.Duration(math.MaxInt64)
	_, err := berth.New(t.Context(), berth.Config{
		Cloud: fake.NewCloud(fake.CloudOptions{}), Engine: fake.NewEngine(fake.EngineOptions{}), SessionIdleTimeout: endless,
	})
	if !fieldsOf(err)["Config.SessionIdleTimeout"] {
		t.Errorf("New: %v", err)
	}
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		r := asking("t", repoA)
		r.IdleTimeout = endless
		if _, err := w.CreateSession(t.Context(), r); !fieldsOf(err)["SessionRequest.IdleTimeout"] {
			t.Errorf("CreateSession: %v", err)
		}
	})
}
